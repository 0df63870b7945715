"""The second layer of isolation: what a locked DuckDB session refuses, whatever its credentials could do."""

from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest

from orchestration.lake import session as session_module
from orchestration.lake.credentials import ScopedCredentials
from orchestration.lake.objects import WorkspaceStore
from orchestration.lake.session import ExtensionMissing, lock, open_session, prepare
from orchestration.settings import Settings


@pytest.fixture
def session(ours: ScopedCredentials, tmp_path: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    with open_session(ours, threads=2, memory_limit="500MB", temp_directory=tmp_path) as connection:
        yield connection


def almighty(installation: Settings, ours: ScopedCredentials) -> ScopedCredentials:
    """The broker's own key under the workspace's name: then only the lock keeps it from the neighbours."""
    return ScopedCredentials(
        workspace_id=ours.workspace_id,
        region=ours.region,
        bucket=ours.bucket,
        endpoint=ours.endpoint,
        access_key_id=installation.s3_access_key.get_secret_value(),
        secret_access_key=installation.s3_secret_key.get_secret_value(),
        session_token="",
        expires_at=ours.expires_at,
    )


def test_a_session_reads_and_writes_the_workspaces_objects(
    session: duckdb.DuckDBPyConnection, ours: ScopedCredentials, store: WorkspaceStore
) -> None:
    session.execute(f"copy (select 7 as x) to '{ours.root}out/x.parquet' (format parquet)")

    assert store.exists(f"{ours.prefix}out/x.parquet")
    assert session.execute(f"select x from read_parquet('{ours.root}out/*.parquet')").fetchall() == [(7,)]


def test_a_session_spills_to_its_temporary_directory(ours: ScopedCredentials, tmp_path: Path) -> None:
    with open_session(ours, threads=1, memory_limit="100MB", temp_directory=tmp_path) as connection:
        connection.execute("create table big as select range, md5(range::varchar) from range(4_000_000)")

        assert list(tmp_path.iterdir())


def test_a_session_takes_views_and_variables_after_the_lock(session: duckdb.DuckDBPyConnection) -> None:
    session.execute("set variable month = '2024-01'")
    session.execute("create view v as select getvariable('month') as month")

    assert session.execute("select month from v").fetchall() == [("2024-01",)]


def test_cursors_are_locked_and_in_utc_as_well(session: duckdb.DuckDBPyConnection) -> None:
    cursor = session.cursor()

    assert cursor.execute("select current_setting('TimeZone')").fetchall() == [("UTC",)]
    with pytest.raises(duckdb.PermissionException):
        cursor.execute("select * from read_text('/etc/hostname')")


LOCKED = (duckdb.PermissionException, duckdb.InvalidInputException, duckdb.CatalogException)
REFUSED = {
    "another workspace": "select * from read_csv('s3://{bucket}/{theirs}secret.csv')",
    "glob above": "select * from glob('s3://{bucket}/*/secret.csv')",
    "bucket root": "select * from glob('s3://{bucket}/**')",
    "another region": "select * from read_csv('s3://casetrail-us/{ours}x.csv')",
    "write another workspace": "copy (select 1) to 's3://{bucket}/{theirs}planted.csv'",
    "s3a": "select * from read_csv('s3a://{bucket}/{theirs}secret.csv')",
    "http": "select * from read_csv('{endpoint}/{bucket}/{theirs}secret.csv')",
    "a local file": "select * from read_text('/etc/passwd')",
    "a local file by URL": "select * from read_text('file:///etc/passwd')",
    "a folder above the temporary one": "select * from glob('{tmp}/../*')",
    "write a local file": "copy (select 1) to '{tmp}-beside.csv'",
    "attach": "attach '{tmp}-beside.db' as other",
    "attach remote": "attach 's3://{bucket}/{theirs}x.db' as other (read_only)",
    "install": "install postgres",
    "load": "load postgres",
    "load by path": "load '{tmp}/x.duckdb_extension'",
    "unlock": "set lock_configuration = false",
    "access": "set enable_external_access = true",
    "directories": "set allowed_directories = ['s3://{bucket}/']",
    "time zone": "set TimeZone = 'Europe/Berlin'",
    "reset": "reset allowed_directories",
    "memory": "set memory_limit = '100GB'",
    "temporary directory": "set temp_directory = '/var'",
    "a stored secret": "create persistent secret mine (type s3, key_id 'x', secret 'y')",
    "a Python variable": "select * from a_python_table",
}


@pytest.mark.parametrize("attempt", REFUSED)
def test_the_lock_refuses(
    attempt: str,
    installation: Settings,
    ours: ScopedCredentials,
    neighbour: WorkspaceStore,
    tmp_path: Path,
) -> None:
    a_python_table = duckdb.sql("select 1 as x").to_arrow_table()
    statement = REFUSED[attempt].format(
        bucket=ours.bucket,
        ours=ours.prefix,
        theirs=neighbour.credentials.prefix,
        endpoint=ours.endpoint,
        tmp=tmp_path,
    )
    credentials = almighty(installation, ours)

    with (
        open_session(credentials, threads=1, memory_limit="200MB", temp_directory=tmp_path) as connection,
        pytest.raises(duckdb.Error) as refused,
    ):
        connection.execute(statement).fetchall()

    assert a_python_table.num_rows == 1
    # It was refused by the lock: not by S3, nor for want of an object or of a network.
    assert isinstance(refused.value, LOCKED)
    assert [entry.key for entry in neighbour.list()] == [f"{neighbour.credentials.prefix}secret.csv"]


def test_the_lock_is_what_refuses(
    installation: Settings, ours: ScopedCredentials, neighbour: WorkspaceStore, tmp_path: Path
) -> None:
    theirs = neighbour.url(f"{neighbour.credentials.prefix}secret.csv")
    with duckdb.connect() as connection:
        wide = almighty(installation, neighbour.credentials)
        prepare(connection, wide, threads=1, memory_limit="200MB", temp_directory=tmp_path)
        assert connection.execute(f"select salary from read_csv('{theirs}')").fetchall() == [(1000,)]

        lock(connection, ours)
        with pytest.raises(duckdb.PermissionException):
            connection.execute(f"select salary from read_csv('{theirs}')")


def test_stepping_up_inside_a_key_is_refused_by_s3(
    session: duckdb.DuckDBPyConnection, ours: ScopedCredentials, neighbour: WorkspaceStore
) -> None:
    # DuckDB compares the text of the URL only: this one passes its lock.
    with pytest.raises(duckdb.HTTPException):
        session.execute(
            f"select * from read_csv('{ours.root}../{neighbour.credentials.prefix}secret.csv')"
        ).fetchall()


def test_secrets_are_not_shown(session: duckdb.DuckDBPyConnection, ours: ScopedCredentials) -> None:
    shown = str(session.execute("from duckdb_secrets()").fetchall())

    assert ours.access_key_id in shown
    assert ours.secret_access_key not in shown
    assert ours.session_token not in shown


def test_uuids_reach_arrow_as_uuids(session: duckdb.DuckDBPyConnection) -> None:
    table = session.execute("select uuid() as id").to_arrow_table()

    assert str(table.schema.field("id").type) == "extension<arrow.uuid>"


def test_a_missing_extension_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session_module, "find_spec", lambda name: None)

    with pytest.raises(ExtensionMissing, match="pip install duckdb-extension-httpfs=="):
        session_module.httpfs_extension()
