"""A workspace has one key for its personal values, whoever asks first, and only the pipeline opens it."""

import threading
from uuid import uuid4

import pytest
from pydantic import SecretStr

from orchestration.control_plane import database, workspaces
from orchestration.control_plane.errors import NotAllowed
from orchestration.control_plane.sealing import NoSecretKey, SealBroken
from orchestration.control_plane.workspace_keys import workspace_key
from orchestration.control_plane.workspaces import Workspace
from orchestration.settings import Settings

KEYS = (SecretStr("k" * 32),)


@pytest.fixture
def workspace(control_plane: Settings) -> Workspace:
    with database.as_user(control_plane.app_dsn, control_plane.operator) as connection:
        return workspaces.create_workspace(connection, f"New {uuid4().hex}", "EU", "pro", "ann@acme.test")


def test_a_key_is_made_once_and_each_workspace_has_its_own(
    control_plane: Settings, acme: Workspace, rival: Workspace
) -> None:
    def key_of(workspace: Workspace) -> bytes:
        with database.as_system(control_plane.system_dsn, workspace.id) as connection:
            return workspace_key(connection, KEYS, workspace.id)

    assert len(key_of(acme)) == 32
    assert key_of(acme) == key_of(acme) != key_of(rival)


def test_two_that_ask_at_once_get_the_same(control_plane: Settings, workspace: Workspace) -> None:
    asked, got = threading.Event(), list[bytes]()

    def second() -> None:
        with database.as_system(control_plane.system_dsn, workspace.id) as connection:
            # It has seen that there is none, and waits for the first one's transaction.
            connection.execute("select 1")
            asked.set()
            got.append(workspace_key(connection, KEYS, workspace.id))

    with database.as_system(control_plane.system_dsn, workspace.id) as connection:
        first = workspace_key(connection, KEYS, workspace.id)
        other = threading.Thread(target=second)
        other.start()
        assert asked.wait(10)
        other.join(0.3)
        assert other.is_alive()
    other.join(10)
    assert got == [first]


def test_it_opens_with_the_key_of_the_installation_in_its_own_row_only(
    control_plane: Settings, acme: Workspace, workspace: Workspace
) -> None:
    with database.as_system(control_plane.system_dsn, acme.id) as connection:
        workspace_key(connection, KEYS, acme.id)
        with pytest.raises(SealBroken, match="CASETRAIL_SECRET_KEY is not the one"):
            workspace_key(connection, (SecretStr("l" * 32),), acme.id)
        foreign = connection.execute("select sealed from workspace_keys").fetchall()[0]["sealed"]
    with database.as_system(control_plane.system_dsn, workspace.id) as connection:
        connection.execute(
            "insert into workspace_keys (workspace_id, sealed) values (%s, %s)", (workspace.id, foreign)
        )
        with pytest.raises(SealBroken):
            workspace_key(connection, KEYS, workspace.id)
        connection.rollback()


def test_without_a_key_of_the_installation_none_is_made(
    control_plane: Settings, workspace: Workspace
) -> None:
    with (
        pytest.raises(NoSecretKey),
        database.as_system(control_plane.system_dsn, workspace.id) as connection,
    ):
        workspace_key(connection, (), workspace.id)


def test_nobody_but_the_pipeline_reads_it(control_plane: Settings, acme: Workspace) -> None:
    with (
        pytest.raises(NotAllowed),
        database.as_user(control_plane.app_dsn, control_plane.operator) as connection,
    ):
        connection.execute("select sealed from workspace_keys")
