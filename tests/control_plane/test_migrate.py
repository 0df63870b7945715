"""Migrations: once each, in order, all of a file or nothing."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from orchestration.control_plane.database import connect
from orchestration.control_plane.migrate import MIGRATIONS, MigrationError, migrate
from orchestration.settings import Settings


@pytest.fixture
def owner_dsn(empty_database: Settings) -> str:
    """An empty schema for each test."""
    dsn = empty_database.owner_dsn.get_secret_value()
    with connect(dsn) as connection:
        owned = connection.execute("select tablename from pg_tables where schemaname = 'public'").fetchall()
        for row in owned:
            connection.execute(f"drop table {row['tablename']} cascade")
    return dsn


def write(folder: Path, **files: str) -> Path:
    for name, text in files.items():
        (folder / f"{name.removeprefix('m')}.sql").write_text(text)
    return folder


def tables(dsn: str) -> set[str]:
    with connect(dsn) as connection:
        rows = connection.execute("select tablename from pg_tables where schemaname = 'public'").fetchall()
        return {row["tablename"] for row in rows} - {"schema_migrations"}


def test_files_are_applied_once_in_order(owner_dsn: str, tmp_path: Path) -> None:
    write(tmp_path, m0002_rows="insert into a values (1)", m0001_table="create table a (x int)")
    assert migrate(owner_dsn, tmp_path) == ["0001_table.sql", "0002_rows.sql"]
    assert migrate(owner_dsn, tmp_path) == []
    write(tmp_path, m0003_more="create table b (x int); create table c (x int)")
    assert migrate(owner_dsn, tmp_path) == ["0003_more.sql"]
    assert tables(owner_dsn) == {"a", "b", "c"}


def test_concurrent_callers_apply_once(owner_dsn: str, tmp_path: Path) -> None:
    write(
        tmp_path, m0001_slow="select pg_sleep(0.2); create table a (x int)", m0002_b="create table b (x int)"
    )
    with ThreadPoolExecutor(4) as pool:
        applied = list(pool.map(lambda _: migrate(owner_dsn, tmp_path), range(4)))
    assert sorted(applied) == [[], [], [], ["0001_slow.sql", "0002_b.sql"]]


def test_a_failing_file_leaves_nothing_and_stops(owner_dsn: str, tmp_path: Path) -> None:
    write(
        tmp_path,
        m0001_good="create table a (x int)",
        m0002_bad="create table b (x int); insert into nowhere values (1)",
        m0003_after="create table c (x int)",
    )
    with pytest.raises(MigrationError, match=r"0002_bad\.sql failed and was rolled back.*nowhere"):
        migrate(owner_dsn, tmp_path)
    assert tables(owner_dsn) == {"a"}
    write(tmp_path, m0002_bad="create table b (x int)")
    assert migrate(owner_dsn, tmp_path) == ["0002_bad.sql", "0003_after.sql"]


def test_an_edited_file_is_refused(owner_dsn: str, tmp_path: Path) -> None:
    write(tmp_path, m0001_a="create table a (x int)")
    migrate(owner_dsn, tmp_path)
    write(tmp_path, m0001_a="create table a (x bigint)", m0002_b="create table b (x int)")
    with pytest.raises(MigrationError, match=r"0001_a\.sql was edited after it was applied"):
        migrate(owner_dsn, tmp_path)
    assert tables(owner_dsn) == {"a"}


def test_a_file_before_an_applied_one_is_refused(owner_dsn: str, tmp_path: Path) -> None:
    write(tmp_path, m0002_b="create table b (x int)")
    migrate(owner_dsn, tmp_path)
    write(tmp_path, m0001_a="create table a (x int)")
    with pytest.raises(MigrationError, match="Number new migrations after the applied ones"):
        migrate(owner_dsn, tmp_path)


def test_an_older_code_refuses_a_newer_database(owner_dsn: str, tmp_path: Path) -> None:
    write(tmp_path, m0001_a="create table a (x int)", m0002_b="create table b (x int)")
    migrate(owner_dsn, tmp_path)
    (tmp_path / "0002_b.sql").unlink()
    with pytest.raises(MigrationError, match=r"newer than this code \(it has 0002_b\.sql\)"):
        migrate(owner_dsn, tmp_path)


@pytest.mark.parametrize(
    ("names", "message"),
    [(("m1_short",), "is no name of a migration"), (("m0001_a", "m0001_b"), "have the same number")],
)
def test_unusable_names_are_refused(
    owner_dsn: str, tmp_path: Path, names: tuple[str, ...], message: str
) -> None:
    with pytest.raises(MigrationError, match=message):
        migrate(owner_dsn, write(tmp_path, **dict.fromkeys(names, "select 1")))


def test_the_projects_own_files_have_row_security_from_the_first_on() -> None:
    for file in sorted(MIGRATIONS.glob("*.sql")):
        text = file.read_text()
        made = text.count("create table ")
        # What a migration lifts for a moment it must put back.
        lifted = text.count(" no force row level security")
        forced = text.count(" force row level security") - 2 * lifted
        assert text.count("enable row level security") == forced == made, file.name
