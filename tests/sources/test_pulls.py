"""Pulls of a connector: nothing is lost, nothing doubled, wherever a sync stops, and the status is true."""

import json
from contextlib import nullcontext
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from orchestration.control_plane import arrivals, connectors, corrections, database, pulls
from orchestration.control_plane.connectors import Connector
from orchestration.control_plane.corrections import Cause
from orchestration.control_plane.database import SyncUnderWay
from orchestration.control_plane.pulls import Pull, PullOvertaken
from orchestration.control_plane.workspaces import Workspace
from orchestration.lake import layout
from orchestration.lake.credentials import CredentialBroker
from orchestration.lake.objects import WorkspaceStore
from orchestration.settings import Settings
from orchestration.sources.errors import ConfigurationError, QuotaExhausted, TransientError
from orchestration.sources.types import postgres
from orchestration.stages import garbage
from orchestration.stages.corrections import Desk, NothingToCorrect, readmit
from orchestration.stages.events import stage_events
from orchestration.stages.garbage import KeepPolicy
from orchestration.stages.opening import open_workspace
from orchestration.stages.pull_accounts import pull_accounts
from orchestration.stages.pulled_mappings import remap_pulled
from orchestration.stages.pulls import ConnectorDisabled, Synced, next_slot, sync
from orchestration.stages.raw import check_raw
from orchestration.stages.source_access import UnexpectedFailure, change_source
from tests.sources.conftest import EVENTS, PASSWORD, STREAM, Connect, SourceDatabase, state_of
from tests.sources.deaths import POINTS, Killed, die_at

T0 = datetime(2024, 3, 1, 10, tzinfo=UTC)


def at(seconds: float) -> datetime:
    return T0 + timedelta(seconds=seconds)


class Tenant:
    """A workspace with a connector to the source database, and what came of it."""

    def __init__(
        self, settings: Settings, workspace: Workspace, source: SourceDatabase, connect: Connect
    ) -> None:
        source.owner.execute(EVENTS)
        self.settings, self.workspace, self.source, self.connect = settings, workspace, source, connect
        self.pauses: list[float] = []
        self.told: list[str] = []
        self.store = WorkspaceStore(CredentialBroker(settings).for_workspace(workspace.id, workspace.region))

    def sync(self, connector: Connector) -> Synced:
        return sync(
            self.settings,
            self.workspace,
            state_of(self.settings, connector),
            progress=self.told.append,
            sleep=self.pauses.append,
        )

    def pulls(self, connector: Connector) -> list[Pull]:
        with database.as_system(self.settings.system_dsn, self.workspace.id) as connection:
            return pulls.list_pulls(connection, self.workspace.id, connector.id)[::-1]

    def raw(self) -> dict[str, list[dict[str, Any]]]:
        """The landed rows by month, as the ledger names their files."""
        with database.as_system(self.settings.system_dsn, self.workspace.id) as connection:
            files = arrivals.list_landed_files(connection, self.workspace.id, "raw")
        found: dict[str, list[dict[str, Any]]] = {}
        for file in files:
            assert f"/raw/postgres/{file.month}/" in file.object_key
            found.setdefault(str(file.month), []).extend(self.rows(file.object_key))
        return found

    def rows(self, key: str) -> list[dict[str, Any]]:
        return pq.read_table(self.file(key)).to_pylist()

    def file(self, key: str) -> Path:
        path = self.settings.home / "fetched.parquet"
        self.store.download(key, path)
        return path

    def landed(self) -> list[str]:
        """id=status of the landed rows, in the order of ids."""
        rows = [row for rows in self.raw().values() for row in rows]
        return sorted(f"{row['id']}={row['status']}" for row in rows)

    def tombstones(self, connector: Connector) -> list[str]:
        parts = [
            part for pull in self.pulls(connector) for part in pull.parts if part["kind"] == "tombstones"
        ]
        keys = [layout.original_key(self.workspace.id, part["sha256"]) for part in parts]
        return sorted(row["id"] for key in keys for row in self.rows(key))


