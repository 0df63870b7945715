"""A database without the control plane's tables."""

import pytest

from orchestration.control_plane import database, workspaces
from orchestration.control_plane.database import NotMigrated
from orchestration.settings import Settings


def test_a_user_is_told_to_migrate(empty_database: Settings) -> None:
    with (
        pytest.raises(NotMigrated, match="casetrail up"),
        database.as_user(empty_database.app_dsn, empty_database.operator),
    ):
        pytest.fail("the body must not run")


def test_the_pipeline_is_told_to_migrate(empty_database: Settings) -> None:
    with (
        pytest.raises(NotMigrated, match="casetrail up"),
        database.as_system(empty_database.system_dsn, None) as connection,
    ):
        workspaces.list_workspaces(connection)
