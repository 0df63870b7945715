"""The ledger of arrivals."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import uuid4

import psycopg
import pytest

from orchestration.control_plane import arrivals, connectors, corrections, database, members
from orchestration.control_plane.arrivals import AlreadyLanded, Arrival, ArrivalFile, NewArrival
from orchestration.control_plane.connectors import Connector
from orchestration.control_plane.corrections import Cause
from orchestration.control_plane.database import Connection
from orchestration.control_plane.errors import NotAllowed
from orchestration.control_plane.workspaces import Workspace
from orchestration.settings import Settings


@pytest.fixture(scope="module")
def upload(control_plane: Settings, acme: Workspace) -> Connector:
    with database.as_user(control_plane.app_dsn, "ann@acme.test") as connection:
        return connectors.ensure_connector(connection, acme.id, "csv_upload", "default")


@pytest.fixture
def ann(control_plane: Settings, acme: Workspace) -> Any:
    with database.as_user(control_plane.app_dsn, "ann@acme.test") as connection:
        yield connection
        connection.rollback()


def land(
    connection: Connection,
    connector: Connector,
    sha256: str,
    months: Sequence[str] = ("2024-01",),
    **changes: Any,
) -> Arrival:
    arrival_id = str(uuid4())
    files = [raw(arrival_id, month) for month in months]
    files.append(ArrivalFile(arrival_id, "quarantine", None, f"q/{arrival_id}", 1, 10, "c" * 64, {}))
    values: dict[str, Any] = {
        "file_name": "log.csv",
        "format": "csv",
        "bytes": 120,
        "mapping": {"case_id": "id"},
        "schema_fingerprint": "f",
        "columns": [["id", "VARCHAR"]],
        "records": 4,
        "landed": 2,
        "non_event": 1,
        "quarantined": 1,
    }
    new = NewArrival(
        workspace_id=connector.workspace_id,
        id=arrival_id,
        connector_id=connector.id,
        sha256=sha256 * 64,
        files=files,
        **(values | changes),
    )
    return arrivals.register_landed(connection, new)


def raw(arrival_id: str, month: str) -> ArrivalFile:
    return ArrivalFile(
        arrival_id, "raw", month, f"raw/{month}/{arrival_id}", 2, 100, "b" * 64, {"max_ts": "x"}
    )


def test_what_landed_is_in_the_ledger(ann: Connection, upload: Connector) -> None:
    landed = land(ann, upload, "a", ("2024-02", "2024-01"))
    assert (landed.status, landed.rank, landed.records) == ("landed", 1, 4)
    assert landed.columns == [["id", "VARCHAR"]]
    assert arrivals.find_landed(ann, upload.workspace_id, upload.id, "a" * 64) == landed
    assert arrivals.list_arrivals(ann, upload.workspace_id) == [landed]
    files = arrivals.list_landed_files(ann, upload.workspace_id, "raw")
    assert files == [raw(landed.id, "2024-01"), raw(landed.id, "2024-02")]
    [rejected] = arrivals.list_landed_files(ann, upload.workspace_id, "quarantine")
    assert (rejected.arrival_id, rejected.month) == (landed.id, None)


def test_it_says_who_brought_it(control_plane: Settings, ann: Connection, upload: Connector) -> None:
    [owner] = members.list_members(ann, upload.workspace_id)
    assert land(ann, upload, "a").created_by == owner.user_id
    # The next arrival of the workspace waits until this one's transaction ends.
    ann.rollback()
    with database.as_system(control_plane.system_dsn, upload.workspace_id) as connection:
        assert land(connection, upload, "b").created_by is None
        connection.rollback()


def test_the_same_bytes_land_once_per_connector(ann: Connection, upload: Connector) -> None:
    land(ann, upload, "a")
    other = connectors.ensure_connector(ann, upload.workspace_id, "csv_upload", "other")
    assert land(ann, other, "a").rank == 2
    with pytest.raises(AlreadyLanded, match=r"again\.csv landed before"), ann.transaction():
        land(ann, upload, "a", file_name="again.csv")
    assert [arrival.rank for arrival in arrivals.list_arrivals(ann, upload.workspace_id)] == [1, 2]


def test_a_retracted_file_is_not_read_and_may_come_again(ann: Connection, upload: Connector) -> None:
    first = land(ann, upload, "a")
    corrections.retract(ann, upload.workspace_id, first.id, Cause("retracted", "wrong mapping"))
    assert arrivals.find_landed(ann, upload.workspace_id, upload.id, "a" * 64) is None
    assert arrivals.list_landed_files(ann, upload.workspace_id, "raw") == []
    again = land(ann, upload, "a")
    assert again.rank == 2
    statuses = [(row.status, row.message) for row in arrivals.list_arrivals(ann, upload.workspace_id)]
    assert statuses == [("retracted", "wrong mapping"), ("landed", None)]


def test_a_failed_file_is_noted_and_may_come_again(ann: Connection, upload: Connector) -> None:
    failed = arrivals.register_failed(
        ann,
        workspace_id=upload.workspace_id,
        connector_id=upload.id,
        sha256="a" * 64,
        file_name="log.csv",
        format="csv",
        bytes=1,
        message="not UTF-8 in line 3",
    )
    assert (failed.status, failed.records, failed.message) == ("failed", None, "not UTF-8 in line 3")
    assert land(ann, upload, "a").rank == 2
    assert len(arrivals.list_arrivals(ann, upload.workspace_id, "landed")) == 1


def test_lost_records_are_refused(ann: Connection, upload: Connector) -> None:
    with pytest.raises(psycopg.errors.CheckViolation, match="nothing_is_lost"):
        land(ann, upload, "a", landed=1)


def test_uncounted_records_are_refused(ann: Connection, upload: Connector) -> None:
    with pytest.raises(psycopg.errors.CheckViolation, match="landed_is_counted"):
        land(ann, upload, "a", quarantined=None)


def test_a_failing_file_list_leaves_no_arrival(
    control_plane: Settings, ann: Connection, upload: Connector
) -> None:
    with (
        pytest.raises(psycopg.errors.CheckViolation),
        database.as_system(control_plane.system_dsn, upload.workspace_id) as connection,
    ):
        land(connection, upload, "d", ("2024-13",))
    assert arrivals.list_arrivals(ann, upload.workspace_id) == []


def test_a_viewer_reads_but_neither_lands_nor_retracts(
    control_plane: Settings, operator: Connection, upload: Connector
) -> None:
    workspace_id = upload.workspace_id
    members.set_member(operator, workspace_id, "vic@acme.test", "viewer")
    operator.commit()
    with database.as_system(control_plane.system_dsn, workspace_id) as connection:
        landed = land(connection, upload, "e")
    with database.as_user(control_plane.app_dsn, "vic@acme.test") as connection:
        assert arrivals.list_arrivals(connection, workspace_id, "landed") == [landed]
        with pytest.raises(NotAllowed, match="Only an analyst"):
            corrections.retract(connection, workspace_id, landed.id, Cause("retracted", "no"))
    with pytest.raises(NotAllowed), database.as_user(control_plane.app_dsn, "vic@acme.test") as connection:
        land(connection, upload, "f")


def test_concurrent_arrivals_get_different_ranks(control_plane: Settings, rival: Workspace) -> None:
    with database.as_user(control_plane.app_dsn, "rob@rival.test") as connection:
        connector = connectors.ensure_connector(connection, rival.id, "csv_upload", "default")

    def arrive(sha256: str) -> int:
        with database.as_system(control_plane.system_dsn, rival.id) as connection:
            return land(connection, connector, sha256).rank

    with ThreadPoolExecutor(4) as pool:
        ranks = list(pool.map(arrive, "0123456789"))
    assert sorted(ranks) == list(range(1, 11))
