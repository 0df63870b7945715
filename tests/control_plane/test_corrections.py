"""Corrections in the ledger: versions at the rank of the first, and a trail that tells who, why, before and after."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest

from orchestration.control_plane import arrivals, connectors, corrections, database
from orchestration.control_plane.arrivals import (
    AlreadyLanded,
    Arrival,
    ArrivalFile,
    NewArrival,
    UnknownArrival,
)
from orchestration.control_plane.connectors import Connector
from orchestration.control_plane.corrections import Cause, ChangedMeanwhile, NotLanded
from orchestration.control_plane.database import Connection
from orchestration.control_plane.workspaces import Workspace
from orchestration.settings import Settings
from orchestration.stages.versions import readmissible

WRONG = Cause("replaced", "wrong export")


@pytest.fixture(scope="module")
def upload(control_plane: Settings, acme: Workspace) -> Connector:
    with database.as_user(control_plane.app_dsn, "ann@acme.test") as connection:
        return connectors.ensure_connector(connection, acme.id, "csv_upload", "default")


@pytest.fixture
def ann(control_plane: Settings, upload: Connector) -> Iterator[Connection]:
    with database.as_user(control_plane.app_dsn, "ann@acme.test") as connection:
        yield connection
        connection.rollback()


def version(upload: Connector, sha: str) -> NewArrival:
    new_id = str(uuid4())
    return NewArrival(
        id=new_id,
        workspace_id=upload.workspace_id,
        connector_id=upload.id,
        sha256=sha * 64,
        file_name=f"{sha}.csv",
        format="csv",
        bytes=10,
        mapping={"case_id": "id"},
        schema_fingerprint="f",
        columns=[],
        records=2,
        landed=2,
        non_event=0,
        quarantined=0,
        files=[ArrivalFile(new_id, "raw", "2024-01", f"raw/{sha}", 2, 9, "b" * 64, {})],
    )


def land(connection: Connection, upload: Connector, sha: str) -> Arrival:
    return arrivals.register_landed(connection, version(upload, sha))


def test_a_new_version_takes_the_rank_and_leaves_the_old_one_in_the_ledger(
    ann: Connection, upload: Connector
) -> None:
    first, second = land(ann, upload, "a"), land(ann, upload, "b")
    new = corrections.supersede(ann, first, version(upload, "c"), WRONG)
    assert (new.rank, new.replaces, new.status) == (first.rank, first.id, "landed")
    landed, files = arrivals.landed(ann, upload.workspace_id, "raw")
    assert [arrival.id for arrival in landed] == [new.id, second.id]
    assert [file.arrival_id for file in files] == [new.id, second.id]
    old = arrivals.find_arrival(ann, upload.workspace_id, first.id)
    assert (old.status, old.message) == ("replaced", "wrong export")
    assert arrivals.files_of(ann, upload.workspace_id, [first.id], "raw")
    assert land(ann, upload, "d").rank == second.rank + 1


def test_the_trail_tells_who_and_why_before_and_after(ann: Connection, upload: Connector) -> None:
    first = land(ann, upload, "a")
    new = corrections.supersede(ann, first, version(upload, "b"), WRONG)
    corrections.retract(ann, upload.workspace_id, new.id, Cause("retracted", "test data", "run-1"))
    replaced, retracted = corrections.changes(ann, upload.workspace_id, new.id)
    assert (replaced.arrival_id, replaced.successor_id, replaced.kind) == (first.id, new.id, "replaced")
    assert (replaced.reason, replaced.changed_by) == ("wrong export", first.created_by)
    assert (replaced.before["sha256"], replaced.after["sha256"]) == ("a" * 64, "b" * 64)
    assert (retracted.arrival_id, retracted.successor_id, retracted.kind) == (new.id, None, "retracted")
    assert retracted.after == {"run_id": "run-1"}
    assert corrections.changes(ann, upload.workspace_id, first.id) == [replaced]


def test_what_is_corrected_already_says_what_became_of_it(ann: Connection, upload: Connector) -> None:
    first = land(ann, upload, "a")
    new = corrections.supersede(ann, first, version(upload, "b"), WRONG)
    with pytest.raises(NotLanded, match=f"replaced .*wrong export.* newer version is {new.id}"):
        corrections.retract(ann, upload.workspace_id, first.id, Cause("retracted", "no"))
    corrections.retract(ann, upload.workspace_id, new.id, Cause("retracted", "test data"))
    with pytest.raises(NotLanded, match=r"retracted on .*test data.*upload the file again"):
        corrections.supersede(ann, new, version(upload, "c"), WRONG)
    assert arrivals.landed(ann, upload.workspace_id, "raw") == ([], [])


def test_the_bytes_of_another_landed_file_cannot_take_its_place_twice(
    ann: Connection, upload: Connector
) -> None:
    first = land(ann, upload, "a")
    land(ann, upload, "b")
    with pytest.raises(AlreadyLanded), ann.transaction():
        corrections.supersede(ann, first, version(upload, "b"), WRONG)
    assert arrivals.find_arrival(ann, upload.workspace_id, first.id).status == "landed"
    back = corrections.supersede(ann, first, version(upload, "c"), WRONG)
    assert corrections.supersede(ann, back, version(upload, "a"), WRONG).sha256 == first.sha256


def test_an_id_may_be_shortened_as_long_as_it_names_one(ann: Connection, upload: Connector) -> None:
    made = [
        arrivals.register_landed(ann, replace(version(upload, sha), id=f"{head}-0000-4000-8000-000000000000"))
        for sha, head in (("a", "aaaaaaaa"), ("b", "aaaabbbb"))
    ]
    assert arrivals.find_arrival(ann, upload.workspace_id, "AAAAA").id == made[0].id
    with pytest.raises(UnknownArrival, match="2 arrivals begin with 'aaaa'"):
        arrivals.find_arrival(ann, upload.workspace_id, "aaaa")
    for unknown in ("", "dddd"):
        with pytest.raises(UnknownArrival):
            arrivals.find_arrival(ann, upload.workspace_id, unknown)


@pytest.mark.parametrize(
    ("rules", "review_in_days", "due"),
    [("1/2000-01", None, False), ("1/2000-01", 1, False), ("1/2000-01", -1, True), ("1/2024-01", None, True)],
)
def test_the_planner_asks_for_the_same_arrivals_as_the_rule_names(
    ann: Connection, acme: Workspace, upload: Connector, rules: str, review_in_days: int | None, due: bool
) -> None:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    review_at = None if review_in_days is None else now + timedelta(days=review_in_days)
    landed = arrivals.register_landed(
        ann, replace(version(upload, "a"), landing_rules=rules, review_at=review_at)
    )
    retracted = arrivals.register_landed(ann, replace(version(upload, "b"), landing_rules="0/2000-01"))
    corrections.retract(ann, upload.workspace_id, retracted.id, Cause("retracted", "no"))
    every = arrivals.list_arrivals(ann, upload.workspace_id)
    assert readmissible(every, "1/2000-01", now) == ([landed] if due else [])
    asked = arrivals.due_again(ann, "1/2000-01", now)
    assert asked == ({acme.slug: [landed.id]} if due else {})


def test_a_correction_of_all_is_refused_when_they_are_others_now(ann: Connection, upload: Connector) -> None:
    known = [land(ann, upload, "a")]
    corrections.require_unchanged(ann, upload.workspace_id, upload.id, known)
    land(ann, upload, "b")
    with pytest.raises(ChangedMeanwhile, match="Run it again"):
        corrections.require_unchanged(ann, upload.workspace_id, upload.id, known)