@pytest.fixture
def tenant(
    settings: Settings, workspace: Workspace, source_database: SourceDatabase, connect: Connect
) -> Tenant:
    return Tenant(settings, workspace, source_database, connect)


def test_records_land_by_their_own_month_and_again_only_what_is_new(tenant: Tenant) -> None:
    tenant.source.add_events(
        (1, "a", "new", at(0), at(0)), (2, "a", "paid", at(40 * 86_400), at(1)), (3, "b", "new", None, at(2))
    )
    connector = tenant.connect()
    done = tenant.sync(connector)
    assert [done.total(c) for c in ("records", "landed", "non_event", "duplicate", "quarantined")] == [
        3,
        2,
        0,
        0,
        1,
    ]
    assert {month: len(rows) for month, rows in tenant.raw().items()} == {"2024-03": 1, "2024-04": 1}
    after = state_of(tenant.settings, connector)
    assert (after.status, after.message) == ("connected", None)
    assert after.last_sync_at is not None
    assert tenant.sync(connector).pulls == []
    # A new version, a late commit and a tie with what was read before.
    tenant.source.owner.execute("update events set status = 'NEW', changed = %s where id = 1", (at(3),))
    tenant.source.add_events((4, "a", "late", at(0), at(1)), (5, "a", "tie", at(0), at(2)))
    again = tenant.sync(connector)
    assert [again.total(c) for c in ("records", "landed", "duplicate")] == [5, 3, 2]
    assert tenant.landed() == ["1=NEW", "1=new", "2=paid", "4=late", "5=tie"]
    with database.as_system(tenant.settings.system_dsn, tenant.workspace.id) as connection:
        (first, second) = arrivals.list_arrivals(connection, tenant.workspace.id)
    assert (first.file_name, second.file_name) == ("events-000001.parquet", "events-000002.parquet")
    assert first.mapping["record_key"] == ["id"]


def test_a_pull_keeps_its_originals_and_a_manifest_without_secrets(tenant: Tenant) -> None:
    tenant.source.add_events((1, "a", "new", at(0), at(0)), (2, "a", "x", at(0), at(1)))
    tenant.source.owner.execute("update events set gone = true where id = 2")
    connector = tenant.connect(
        STREAM,
        {
            "name": "people",
            "query": "select 1 as id, now() - interval '1 hour' as t",
            "key": ["id"],
            "cursor": "t",
        },
    )
    (pull,) = tenant.sync(connector).pulls
    assert [(p["stream"], p["kind"], p["rows"]) for p in pull.parts] == [
        ("events", "events", 1), ("events", "tombstones", 1), ("people", "records", 1),
    ]  # fmt: skip
    assert (pull.records, pull.landed, pull.non_event) == (3, 1, 2)
    text = tenant.store.get(layout.pull_manifest_key(tenant.workspace.id, connector.id, pull.id)).decode()
    assert PASSWORD not in text
    manifest = json.loads(text)
    assert manifest["request"]["events"]["table"] == "public.events"
    assert manifest["window"]["start"] is None
    assert (manifest["state_before"], manifest["state"]) == (None, pull.state)
    assert manifest["schemas"]["events"]["at"] == "timestamp with time zone"
    for part in manifest["parts"]:
        original = tenant.file(part["original"])
        assert pq.read_metadata(original).num_rows == part["rows"]
        assert layout.original_key(tenant.workspace.id, part["sha256"]) == part["original"]
        assert all(tenant.store.exists(file["object_key"]) for file in part["files"])
    assert tenant.tombstones(connector) == ["2"]


def test_deletions_become_tombstones_and_what_landed_stays(tenant: Tenant) -> None:
    tenant.source.add_events((1, "a", "new", at(0), at(0)), (2, "b", "new", at(0), at(1)))
    connector = tenant.connect()
    tenant.sync(connector)
    before = tenant.raw()
    tenant.source.owner.execute("update events set gone = true, changed = %s where id = 1", (at(2),))
    done = tenant.sync(connector)
    assert [done.total(c) for c in ("records", "landed", "non_event", "duplicate")] == [2, 0, 1, 1]
    assert (tenant.raw(), tenant.tombstones(connector)) == (before, ["1"])


