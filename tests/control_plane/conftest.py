"""A migrated database of its own for each test module, with an operator."""

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

from orchestration.control_plane import database, workspaces
from orchestration.control_plane.database import Connection
from orchestration.control_plane.migrate import migrate
from orchestration.control_plane.users import ensure_operator
from orchestration.control_plane.workspaces import Workspace
from orchestration.services.postgres import Postgres
from orchestration.settings import Settings


@pytest.fixture(scope="module")
def control_plane(empty_database: Settings) -> Settings:
    migrate(empty_database.owner_dsn)
    ensure_operator(empty_database.owner_dsn, empty_database.operator)
    return empty_database


@pytest.fixture(scope="module")
def superuser(installation: Settings, control_plane: Settings) -> Iterator[psycopg.Connection[Any]]:
    """Sees everything, and can take any role within one transaction."""
    name = conninfo_to_dict(control_plane.owner_dsn.get_secret_value())["dbname"]
    dsn = Postgres(installation.home).admin_dsn(str(name)).get_secret_value()
    with psycopg.connect(dsn) as connection:
        yield connection


@pytest.fixture
def operator(control_plane: Settings) -> Iterator[Connection]:
    """A transaction of the platform admin, rolled back at the end."""
    with database.as_user(control_plane.app_dsn, control_plane.operator) as connection:
        yield connection
        connection.rollback()


@pytest.fixture(scope="module")
def acme(control_plane: Settings) -> Workspace:
    """A workspace owned by ann@acme.test."""
    with database.as_user(control_plane.app_dsn, control_plane.operator) as connection:
        return workspaces.create_workspace(connection, "Acme", "EU", "pro", "ann@acme.test")


@pytest.fixture(scope="module")
def rival(control_plane: Settings) -> Workspace:
    """Another tenant, owned by rob@rival.test."""
    with database.as_user(control_plane.app_dsn, control_plane.operator) as connection:
        return workspaces.create_workspace(connection, "Rival", "US", "free", "rob@rival.test")
