"""Applies the numbered SQL files in ``migrations/``: each once, in order, in a transaction of its own.

An applied file is never edited; a change is a new file. The files need the roles casetrail_owner,
casetrail_app and casetrail_system, which whoever sets up the server creates.
"""

import re
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import psycopg
from pydantic import SecretStr

from orchestration.control_plane.database import Connection, connect, fetch_all, lock_key
from orchestration.control_plane.errors import ControlPlaneError

MIGRATIONS = Path(__file__).parent / "migrations"

_NAME = re.compile(r"[0-9]{4}_[a-z0-9_]+\.sql")

_LEDGER = """
create table if not exists schema_migrations (
    name text primary key,
    sha256 text not null,
    applied_at timestamptz not null default now()
)
"""


class MigrationError(ControlPlaneError):
    """The files and the database do not fit together, or a file fails. Nothing of that file was applied."""


@dataclass(frozen=True)
class _Applied:
    name: str
    sha256: str


def migrate(owner_dsn: SecretStr | str, directory: Path = MIGRATIONS) -> list[str]:
    """Bring the database up to date and return the names of the files applied now.

    Safe to call from several processes at once: one applies, the others wait and find nothing left to do.

    Raises:
        MigrationError: an applied file was edited or is missing, a new one comes before it, or one fails.
    """
    files = _read(directory)
    with connect(owner_dsn, autocommit=True) as connection:
        connection.execute("select pg_advisory_lock(%s)", (lock_key("migrations"),))
        connection.execute(_LEDGER)
        applied = fetch_all(connection, _Applied, "select name, sha256 from schema_migrations order by name")
        _compare(applied, files)
        new = list(files)[len(applied) :]
        for name in new:
            _apply(connection, name, files[name])
        return new


def _read(directory: Path) -> dict[str, str]:
    """The files' text by name, in order."""
    names = sorted(path.name for path in directory.glob("*.sql"))
    for name in names:
        if not _NAME.fullmatch(name):
            raise MigrationError(f"{name} is no name of a migration: use 0001_what_it_does.sql.")
    if len({name[:4] for name in names}) < len(names):
        raise MigrationError(
            f"Two migrations in {directory.name}/ have the same number: renumber the newer one."
        )
    return {name: (directory / name).read_text(encoding="utf-8") for name in names}


def _compare(applied: list[_Applied], files: dict[str, str]) -> None:
    """The applied files are the first ones, unchanged."""
    for position, (row, name) in enumerate(zip(applied, files, strict=False), start=1):
        if row.name != name:
            raise MigrationError(
                f"The database has {row.name} as migration {position}, this code has {name}. "
                "Number new migrations after the applied ones, and run the code that matches the database."
            )
        if row.sha256 != _digest(files[name]):
            raise MigrationError(
                f"{name} was edited after it was applied: restore it and write a new migration."
            )
    if len(applied) > len(files):
        raise MigrationError(
            f"The database is newer than this code (it has {applied[-1].name}): install the newer version."
        )


def _apply(connection: Connection, name: str, text: str) -> None:
    try:
        with connection.transaction():
            connection.execute(text)
            connection.execute(
                "insert into schema_migrations (name, sha256) values (%s, %s)", (name, _digest(text))
            )
    except psycopg.Error as error:
        raise MigrationError(f"{name} failed and was rolled back: {error}") from error


def _digest(text: str) -> str:
    return sha256(text.encode()).hexdigest()
