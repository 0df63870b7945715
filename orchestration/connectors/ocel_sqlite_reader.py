"""Reading OCEL 2.0 SQLite files: a foreign database, opened read-only, of which only plain tables are read."""

import itertools
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

from orchestration.connectors.archive import Limits, Progress, container_of, expand_to
from orchestration.connectors.errors import UnreadableFile
from orchestration.connectors.ocel import OcelTables

_REQUIRED = ("event", "object", "event_object", "event_map_type", "object_map_type")
_READING = (sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ)


def read_ocel_sqlite(
    path: Path, scratch: Path, *, limits: Limits, progress: Progress | None = None
) -> OcelTables:
    """Read a log into tables in ``scratch``; an archive is expanded there first.

    Raises:
        UnreadableFile: The file is damaged, is no OCEL 2.0 database, or exceeds a limit.
    """
    if container_of(path) != "plain":
        expanded = scratch / "expanded.sqlite"
        expand_to(path, expanded, limits, progress)
        path = expanded
    tables = OcelTables(scratch, limits)
    try:
        with closing(_opened(path, limits)) as database:
            _require_ocel(database)
            _read_events(database, tables)
            _read_objects(database, tables)
    except sqlite3.Error as error:
        raise UnreadableFile(f"The SQLite file cannot be read: {error}. Export the log again.") from error
    if progress:
        progress(path.stat().st_size, path.stat().st_size)
    tables.close()
    return tables


def _opened(path: Path, limits: Limits) -> sqlite3.Connection:
    """The database; its own views, triggers and functions stay dead."""
    database = sqlite3.connect(f"{path.as_uri()}?mode=ro&immutable=1", uri=True)
    database.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, limits.record_bytes)
    database.execute("PRAGMA trusted_schema = OFF")
    database.execute("PRAGMA cell_size_check = ON")
    database.set_authorizer(
        lambda action, *_: sqlite3.SQLITE_OK if action in _READING else sqlite3.SQLITE_DENY
    )
    return database


def _require_ocel(database: sqlite3.Connection) -> None:
    kinds = dict(database.execute("SELECT name, type FROM sqlite_master"))
    virtual = {
        name for name, sql in database.execute("SELECT name, sql FROM sqlite_master") if _is_virtual(sql)
    }
    missing = [name for name in _REQUIRED if kinds.get(name) != "table" or name in virtual]
    if missing:
        raise UnreadableFile(
            f"The SQLite database has no table {missing[0]!r}, so it is no OCEL 2.0 log. Export the event table as CSV."
        )


def _is_virtual(sql: str | None) -> bool:
    return (sql or "").lstrip().upper().startswith("CREATE VIRTUAL")


def _read_events(database: sqlite3.Connection, tables: OcelTables) -> None:
    """Events in the order of their types in ``event_map_type``, those of a type in the order of ``event``."""
    mapped = _type_tables(database, "event")
    unmapped = {kind for (kind,) in database.execute("SELECT DISTINCT ocel_type FROM event")} - dict(
        mapped
    ).keys()
    if unmapped:
        raise UnreadableFile(
            f"The OCEL log does not say which table has the event type {min(map(str, unmapped))!r}. Export it again."
        )
    numbers = itertools.count(1)
    for typed in mapped:
        columns, rows = _type_rows(database, "event", typed)
        for eid, kind, *values in rows:
            row = dict(zip(columns, map(_text, values), strict=True))
            row.pop("ocel_id", None)
            # An event without a row of its type has no time: it is quarantined, not lost.
            tables.add_event(next(numbers), _text(eid), _text(kind), row.pop("ocel_time", None), row)
    for eid, oid in database.execute("SELECT ocel_event_id, ocel_object_id FROM event_object"):
        tables.add_link(_text(eid), _text(oid))


def _read_objects(database: sqlite3.Connection, tables: OcelTables) -> None:
    for oid, kind in database.execute("SELECT ocel_id, ocel_type FROM object"):
        tables.add_object(_text(oid), _text(kind))
    for typed in _type_tables(database, "object"):
        columns, rows = _type_rows(database, "object", typed)
        for oid, _, *values in rows:
            row = dict(zip(columns, map(_text, values), strict=True))
            time, changed = row.pop("ocel_time", None), row.pop("ocel_changed_field", None)
            row.pop("ocel_id", None)
            for attribute, value in row.items():
                # A row of a change says something of the changed field alone, also that it is empty now.
                if attribute == changed or (changed is None and value is not None):
                    tables.add_value(_text(oid), attribute, time, value)


def _type_tables(database: sqlite3.Connection, kind: str) -> list[tuple[str, str]]:
    """(type, table) of each type of events or objects."""
    mapped = database.execute(f"SELECT ocel_type, ocel_type_map FROM {kind}_map_type").fetchall()
    there = dict(database.execute("SELECT name, sql FROM sqlite_master WHERE type = 'table'"))
    tables = [(name, f"{kind}_{suffix}") for name, suffix in mapped]
    for name, table in tables:
        if table not in there or _is_virtual(there[table]):
            raise UnreadableFile(
                f"The OCEL log has no table {table!r} for the {kind} type {name!r}. Export it again."
            )
    return tables


def _type_rows(
    database: sqlite3.Connection, kind: str, typed: tuple[str, str]
) -> tuple[list[str], Iterator[tuple[Any, ...]]]:
    """The columns of a type's table, and its rows, each after the id and the type as the table ``kind`` has them.

    What has no row there has one of nulls.
    """
    name, table = typed
    quoted = '"' + table.replace('"', '""') + '"'
    # Ids may be numbers in one table and text in the other.
    rows = database.execute(
        f"SELECT k.ocel_id, k.ocel_type, t.* FROM {kind} k LEFT JOIN {quoted} t"
        f" ON t.ocel_id = k.ocel_id WHERE k.ocel_type = ?",
        (name,),
    )
    return [column for column, *_ in rows.description[2:]], rows


def _text(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    return value.hex() if isinstance(value, bytes) else str(value)
