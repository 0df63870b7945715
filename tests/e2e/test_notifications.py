"""A webhook hears of a broken file, a failed refresh and their ends, through the real daemon."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestration.control_plane import connectors, database
from orchestration.lake import layout
from tests.e2e.conftest import Casetrail
from tests.e2e.test_upload_to_release import MARCH, create, store_of, wait_until, write
from tests.notify.receivers import WebhookReceiver, serving

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]

LOG = "case,activity,time\n" + "".join(f"{','.join(event)}\n" for event in MARCH)


@pytest.fixture
def web() -> Iterator[WebhookReceiver]:
    with serving(WebhookReceiver()) as receiver:
        yield receiver


def test_a_broken_file_and_a_failed_refresh_are_told_and_that_they_are_over(
    casetrail: Casetrail, web: WebhookReceiver, tmp_path: Path
) -> None:
    create(casetrail, "told")
    key = casetrail.json("notify", "add", "told", "--webhook", web.url)["signing_key"]
    assert casetrail.json("notify", "test", "told", "webhook")["status"] == "sent"
    assert web.is_signed_with(key)

    def heard(*events: str) -> None:
        wait_until(lambda: [b["type"] for b in web.bodies()] == ["test", *events], str(events))

    settings, store = casetrail.settings(), store_of(casetrail, "told")
    with database.as_user(settings.app_dsn, settings.operator) as connection:
        connector = connectors.ensure_connector(
            connection, store.credentials.workspace_id, "csv_upload", "till"
        )
    inbox = layout.inbox_prefix(store.credentials.workspace_id, connector.id)
    store.put_bytes(f"{inbox}a-broken.xes", b"<log><trace>")
    heard("connector_error")
    assert web.bodies()[-1]["data"]["details"]["connector"] == "till"
    store.put_bytes(f"{inbox}b-march.csv", LOG.encode())
    heard("connector_error", "recovered")
    wait_until(lambda: casetrail.json("analysis", "show", "told")["status"] == "succeeded", "a release")

    (raw,) = store.list(f"{store.credentials.prefix}raw/csv_upload/2024-03/")
    content = store.get(raw.key)
    store.delete([raw.key])
    more = write(tmp_path / "more.csv", [("more", "order", "2024-03-21T00:00:00Z")])
    casetrail.json("upload", "told", str(more))
    heard("connector_error", "recovered", "failure")
    assert raw.key in web.bodies()[-1]["data"]["message"]
    store.put_bytes(raw.key, content)
    heard("connector_error", "recovered", "failure", "recovered")
    assert {row["status"] for row in casetrail.json("notify", "log", "told")} == {"sent"}
