"""The feed's server: who may tell it something, and what it answers."""

import json
import threading
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from pydantic import SecretStr

from orchestration.feed.notifications import Written
from orchestration.feed.server import MOST_BYTES, FeedServer
from tests.feed.signing import CERTIFICATE_URL, SUBSCRIBE_URL, TOPIC, Sns

RECORDS = {
    "Records": [
        {"eventName": "ObjectCreated:Put", "s3": {"bucket": {"name": "lake"}, "object": {"key": "a.csv"}}}
    ]
}


class Running:
    """A server on a free port, and what it was told."""

    def __init__(self) -> None:
        self.noted: list[Written] = []
        self.swept = threading.Event()
        self.fails = False
        self.sns = Sns()
        self.server = FeedServer(
            ("127.0.0.1", 0),
            token=SecretStr("hush"),
            topics={TOPIC},
            note=self.note,
            sweep=self.swept.set,
            fetch=self.sns.fetch,
        )

    def note(self, written: Written) -> None:
        if self.fails:
            raise ConnectionError("no database")
        self.noted.append(written)

    def post(self, path: str, body: Any, token: str | None = "hush") -> int:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        address = f"http://127.0.0.1:{self.server.server_address[1]}"
        return httpx.post(f"{address}{path}", content=content, headers=headers).status_code


@pytest.fixture
def feed() -> Iterator[Running]:
    running = Running()
    threading.Thread(target=running.server.serve_forever, daemon=True).start()
    yield running
    running.server.shutdown()
    running.server.server_close()


def test_what_the_store_tells_is_noted_before_the_answer(feed: Running) -> None:
    assert feed.post("/written", RECORDS) == 200
    assert feed.noted == [Written("lake", "a.csv")]


@pytest.mark.parametrize("token", [None, "", "hush!"])
def test_without_the_token_nothing_is_noted_or_swept(feed: Running, token: str | None) -> None:
    assert feed.post("/written", RECORDS, token) == 401
    assert feed.post("/sweep", {}, token) == 401
    assert feed.noted == []
    assert not feed.swept.is_set()


def test_a_sweep_can_be_asked_for(feed: Running) -> None:
    assert feed.post("/sweep", b"") == 202
    assert feed.swept.wait(5)


def test_what_could_not_be_noted_is_to_be_sent_again(feed: Running) -> None:
    feed.fails = True
    assert feed.post("/written", RECORDS) == 503


@pytest.mark.parametrize("body", [b"no json", {"Records": [{"eventName": "ObjectCreated:Put"}]}])
def test_what_is_not_understood_is_refused(feed: Running, body: Any) -> None:
    assert feed.post("/written", body) == 400


def test_a_body_that_no_store_sends_is_not_read(feed: Running) -> None:
    assert feed.post("/written", b" " * (MOST_BYTES + 1)) == 413


def test_a_subscription_is_confirmed_and_its_messages_noted_without_a_token(feed: Running) -> None:
    asked = feed.sns.signed(Type="SubscriptionConfirmation", SubscribeURL=SUBSCRIBE_URL, Token="t")
    assert feed.post("/sns", asked, None) == 200
    assert feed.sns.fetched == [CERTIFICATE_URL, SUBSCRIBE_URL]
    assert feed.post("/sns", feed.sns.signed(Message=json.dumps(RECORDS)), None) == 200
    assert feed.noted == [Written("lake", "a.csv")]


def test_an_unsigned_message_is_refused_even_with_the_token(feed: Running) -> None:
    assert feed.post("/sns", {"Type": "Notification", "TopicArn": TOPIC, "Message": "{}"}) == 403
    assert feed.noted == []
