"""What pulled records say of who is who: read from the originals of the streams that have an ``Identity``.

Of each record its newest live version counts, and beside it the newest tombstone: a merged record names its survivor
there, and a tombstone that holds nothing but an id takes nothing back. Only who belongs to which object ends with a
record's deletion.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby

import duckdb
import pyarrow as pa

from orchestration.connectors.staging import ident, literal
from orchestration.identity import KEYS, LINKS, Record
from orchestration.sources.protocol import Identity

EMAIL_RULE = "email"
"""The rule of all keys: the keyed hash of an address is the same whatever system it comes from."""


@dataclass(frozen=True)
class LinkPart:
    """One original, in the order of the pulls. ``tombstones`` are those of deleted or merged records."""

    connector_id: str
    connector_type: str
    stream: str
    tombstones: bool
    url: str
    identity: Identity


@dataclass(frozen=True)
class Statements:
    """All that the records of a workspace say now.

    Attributes:
        links: ``LINKS``.
        keys: ``KEYS``.
        objects: system, native_id, opened_at, closed_at (UTC), before_days, after_days.
        persons: system, object_id, person_id.
        first_seen: By record the place of the original that brought it.
    """

    links: pa.Table
    keys: pa.Table
    objects: pa.Table
    persons: pa.Table
    first_seen: dict[Record, int]


def read_statements(connection: duckdb.DuckDBPyConnection, parts: Sequence[LinkPart]) -> Statements:
    """Read what the originals say; a column that an original does not have says nothing there."""
    connection.execute(_TABLES)
    numbered = sorted(enumerate(parts), key=lambda entry: (entry[1].connector_id, entry[1].stream, entry[0]))
    for _stream, of_stream in groupby(numbered, key=lambda entry: (entry[1].connector_id, entry[1].stream)):
        _read_stream(connection, list(of_stream))
    seen = connection.execute("select system, native_id, min(place) from seen group by all").fetchall()
    return Statements(
        links=_table(connection, "links").cast(LINKS),
        keys=_table(connection, "keys").cast(KEYS),
        objects=_table(connection, "objects"),
        persons=_table(connection, "persons"),
        first_seen={(system, native_id): place for system, native_id, place in seen},
    )


_TABLES = """
create or replace temp table links (
    left_system varchar, left_id varchar, right_system varchar, right_id varchar, strength varchar, rule varchar,
    evidence varchar
);
create or replace temp table keys (
    system varchar, native_id varchar, rule varchar, key varchar, evidence varchar
);
create or replace temp table objects (
    system varchar, native_id varchar, opened_at timestamp, closed_at timestamp, before_days integer, after_days integer
);
create or replace temp table persons (system varchar, object_id varchar, person_id varchar);
create or replace temp table seen (system varchar, native_id varchar, place bigint);
"""


def _table(connection: duckdb.DuckDBPyConnection, name: str) -> pa.Table:
    return connection.execute(f"select distinct * from {name} order by all").to_arrow_table()


def _read_stream(connection: duckdb.DuckDBPyConnection, numbered: Sequence[tuple[int, LinkPart]]) -> None:
    """The statements of one stream of one connector; its identity is that of now for all its originals."""
    (_place, first) = numbered[0]
    identity, system = first.identity, literal(first.identity.system)
    column = _load_newest(connection, numbered)
    said = f"{first.connector_type}.{first.stream}"
    record = column[identity.record]
    connection.execute(f"insert into seen select {system}, {record}, place from newest")
    for same in identity.same:
        other = f"{literal(same.system)}, {column[same.column]}"
        connection.execute(
            f"""
            insert into links
            select {system}, {record}, {other}, 'strong', {literal(f"{said}.{same.column}")}, evidence
            from newest where {column[same.column]} is not null and ({other}) <> ({system}, {record})
            """
        )
    for name in identity.keys:
        connection.execute(
            f"""
            insert into keys
            select {system}, {record}, '{EMAIL_RULE}', {column[name]}, evidence from newest
            where {column[name]} is not null
            """
        )
    for pair in identity.persons:
        connection.execute(
            f"""
            insert into persons select {system}, {column[pair.object]}, {column[pair.person]} from newest
            where not gone and not deleted
            and {column[pair.object]} is not null and {column[pair.person]} is not null
            """
        )
    if times := identity.object:
        opened, closed = (
            f"(try_cast({column[name]} as timestamptz) at time zone 'UTC')"
            for name in (times.opened, times.closed)
        )
        connection.execute(
            f"""
            insert into objects
            select {system}, {record}, {opened}, {closed}, {times.before_days}, {times.after_days} from newest
            where not deleted and {opened} is not null
            """
        )


def _load_newest(
    connection: duckdb.DuckDBPyConnection, numbered: Sequence[tuple[int, LinkPart]]
) -> dict[str, str]:
    """Table ``newest``: of each record the newest live version and the newest tombstone (``deleted``).

    ``gone`` is whether a tombstone came after the live version. Returns what the source's columns are called there.
    """
    identity = numbered[0][1].identity
    column = {name: f"c{place}" for place, name in enumerate(dict.fromkeys(_columns(identity)))}
    connection.execute(
        "create or replace temp table part_places (url varchar, place bigint, deleted boolean)"
    )
    connection.executemany(
        "insert into part_places values (?, ?, ?)",
        [(part.url, place, part.tombstones) for place, part in numbered],
    )
    source = (
        f"read_parquet([{', '.join(literal(part.url) for _place, part in numbered)}],"
        " union_by_name = true, filename = 'part_url', file_row_number = true)"
    )
    there = {row[0] for row in connection.execute(f"describe select * from {source}").fetchall()}
    values = ", ".join(
        f"nullif({ident(name)}, '') as {alias}" if name in there else f"null::varchar as {alias}"
        for name, alias in column.items()
    )
    key = ", ".join(column[name] for name in identity.key)
    connection.execute(
        f"""
        create or replace temp table newest as
        with versions as (
            select {values}, place, deleted, file_row_number from {source} join part_places on url = part_url
        )
        select *, {literal(f"{numbered[0][1].stream} ")} || concat_ws('/', {key}) as evidence,
               coalesce(max(place) filter (deleted) over (partition by {key}) > place, false) as gone
        from versions
        qualify {column[identity.record]} is not null
        and row_number() over (partition by {key}, deleted order by place desc, file_row_number desc) = 1
        """
    )
    return column


def _columns(identity: Identity) -> Iterable[str]:
    yield from (identity.record, *identity.key)
    yield from (same.column for same in identity.same)
    yield from identity.keys
    for pair in identity.persons:
        yield from (pair.object, pair.person)
    if identity.object:
        yield from (identity.object.opened, identity.object.closed)
