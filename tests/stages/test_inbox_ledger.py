"""What lies in an inbox comes into the ledger, once a version, whoever tells of it."""

from collections.abc import Callable
from typing import Any
from uuid import uuid4

import pytest

from orchestration.control_plane import connectors, database, inbox, workspaces
from orchestration.lake import layout
from orchestration.lake.credentials import CredentialBroker
from orchestration.lake.objects import WorkspaceStore
from orchestration.settings import Settings
from orchestration.stages.inbox_ledger import InboxLedger

EU, US = "casetrail-eu", "casetrail-us"


class Inbox:
    """The inbox of a new workspace in the EU."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.slug = slug = f"inbox-{uuid4().hex[:8]}"
        with database.as_user(settings.app_dsn, settings.operator) as connection:
            created = workspaces.create_workspace(connection, slug, "EU", "pro", settings.operator, slug)
            connector = connectors.ensure_connector(connection, created.id, "csv_upload", "nightly", {})
        self.workspace_id = created.id
        self.prefix = layout.inbox_prefix(created.id, connector.id)
        self.store = WorkspaceStore(CredentialBroker(settings).for_workspace(created.id, "EU"))

    def drop(self, name: str, content: bytes = b"a,b\n") -> str:
        self.store.put_bytes(f"{self.prefix}{name}", content)
        return f"{self.prefix}{name}"

    def waiting(self) -> list[str]:
        with database.as_system(self._settings.system_dsn, None) as connection:
            found = [f for f in inbox.waiting_files(connection) if f.workspace_id == self.workspace_id]
        return [file.object_key.removeprefix(self.prefix) for file in found]


@pytest.fixture
def new_inbox(installation: Settings) -> Callable[[], Inbox]:
    return lambda: Inbox(installation)


@pytest.fixture
def ledger(installation: Settings) -> InboxLedger:
    return InboxLedger(installation)


def test_a_version_is_entered_once_however_often_it_is_told(
    new_inbox: Callable[[], Inbox], ledger: InboxLedger
) -> None:
    mine = new_inbox()
    key = mine.drop("day.csv")
    assert ledger.note(EU, key)
    assert ledger.note(EU, key)
    ledger.sweep()
    assert mine.waiting() == ["day.csv"]
    mine.drop("day.csv", b"a,b\n1,2\n")
    ledger.sweep()
    assert mine.waiting() == ["day.csv", "day.csv"], "another version"


def test_a_sweep_finds_what_nobody_told_of_in_every_workspace(
    new_inbox: Callable[[], Inbox], ledger: InboxLedger
) -> None:
    several = [new_inbox(), new_inbox()]
    for mine in several:
        mine.drop("a.csv")
        mine.drop("folder/b.csv")
        mine.drop("empty.csv", b"")
    ledger.sweep()
    assert [sorted(mine.waiting()) for mine in several] == [["a.csv", "folder/b.csv"]] * 2


def test_what_is_told_proves_nothing(new_inbox: Callable[[], Inbox], ledger: InboxLedger) -> None:
    mine, other = new_inbox(), new_inbox()
    key = mine.drop("a.csv")
    own, connector = mine.prefix.split("/inbox/")
    assert not ledger.note(US, key), "the bucket of another region"
    assert not ledger.note(EU, f"{mine.prefix}nothing.csv"), "nothing lies there"
    assert not ledger.note(EU, f"{other.workspace_id}/inbox/{connector}a.csv"), "a connector of a neighbour"
    assert not ledger.note(EU, f"{own}/raw/a.csv"), "no inbox"
    assert not ledger.note(EU, f"{mine.prefix}"), "the folder"
    assert not ledger.note(EU, f"{own}/inbox/{uuid4()}/a.csv"), "no such connector"
    assert (mine.waiting(), other.waiting()) == ([], [])


def test_only_the_latest_workspaces_are_kept_open(
    new_inbox: Callable[[], Inbox], ledger: InboxLedger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("orchestration.stages.inbox_ledger._MOST_KEPT", 1)
    made: list[str] = []
    real = CredentialBroker.for_workspace

    def counted(self: CredentialBroker, workspace_id: str, *arguments: Any, **named: Any) -> Any:
        made.append(workspace_id)
        return real(self, workspace_id, *arguments, **named)

    first, second = new_inbox(), new_inbox()
    keys = [mine.drop("a.csv") for mine in (first, second)]
    monkeypatch.setattr(CredentialBroker, "for_workspace", counted)
    for key in (keys[0], keys[0], keys[1], keys[0]):
        assert ledger.note(EU, key)
    assert made == [first.workspace_id, second.workspace_id, first.workspace_id]
