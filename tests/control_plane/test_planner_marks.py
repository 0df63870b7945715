"""The marks that say which workspaces need a look: raised with every change, and by nothing else."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from shutil import copy
from uuid import uuid4

import psycopg
import pytest
from psycopg.conninfo import make_conninfo
from pydantic import SecretStr

from orchestration.control_plane import (
    arrivals,
    connectors,
    database,
    inbox,
    jobs,
    members,
    planner_marks,
    staging,
)
from orchestration.control_plane.database import Connection
from orchestration.control_plane.migrate import MIGRATIONS, migrate
from orchestration.control_plane.planner_marks import PlannerMark
from orchestration.control_plane.staging import StagedFile
from orchestration.control_plane.users import ensure_operator
from orchestration.control_plane.workspaces import Workspace
from orchestration.services.postgres import Postgres, create_database, drop_database
from orchestration.settings import Settings

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
FILE = StagedFile("cases", "2024-01", "k", 1, 1, "a" * 64, "f", [], "v", [], {}, 0.0, "run")


@contextmanager
def system(settings: Settings, workspace: Workspace) -> Iterator[Connection]:
    with database.as_system(settings.system_dsn, workspace.id) as connection:
        yield connection


def mark_of(settings: Settings, workspace: Workspace) -> PlannerMark:
    with system(settings, workspace) as connection:
        return planner_marks.find_mark(connection, workspace.id)


def due(settings: Settings, now: datetime = NOW, **options: object) -> set[str]:
    with database.as_planner(settings.system_dsn) as connection:
        found = planner_marks.due_marks(connection, code_version="v", now=now, **options)  # type: ignore[arg-type]
        return {mark.slug for mark in found}


def look(settings: Settings, workspace: Workspace, **changes: object) -> None:
    """As a planner that saw everything."""
    mark = mark_of(settings, workspace)
    seen = replace(mark, planned=mark.changed, code_version="v", looked_at=NOW, **changes)  # type: ignore[arg-type]
    with database.as_planner(settings.system_dsn) as connection:
        planner_marks.record(connection, [seen])


@pytest.fixture
def at_rest(control_plane: Settings, acme: Workspace, rival: Workspace) -> Settings:
    for workspace in (acme, rival):
        look(control_plane, workspace, plan_subject=None, attempts=0, not_before=None, look_at=None)
    assert due(control_plane) == set()
    return control_plane


def land(connection: Connection, workspace: Workspace) -> str:
    connector = connectors.ensure_connector(connection, workspace.id, "csv_upload", "uploads")
    failed = arrivals.register_failed(
        connection, workspace_id=workspace.id, connector_id=connector.id, sha256="a" * 64, file_name="f",
        format="csv", bytes=1, message="m",
    )  # fmt: skip
    return failed.id


def test_a_new_workspace_needs_a_look(control_plane: Settings, acme: Workspace) -> None:
    mark = mark_of(control_plane, acme)
    assert mark.slug == acme.slug
    assert mark.changed > mark.planned
    assert acme.slug in due(control_plane)


def test_an_arrival_of_a_user_raises_the_mark_of_its_workspace_alone(
    at_rest: Settings, acme: Workspace, rival: Workspace
) -> None:
    before, other = mark_of(at_rest, acme), mark_of(at_rest, rival)
    with database.as_user(at_rest.app_dsn, "ann@acme.test") as connection:
        arrival_id = land(connection, acme)
    after = mark_of(at_rest, acme)
    assert (after.changed, after.ledger) == (before.changed + 1, before.ledger + 1)
    with system(at_rest, acme) as connection:
        connection.execute("update arrivals set message = 'other' where id = %s", (arrival_id,))
    assert mark_of(at_rest, acme).ledger == before.ledger + 2
    assert mark_of(at_rest, rival) == other
    assert due(at_rest) == {acme.slug}


def staged(connection: Connection, workspace: Workspace) -> None:
    job = jobs.standing_job(connection, workspace.id)
    staging.stage(connection, workspace.id, job.id, [FILE])


def unstaged(connection: Connection, workspace: Workspace) -> None:
    job = jobs.standing_job(connection, workspace.id)
    staging.stage(connection, workspace.id, job.id, [FILE])
    staging.unstage(connection, workspace.id, job.id, "cases", ["2024-01"])


def started(connection: Connection, workspace: Workspace) -> None:
    jobs.start(connection, workspace.id, jobs.standing_job(connection, workspace.id).id)


def dropped(connection: Connection, workspace: Workspace) -> None:
    connector = connectors.list_connectors(connection, workspace.id)[0]
    inbox.record_seen(connection, workspace.id, connector.id, "k", f"{datetime.now()}", 1)


@pytest.mark.parametrize("change", [staged, unstaged, started, dropped])
def test_what_a_run_changes_raises_the_mark_but_not_the_ledger(
    at_rest: Settings, acme: Workspace, change: Callable[[Connection, Workspace], None]
) -> None:
    with database.as_user(at_rest.app_dsn, "ann@acme.test") as connection:
        connectors.ensure_connector(connection, acme.id, "csv_upload", "uploads")
    before = mark_of(at_rest, acme)
    with system(at_rest, acme) as connection:
        jobs_before = jobs.standing_job(connection, acme.id)
        if jobs_before.status == "running":
            jobs.succeed(connection, acme.id, jobs_before.id, jobs_before.attempt)
    assert due(at_rest) == set(), "the end of a job asks for no look"
    with system(at_rest, acme) as connection:
        change(connection, acme)
    after = mark_of(at_rest, acme)
    assert after.changed > before.changed
    assert after.ledger == before.ledger
    assert due(at_rest) == {acme.slug}


def test_new_parameters_are_a_change_of_the_ledger(at_rest: Settings, acme: Workspace) -> None:
    before = mark_of(at_rest, acme)
    with database.as_user(at_rest.app_dsn, "ann@acme.test") as connection:
        jobs.set_parameters(connection, acme.id, {"completion": {"silence_days": 3}})
    assert mark_of(at_rest, acme).ledger == before.ledger + 1
    look(at_rest, acme)
    with database.as_user(at_rest.app_dsn, "ann@acme.test") as connection:
        jobs.set_parameters(connection, acme.id, {"completion": {"silence_days": 3}})
    assert due(at_rest) == set(), "the same parameters again change nothing"


def test_a_change_that_is_rolled_back_raises_nothing(at_rest: Settings, acme: Workspace) -> None:
    with system(at_rest, acme) as connection:
        staged(connection, acme)
        connection.rollback()
    assert due(at_rest) == set()


def test_members_and_connectors_need_no_look(at_rest: Settings, acme: Workspace) -> None:
    with database.as_user(at_rest.app_dsn, at_rest.operator) as connection:
        members.set_member(connection, acme.id, "new@acme.test", "viewer")
        connectors.ensure_connector(connection, acme.id, "csv_upload", "other")
    assert due(at_rest) == set()


def test_time_and_code_make_a_look_due(at_rest: Settings, acme: Workspace, rival: Workspace) -> None:
    look(at_rest, acme, look_at=NOW + timedelta(hours=1))
    assert due(at_rest) == set()
    assert due(at_rest, NOW + timedelta(hours=1)) == {acme.slug}
    with database.as_planner(at_rest.system_dsn) as connection:
        every = planner_marks.due_marks(connection, code_version="newer", now=NOW)
    assert {mark.slug for mark in every} == {acme.slug, rival.slug}


def test_a_plan_is_looked_at_when_its_attempt_may_have_ended_or_its_time_has_come(
    at_rest: Settings, acme: Workspace
) -> None:
    look(at_rest, acme, plan_subject="p", attempts=1)
    assert due(at_rest) == {acme.slug}
    assert due(at_rest, busy=[acme.slug]) == set()
    look(at_rest, acme, plan_subject="p", attempts=3, not_before=NOW + timedelta(minutes=5))
    assert due(at_rest) == set()
    assert due(at_rest, NOW + timedelta(minutes=5)) == {acme.slug}
    assert due(at_rest, waiting_too=True) == {acme.slug}


def test_those_that_waited_longest_are_looked_at_first(
    at_rest: Settings, acme: Workspace, rival: Workspace
) -> None:
    with database.as_planner(at_rest.system_dsn) as connection:
        marks = [planner_marks.find_mark(connection, w.id) for w in (acme, rival)]
        older = replace(marks[1], looked_at=NOW - timedelta(days=1))
        planner_marks.record(connection, [marks[0], older])
        (first,) = planner_marks.due_marks(connection, code_version="newer", now=NOW, most=1)
    assert first.slug == rival.slug


def test_the_planner_writes_its_marks_and_nothing_else(at_rest: Settings, acme: Workspace) -> None:
    with database.as_planner(at_rest.system_dsn) as connection:
        assert not connection.execute("update staged_files set rows = 0").rowcount
        assert not connection.execute("update analysis_jobs set status = 'queued'").rowcount
    with (
        pytest.raises(psycopg.errors.InsufficientPrivilege),
        database.as_planner(at_rest.system_dsn) as connection,
    ):
        connection.execute("update planner_marks set changed = 0")


def test_workspaces_of_before_the_marks_get_one(installation: Settings, tmp_path: Path) -> None:
    name = f"test_{uuid4().hex}"
    admin = Postgres(installation.home).admin_dsn()
    create_database(admin, name)
    try:
        dsns = {
            field: SecretStr(make_conninfo(getattr(installation, field).get_secret_value(), dbname=name))
            for field in ("owner_dsn", "app_dsn", "system_dsn")
        }
        old = installation.model_copy(update=dsns)
        for file in MIGRATIONS.glob("*.sql"):
            if file.name < "0004":
                copy(file, tmp_path)
        migrate(old.owner_dsn, tmp_path)
        ensure_operator(old.owner_dsn, old.operator)
        # As the version of then did: today's would miss its own columns.
        with psycopg.connect(Postgres(installation.home).admin_dsn(name).get_secret_value()) as connection:
            connection.execute(
                """
                insert into workspaces (slug, name, owner_user_id, region, plan)
                select 'old', 'Old', id, 'EU', 'pro' from users
                """
            )
        migrate(old.owner_dsn)
        assert due(old) == {"old"}
    finally:
        drop_database(admin, name)
