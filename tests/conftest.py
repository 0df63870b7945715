"""Fixtures for every room: a running installation of its own for the test session, and the shared data."""

import os
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from pydantic import SecretStr

from orchestration.control_plane.migrate import migrate
from orchestration.control_plane.users import ensure_operator
from orchestration.services.postgres import Postgres, create_database, drop_database
from orchestration.services.stack import Stack
from orchestration.settings import Installation, Settings, load_settings

PROJECT_FOLDER = Path(__file__).resolve().parents[1]
LONGEST_FIRST = ("faults", "stages", "e2e", "services")
"""Folders of the tests that last longest: so no process is left alone with such a file while the other has nothing."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the folders of the longest tests first; within them, and after them, the order stays."""
    ranks = {folder: rank for rank, folder in enumerate(LONGEST_FIRST)}
    folders = [item.path.relative_to(PROJECT_FOLDER / "tests").parts[0] for item in items]
    order = sorted(range(len(items)), key=lambda place: ranks.get(folders[place], len(ranks)))
    items[:] = [items[place] for place in order]


@pytest.fixture(scope="session", autouse=True)
def _no_settings_of_the_developer() -> Iterator[None]:
    """Tests must not read, let alone stop, the installation of whoever runs them."""
    with pytest.MonkeyPatch.context() as patch:
        for name in list(os.environ):
            if name.startswith("CASETRAIL_") and name != "CASETRAIL_SHARED_DATA":
                patch.delenv(name)
        patch.delenv("DAGSTER_HOME", raising=False)
        yield


@pytest.fixture(scope="session")
def installation() -> Iterator[Settings]:
    """A running PostgreSQL (migrated) and S3 of this test session; stopped and removed at its end."""
    # Not pytest's own folder: it is closed to others, and as root PostgreSQL runs as another user.
    folder = Path(tempfile.mkdtemp(prefix="casetrail-tests-"))
    folder.chmod(0o711)
    stack = Stack(Installation(home=folder / "home"))
    try:
        stack.up(prepare=_prepare, storage_only=True)
        yield load_settings(folder / "home")
    finally:
        stack.down()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def empty_database(installation: Settings) -> Iterator[Settings]:
    """The installation's settings with all control-plane DSNs on a new database without any tables."""
    name = f"test_{uuid.uuid4().hex}"
    admin_dsn = Postgres(installation.home).admin_dsn()
    create_database(admin_dsn, name)
    fields = ("owner_dsn", "app_dsn", "system_dsn")
    yield installation.model_copy(update={field: _on(getattr(installation, field), name) for field in fields})
    drop_database(admin_dsn, name)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real event logs: `CASETRAIL_SHARED_DATA`, else `../shared/data` beside the project."""
    configured = os.environ.get("CASETRAIL_SHARED_DATA")
    folder = Path(configured) if configured else PROJECT_FOLDER.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"no shared data at {folder}: set CASETRAIL_SHARED_DATA to the folder of event logs")
    return folder


def _prepare(settings: Settings) -> None:
    migrate(settings.owner_dsn)
    ensure_operator(settings.owner_dsn, settings.operator)


def _on(dsn: SecretStr, database: str) -> SecretStr:
    parts = conninfo_to_dict(dsn.get_secret_value()) | {"dbname": database}
    return SecretStr(make_conninfo("", **parts))
