"""Transactions and their identities, the workspace lock, and what errors tell."""

import socket
import threading
import time
from uuid import uuid4

import psycopg
import pytest
from pydantic import SecretStr

from orchestration.control_plane import database, jobs, workspaces
from orchestration.control_plane.database import DatabaseUnavailable, WorkspaceBusy
from orchestration.control_plane.errors import NotAllowed, UnknownUser
from orchestration.control_plane.workspaces import Workspace
from orchestration.settings import Settings


def slugs(connection: database.Connection) -> set[str]:
    return {workspace.slug for workspace in workspaces.list_workspaces(connection)}


def test_a_user_sees_their_workspaces(control_plane: Settings, acme: Workspace, rival: Workspace) -> None:
    with database.as_user(control_plane.app_dsn, "Ann@Acme.test") as connection:
        assert slugs(connection) == {"acme"}
    with database.as_user(control_plane.app_dsn, control_plane.operator) as connection:
        assert slugs(connection) == {"acme", "rival"}


def test_an_unknown_user_gets_no_transaction(control_plane: Settings) -> None:
    with (
        pytest.raises(UnknownUser, match=r"no user nobody@acme\.test"),
        database.as_user(control_plane.app_dsn, "nobody@acme.test"),
    ):
        pytest.fail("the body must not run")


def test_the_pipeline_is_confined_to_its_workspace(
    control_plane: Settings, acme: Workspace, rival: Workspace
) -> None:
    with database.as_system(control_plane.system_dsn, acme.id) as connection:
        assert slugs(connection) == {"acme"}
        with pytest.raises(jobs.UnknownJob):
            jobs.standing_job(connection, rival.id)


def test_a_planner_reads_everything_and_writes_nothing(
    control_plane: Settings, acme: Workspace, rival: Workspace
) -> None:
    with database.as_system(control_plane.system_dsn, None) as connection:
        assert slugs(connection) == {"acme", "rival"}
        job = jobs.standing_job(connection, acme.id)
        with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
            jobs.start(connection, acme.id, job.id)


@pytest.mark.parametrize("workspace_id", ["*", "", "acme", "' or true --"])
def test_only_a_uuid_names_the_pipelines_workspace(control_plane: Settings, workspace_id: str) -> None:
    with pytest.raises(ValueError, match="UUID"), database.as_system(control_plane.system_dsn, workspace_id):
        pytest.fail("the body must not run")


@pytest.mark.parametrize("role", ["app_dsn", "system_dsn", "owner_dsn"])
def test_without_an_identity_there_are_no_rows(control_plane: Settings, acme: Workspace, role: str) -> None:
    with database.transaction(getattr(control_plane, role)) as connection:
        assert slugs(connection) == set()


def test_an_identity_ends_with_its_transaction(control_plane: Settings, acme: Workspace) -> None:
    with database.connect(control_plane.app_dsn) as connection:
        connection.execute("select set_config('casetrail.user_id', user_id_of('ann@acme.test')::text, true)")
        assert slugs(connection) == {"acme"}
        connection.commit()
        assert slugs(connection) == set()


def test_an_exception_undoes_the_transaction(control_plane: Settings, acme: Workspace) -> None:
    with (
        pytest.raises(psycopg.errors.DivisionByZero),
        database.as_user(control_plane.app_dsn, "ann@acme.test") as connection,
    ):
        connection.execute("update workspaces set name = 'Changed'").connection.execute("select 1 / 0")
    with database.as_user(control_plane.app_dsn, "ann@acme.test") as connection:
        assert workspaces.find_workspace(connection, acme.id).name == "Acme"


def test_missing_rights_are_told_with_the_users_name(control_plane: Settings, acme: Workspace) -> None:
    with (
        pytest.raises(NotAllowed, match=r"ann@acme\.test may not do this"),
        database.as_user(control_plane.app_dsn, "ann@acme.test") as connection,
    ):
        connection.execute("update workspaces set plan = 'enterprise'")


def test_times_are_utc(control_plane: Settings, acme: Workspace) -> None:
    offset = acme.created_at.utcoffset()
    assert offset is not None
    assert offset.total_seconds() == 0


@pytest.mark.parametrize(
    "dsn",
    [
        "postgresql://casetrail_app:hunter2@127.0.0.1:1/casetrail",
        "host=127.0.0.1 password=hunter2 port",
        "postgresql://casetrail_app:hunter2@127.0.0.1:notaport/casetrail",
        "postgresql://casetrail_app:hunter2@[127.0.0.1/casetrail",
    ],
)
def test_a_connection_error_says_what_to_do_and_no_password(dsn: str) -> None:
    with (
        pytest.raises(DatabaseUnavailable, match="CASETRAIL_") as caught,
        database.as_user(SecretStr(dsn), "ann@acme.test"),
    ):
        pytest.fail("the body must not run")
    assert "hunter2" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


def test_a_wrong_password_is_told_without_it(control_plane: Settings) -> None:
    dsn = control_plane.app_dsn.get_secret_value().replace("password=", "password=wrong")
    with (
        pytest.raises(DatabaseUnavailable, match="password authentication failed") as caught,
        database.as_system(dsn, None),
    ):
        pytest.fail("the body must not run")
    assert "wrong" not in str(caught.value)


def test_the_lock_of_a_workspace_is_held_by_one(control_plane: Settings, acme: Workspace) -> None:
    dsn = control_plane.system_dsn
    with (
        database.workspace_lock(dsn, acme.id),
        database.workspace_lock(dsn, str(uuid4()), timeout_seconds=0),
        pytest.raises(WorkspaceBusy, match="Another run holds"),
        database.workspace_lock(dsn, acme.id, timeout_seconds=0.05),
    ):
        pytest.fail("the body must not run")
    with database.workspace_lock(dsn, acme.id, timeout_seconds=0):
        pass


def test_a_waiting_run_gets_the_lock_when_the_holder_ends(control_plane: Settings, acme: Workspace) -> None:
    events: list[str] = []
    held = threading.Event()

    def second() -> None:
        held.wait()
        with database.workspace_lock(control_plane.system_dsn, acme.id):
            events.append("second")

    waiting = threading.Thread(target=second)
    waiting.start()
    with database.workspace_lock(control_plane.system_dsn, acme.id):
        held.set()
        waiting.join(0.2)
        events.append("first")
    waiting.join(10)
    assert events == ["first", "second"]


def test_whoever_waits_for_the_lock_is_told_so(
    control_plane: Settings, acme: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "TOLD_EVERY_SECONDS", 0.1)
    told: list[float] = []
    dsn = control_plane.system_dsn
    with (
        database.workspace_lock(dsn, acme.id),
        pytest.raises(WorkspaceBusy),
        database.workspace_lock(dsn, acme.id, timeout_seconds=0.55, waiting=told.append),
    ):
        pytest.fail("the body must not run")
    assert 2 <= len(told) <= 6
    assert told == sorted(told)


def test_a_server_that_does_not_answer_is_given_up() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        dsn = f"host=127.0.0.1 port={silent.getsockname()[1]} user=u connect_timeout=2"
        began = time.monotonic()
        with pytest.raises(DatabaseUnavailable, match="timeout"), database.connect(dsn):
            pass
        assert time.monotonic() - began < 10
