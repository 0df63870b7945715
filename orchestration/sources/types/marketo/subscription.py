"""Calls of a subscription: with a token that is renewed, slowly enough, and within its daily quota."""

import time
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from typing import Any

import httpx
from pydantic import SecretStr

from orchestration.sources.errors import ConfigurationError, QuotaExhausted, TransientError
from orchestration.sources.http import Answer, Download, SourceClient, answered_at
from orchestration.sources.protocol import Context
from orchestration.sources.types.marketo.config import Config
from orchestration.sources.types.marketo.refusals import (
    Refused,
    TokenRefused,
    TooFast,
    next_midnight,
    refusal,
)

WINDOW_SECONDS = 20.0

CALLS_BETWEEN_LOOKS = 250
"""So often the day's usage is looked at."""

WAITS = 3
"""So often a call is repeated that came too fast."""

_VENDOR = ".mktorest.com"


@contextmanager
def subscription(config: Config, context: Context) -> Iterator["Subscription"]:
    """The subscription of a connector, logged in.

    Raises:
        ConfigurationError: the URL is none of Marketo's, or the credentials are wrong.
        QuotaExhausted: too much of today's calls is used.
        TransientError: it may answer the next time.
    """
    host = httpx.URL(config.url).host
    if not host.endswith(_VENDOR) and host not in context.internal_hosts:
        raise ConfigurationError(f"{host} is no endpoint of Marketo: it ends with {_VENDOR}.")
    with SourceClient(context) as client:
        made = Subscription(config, context, client)
        made.look_at_usage()
        yield made


class Subscription:
    """One at a time: calls come one after the other.

    Attributes:
        now: Marketo's time at its last answer.
    """

    def __init__(self, config: Config, context: Context, client: SourceClient) -> None:
        """Not logged in yet."""
        self._config, self._context, self._client = config, context, client
        self._token: str | None = None
        self._recent: deque[float] = deque()
        self._calls_until_look = CALLS_BETWEEN_LOOKS
        self.now = datetime.now(UTC)

    def get(self, path: str, **parameters: str) -> dict[str, Any]:
        """A call whose answer is small; its document.

        Raises:
            Refused: it does not work as it is.
            QuotaExhausted, TransientError: not now.
        """
        return self._call("GET", path, params=parameters)

    def post(self, path: str, document: Any = None) -> dict[str, Any]:
        """As ``get``, with a document."""
        return self._call("POST", path, json=document)

    @contextmanager
    def download(self, path: str, first_byte: int) -> Iterator[Download]:
        """A file from a byte on, as its status says: 206, or 200 from its beginning; 404 while it is not there.

        Raises:
            Refused, QuotaExhausted, TransientError: as ``get``.
        """
        headers = {"Range": f"bytes={first_byte}-", "Accept-Encoding": "identity"}
        for renewed in (False, True):
            with self._sent("GET", path, headers=headers) as download:
                if "json" not in download.headers.get("Content-Type", ""):
                    yield download
                    return
                with suppress(_Renewed):
                    self._judge(download.read(), renewed)
        raise TransientError("Marketo sent a document in place of a file.")

    def pause(self, seconds: float) -> None:
        """Wait."""
        time.sleep(seconds)

    def look_at_usage(self) -> None:
        """Stop before all of today's calls are used up. Whoever may not look at the usage uses what there is.

        Raises:
            QuotaExhausted: the share is reached.
        """
        self._calls_until_look = CALLS_BETWEEN_LOOKS
        try:
            today = (self.get("/rest/v1/stats/usage.json").get("result") or [{}])[0]
        except Refused:
            return
        used, most = int(today.get("total", 0)), int(self._config.daily_calls * self._config.daily_share)
        if used >= most:
            raise QuotaExhausted(
                f"{used:,} of the subscription's {self._config.daily_calls:,} calls of today are used; "
                f"a sync stops at {most:,}.",
                next_midnight(self.now),
            )

    def _call(self, method: str, path: str, **content: Any) -> dict[str, Any]:
        if self._calls_until_look <= 0:
            self.look_at_usage()
        self._calls_until_look -= 1
        renewed, waits = False, 0
        while True:
            try:
                with self._sent(method, path, **content) as download:
                    return self._judge(download.read(), renewed)
            except _Renewed:
                renewed = True
            except TooFast as error:
                if waits == WAITS:
                    raise
                waits += 1
                self.pause(error.retry_after or 0)

    @contextmanager
    def _sent(
        self, method: str, path: str, *, headers: Mapping[str, str] | None = None, **content: Any
    ) -> Iterator[Download]:
        token = self._token or self._new_token()
        self._keep_pace()
        authorized = {**(headers or {}), "Authorization": f"Bearer {token}"}
        with self._client.stream(method, self._config.url + path, headers=authorized, **content) as download:
            self.now = answered_at(download.headers)
            yield download

    def _judge(self, answer: Answer, renewed: bool) -> dict[str, Any]:
        """The document of an answer that worked.

        Raises:
            _Renewed: the token was refused, and is forgotten.
        """
        if answer.status >= 400 and "json" not in answer.headers.get("Content-Type", ""):
            raise ConfigurationError(
                f"Marketo answered {answer.status}: {answer.shown}. Is the url that of the REST endpoint?"
            )
        document = answer.json()
        if isinstance(document, dict) and document.get("success") is True:
            return document
        found = refusal(document, self.now)
        if not isinstance(found, TokenRefused):
            raise found
        self._token = None
        if renewed:
            raise found.final
        raise _Renewed

    def _new_token(self) -> str:
        """The token of the identity service: the same one until it dies.

        Raises:
            ConfigurationError: wrong credentials.
        """
        # In the body: a URL is written into logs on the way.
        form = {
            "grant_type": "client_credentials",
            "client_id": self._config.client_id,
            "client_secret": self._config.client_secret.get_secret_value(),
        }
        answer = self._client.request("POST", f"{self._config.url}/identity/oauth/token", form=form)
        if answer.status >= 400:
            raise ConfigurationError(
                f"Marketo refuses the credentials ({answer.status}): {answer.shown}. Check client_id and "
                "client_secret of the LaunchPoint service."
            )
        granted = answer.json()
        if not isinstance(granted, dict) or not granted.get("access_token"):
            raise TransientError("Marketo's identity service gave no token.")
        token = str(granted["access_token"])
        self._context.redactor.add(SecretStr(token))
        self._token = token
        return token

    def _keep_pace(self) -> None:
        """Wait until this call is not one too many in 20 seconds."""
        began = time.monotonic()
        while self._recent and self._recent[0] <= began - WINDOW_SECONDS:
            self._recent.popleft()
        if len(self._recent) >= self._config.calls_in_20_seconds:
            self.pause(self._recent.popleft() + WINDOW_SECONDS - began)
        self._recent.append(time.monotonic())


class _Renewed(Exception):
    """The token was refused; the next call gets another."""