def test_a_schema_that_changes_is_told_and_stops_nothing(tenant: Tenant) -> None:
    tenant.source.add_events((1, "a", "new", at(0), at(0)))
    connector = tenant.connect({**STREAM, "deleted": None})
    tenant.sync(connector)
    tenant.source.owner.execute("alter table events add note text, drop gone, alter id type text")
    tenant.source.add_events(("2", "a", "paid", at(0), at(1)))
    (pull,) = tenant.sync(connector).pulls
    assert [(c["column"], c["change"], c["before"], c["after"]) for c in pull.schema_changes] == [
        ("gone", "disappeared", "boolean", None),
        ("id", "type", "bigint", "text"),
        ("note", "appeared", None, "text"),
    ]
    # Without a column that it had, a record that is read again is another version of itself.
    assert set(tenant.landed()) == {"1=new", "2=paid"}
    assert tenant.sync(connector).pulls == []


@pytest.mark.parametrize("point", POINTS)
def test_wherever_a_sync_dies_the_next_one_loses_and_doubles_nothing(
    tenant: Tenant, monkeypatch: pytest.MonkeyPatch, point: str
) -> None:
    monkeypatch.setattr(postgres, "PAGE_ROWS", 2)
    monkeypatch.setattr(postgres, "CHECKPOINT_ROWS", 4)
    tenant.source.add_events(*((n, "a", f"s{n}", at(n), at(n // 3)) for n in range(11)))
    connector = tenant.connect()
    for death in range(3):
        with monkeypatch.context() as dying:
            die_at(dying, point, death % 2)
            with pytest.raises(Killed):
                tenant.sync(connector)
        account(tenant, connector)
    tenant.sync(connector)
    assert tenant.landed() == sorted(f"{n}=s{n}" for n in range(11))
    account(tenant, connector)


def account(tenant: Tenant, connector: Connector) -> None:
    """What the ledger says is what is there, and pulls follow each other without a gap."""
    made = tenant.pulls(connector)
    assert [pull.number for pull in made] == list(range(1, len(made) + 1))
    assert sum(pull.landed for pull in made) == len(tenant.landed()) == len(set(tenant.landed()))


def test_of_two_syncs_at_once_one_is_refused_and_one_that_got_through_is_not_entered(
    tenant: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    tenant.source.add_events((1, "a", "new", at(0), at(0)))
    connector = tenant.connect()
    with database.connector_lock(tenant.settings.system_dsn, connector.id), pytest.raises(SyncUnderWay):
        tenant.sync(connector)
    put, raced = WorkspaceStore.put_bytes, list[bool]()

    def overtaken(*arguments: Any) -> Any:
        if not raced:
            raced.append(True)
            with monkeypatch.context() as unlocked:
                unlocked.setattr(database, "connector_lock", lambda *_: nullcontext())
                tenant.sync(connector)
        return put(*arguments)

    monkeypatch.setattr(WorkspaceStore, "put_bytes", overtaken)
    with pytest.raises(PullOvertaken):
        tenant.sync(connector)
    assert tenant.landed() == ["1=new"]
    account(tenant, connector)


def fail_with(monkeypatch: pytest.MonkeyPatch, *failures: Exception | None) -> None:
    """Each read fails with the next of these after its first page; None: it does not."""
    read, left = postgres.read, list(failures)

    def failing(*arguments: Any) -> Any:
        failure = left.pop(0) if left else None
        for number, step in enumerate(read(*arguments)):
            if number == 1 and failure is not None:
                raise failure
            yield step

    monkeypatch.setattr(postgres, "read", failing)


def test_what_goes_away_by_itself_is_tried_again_with_the_pause_that_is_asked_for(
    tenant: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres, "PAGE_ROWS", 2)
    tenant.source.add_events(*((n, "a", "s", at(0), at(n)) for n in range(5)))
    connector = tenant.connect()
    fail_with(monkeypatch, TransientError("busy"), TransientError("busy", 17), None)
    assert tenant.sync(connector).total("landed") == 5
    assert tenant.pauses == [1, 17]
    fail_with(monkeypatch, *[TransientError("still busy")] * 4)
    with pytest.raises(TransientError, match="still busy"):
        tenant.sync(connector)
    after = state_of(tenant.settings, connector)
    assert (after.status, after.message) == ("connected", "still busy")
    assert after.next_sync_at is not None
    assert timedelta(minutes=8) < after.next_sync_at - datetime.now(UTC) <= timedelta(minutes=10)


def test_a_quota_stops_a_sync_which_goes_on_later_where_it_was(
    tenant: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres, "PAGE_ROWS", 2)
    tenant.source.add_events(*((n, "a", "s", at(0), at(n)) for n in range(5)))
    connector = tenant.connect()
    midnight = datetime(2030, 1, 1, tzinfo=UTC)
    with monkeypatch.context() as exhausted:
        fail_with(exhausted, QuotaExhausted("The daily quota of calls is used up.", midnight))
        done = tenant.sync(connector)
    told = "The daily quota of calls is used up. Goes on after 2030-01-01 00:00 UTC."
    assert (done.pulls, done.stopped) == ([], told)
    after = state_of(tenant.settings, connector)
    assert (after.status, after.message, after.next_sync_at) == ("connected", told, midnight)
    assert tenant.sync(connector).total("landed") == 5
    assert state_of(tenant.settings, connector).message is None


def test_a_person_who_must_act_is_told_and_the_next_good_sync_clears_it(tenant: Tenant) -> None:
    tenant.source.add_events((1, "a", "new", at(0), at(0)))
    connector = tenant.connect()
    tenant.source.owner.execute("alter table events rename status to state")
    with pytest.raises(ConfigurationError, match="names the column 'status'"):
        tenant.sync(connector)
    broken = state_of(tenant.settings, connector)
    assert (broken.status, "names the column 'status'" in str(broken.message)) == ("error", True)
    assert (tenant.pulls(connector), broken.last_sync_at) == ([], None)
    tenant.source.owner.execute("alter table events rename state to status")
    assert tenant.sync(connector).total("landed") == 1
    assert state_of(tenant.settings, connector).status == "connected"


def test_a_defect_of_a_type_is_told_without_secrets(tenant: Tenant, monkeypatch: pytest.MonkeyPatch) -> None:
    tenant.source.add_events((1, "a", "new", at(0), at(0)))
    connector = tenant.connect()
    fail_with(monkeypatch, ValueError(f"cannot parse {PASSWORD}"))
    with pytest.raises(UnexpectedFailure, match=r"cannot parse \[secret\]") as caught:
        tenant.sync(connector)
    assert PASSWORD not in f"{caught.value} {state_of(tenant.settings, connector).message}"


@pytest.mark.parametrize("kind", [TransientError, QuotaExhausted])
def test_what_is_told_while_a_sync_goes_on_is_without_secrets(
    tenant: Tenant, monkeypatch: pytest.MonkeyPatch, kind: type[Exception]
) -> None:
    tenant.source.add_events((1, "a", "new", at(0), at(0)))
    connector = tenant.connect()
    more = (datetime(2030, 1, 1, tzinfo=UTC),) if kind is QuotaExhausted else ()
    fail_with(monkeypatch, kind(f"not with {PASSWORD}", *more))
    done = tenant.sync(connector)
    told = f"{tenant.told} {done.stopped} {state_of(tenant.settings, connector).message}"
    assert "not with [secret]" in told
    assert PASSWORD not in told


def test_who_disables_a_connector_in_the_middle_of_a_sync_ends_it(
    tenant: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres, "PAGE_ROWS", 2)
    monkeypatch.setattr(postgres, "CHECKPOINT_ROWS", 2)
    tenant.source.add_events(*((n, "a", "s", at(0), at(n)) for n in range(6)))
    connector = tenant.connect()
    enter = pulls.enter_pull

    def disabling(*arguments: Any) -> None:
        enter(*arguments)
        with database.as_user(tenant.settings.app_dsn, tenant.settings.operator) as connection:
            connectors.set_status(connection, tenant.workspace.id, connector.id, "disabled")

    with monkeypatch.context() as patched:
        patched.setattr(pulls, "enter_pull", disabling)
        done = tenant.sync(connector)
    assert (len(done.pulls), done.stopped) == (1, "Somebody has disabled the connector.")
    assert state_of(tenant.settings, connector).status == "disabled"
    with pytest.raises(ConnectorDisabled, match="connector enable"):
        tenant.sync(connector)


def test_a_changed_configuration_applies_to_the_next_sync(tenant: Tenant) -> None:
    tenant.source.add_events((1, "a", "new", at(0), at(0)))
    connector = tenant.connect({**STREAM, "events": None})
    assert tenant.sync(connector).total("non_event") == 1
    with database.as_user(tenant.settings.app_dsn, tenant.settings.operator) as connection:
        change_source(connection, tenant.settings, connector, {"streams": [STREAM]}, {})
    tenant.source.add_events((2, "a", "paid", at(0), at(1)))
    assert tenant.sync(connector).total("landed") == 1


def test_slots_are_regular_later_than_now_and_spread() -> None:
    ids = [f"connector-{n}" for n in range(200)]
    slots = [next_slot(one, 60, T0) for one in ids]
    assert all(T0 < slot <= T0 + timedelta(hours=1) for slot in slots)
    assert len({slot.minute for slot in slots}) > 40
    for one, slot in zip(ids[:20], slots, strict=False):
        assert next_slot(one, 60, slot) == slot + timedelta(hours=1)
        assert next_slot(one, 60, slot - timedelta(seconds=1)) == slot


def test_pulled_records_become_events_each_in_its_newest_version(tenant: Tenant) -> None:
    tenant.source.add_events((1, "a", "new", at(0), at(0)), (2, "a", "paid", at(60), at(1)))
    connector = tenant.connect()
    tenant.sync(connector)
    tenant.source.owner.execute("update events set status = 'PAID', changed = %s where id = 2", (at(2),))
    tenant.sync(connector)
    with open_workspace(tenant.settings, tenant.workspace.slug, "run") as opened:
        (raw,) = check_raw(opened.bench, ["2024-03"], opened.store)
        (events,) = stage_events(opened.bench, ["2024-03"])
    assert raw.rows == 3
    with database.as_system(tenant.settings.system_dsn, tenant.workspace.id) as connection:
        newest, first = pull_accounts(
            connection, tenant.workspace.id, pulls.list_pulls(connection, tenant.workspace.id, connector.id)
        )
    assert (first.records, first.mapped, first.superseded, first.duplicate) == (2, 1, 1, 0)
    assert (newest.records, newest.mapped, newest.superseded, newest.duplicate) == (2, 1, 0, 1)
    # mapped + superseded: what the source has now, once.
    assert (events.rows, [lost["kind"] for lost in events.stats["lost"]]) == (2, ["superseded"])
    assert events.object_key is not None
    assert [(r["system"], r["native_case_id"], r["activity"]) for r in tenant.rows(events.object_key)] == [
        ("postgres", "a", "new"),
        ("postgres", "a", "PAID"),
    ]


def test_a_pulled_arrival_is_read_again_from_its_original_into_its_own_folder(tenant: Tenant) -> None:
    tenant.source.add_events((1, "a", "new", at(-86_400 * 60), at(0)), (2, "a", "paid", at(0), at(1)))
    connector = tenant.connect()
    later = tenant.settings.model_copy(update={"first_month": "2024-02"})
    sync(later, tenant.workspace, connector)
    assert tenant.landed() == ["2=paid"]
    desk = Desk(
        lambda: database.as_system(tenant.settings.system_dsn, tenant.workspace.id), tenant.store, "2000-01"
    )
    assert [pair.new is not None for pair in readmit(desk, "earlier months")] == [True]
    assert tenant.landed() == ["1=new", "2=paid"]


def test_garbage_collection_keeps_what_pulls_name_and_removes_what_a_death_left(
    tenant: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    tenant.source.add_events((1, "a", "new", at(0), at(0)), (2, "a", "x", at(0), at(1)))
    tenant.source.owner.execute("update events set gone = true where id = 2")
    connector = tenant.connect()
    with monkeypatch.context() as dying:
        die_at(dying, "pull", 0)
        with pytest.raises(Killed):
            tenant.sync(connector)
    tenant.sync(connector)
    tenant.source.add_events((3, "a", "paid", at(0), at(2)))
    tenant.sync(connector)
    policy = KeepPolicy(timedelta(0), 1, timedelta(0), timedelta(0))
    with monkeypatch.context() as patched:
        patched.setattr(garbage, "keep_policy", lambda _settings: policy)
        done = garbage.collect_garbage(tenant.settings, tenant.workspace.slug)
    assert done.missing == []
    left = [entry.key for entry in tenant.store.list(f"{tenant.workspace.id}/pulls/")]
    first, second = tenant.pulls(connector)
    ids = tenant.workspace.id, connector.id
    assert sorted(left) == sorted(
        [
            layout.pull_manifest_key(*ids, first.id),
            layout.pull_manifest_key(*ids, second.id),
            layout.pull_recent_key(*ids, second.id),
        ]
    )
    assert (tenant.landed(), tenant.tombstones(connector)) == (["1=new", "3=paid"], ["2"])
    assert tenant.sync(connector).pulls == []


def test_what_was_pulled_is_read_with_another_mapping_without_asking_the_source(tenant: Tenant) -> None:
    tenant.source.add_events((1, "a", "new", at(0), at(0)), (2, "a", "paid", None, at(1)))
    notes = {
        "name": "notes",
        "query": "select id, status, changed from events",
        "key": ["id"],
        "cursor": "changed",
    }
    connector = tenant.connect(STREAM, notes)
    tenant.sync(connector)
    desk = Desk(
        lambda: database.as_system(tenant.settings.system_dsn, tenant.workspace.id), tenant.store, "2000-01"
    )
    with pytest.raises(NothingToCorrect):
        remap_pulled(desk, connector, "nothing has changed")
    tenant.source.owner.execute("drop table events")
    parts = {"case_id": "status", "activity": "status", "timestamp": "changed"}
    streams = [{**STREAM, "events": {**STREAM["events"], "timestamp": "changed"}}, {**notes, "events": parts}]
    with database.as_user(tenant.settings.app_dsn, tenant.settings.operator) as connection:
        change_source(connection, tenant.settings, connector, {"streams": streams}, {})
    changed = state_of(tenant.settings, connector)
    corrected, entered = remap_pulled(desk, changed, "the time of the change")
    assert ([pair.new.landed for pair in corrected if pair.new], [a.landed for a in entered]) == ([2], [2])
    assert tenant.landed() == ["1=new", "1=new", "2=paid", "2=paid"]
    with pytest.raises(NothingToCorrect):
        remap_pulled(desk, changed, "again")
    (pull,) = tenant.pulls(connector)
    with database.as_system(tenant.settings.system_dsn, tenant.workspace.id) as connection:
        (account,) = pull_accounts(connection, tenant.workspace.id, [pull])
        corrections.retract(connection, tenant.workspace.id, entered[0].id, Cause("retracted", "not wanted"))
    assert (account.records, account.mapped, account.non_event, account.quarantined) == (4, 4, 0, 0)
    # Somebody took it out: it does not come back by itself.
    with pytest.raises(NothingToCorrect):
        remap_pulled(desk, changed, "again")
