"""Object-centric logs (OCEL 2.0): their tables, and flattening them to the cases of one object type.

A record is an event of an object of the chosen type. An event of several such objects has a record for each
(duplicated), one of none is in no case (unrelated); both are counted. The other objects of an event are columns named
``ocel:type:`` and their type, as JSON lists; an attribute of the case's object has the value that it had at the time.
"""

from pathlib import Path
from typing import Literal

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from orchestration.connectors.archive import Limits
from orchestration.connectors.errors import AmbiguousMapping, InvalidMapping, Question, UnreadableFile
from orchestration.connectors.record_chunks import Record, RecordChunks
from orchestration.connectors.staging import Flattening, Staged, ident, literal

_AT_A_TIME = 50_000

_TABLES = {
    "objects": pa.schema([("oid", pa.string()), ("type", pa.string())]),
    "links": pa.schema([("eid", pa.string()), ("oid", pa.string()), ("position", pa.int64())]),
    "object_values": pa.schema(
        [
            ("oid", pa.string()),
            ("name", pa.string()),
            ("time", pa.string()),
            ("value", pa.string()),
            ("position", pa.int64()),
        ]
    ),
}


class OcelTables:
    """The events, objects and links of a log, written to files as they are read.

    Attributes:
        nul_count: NUL characters that were taken out.
    """

    def __init__(self, scratch: Path, limits: Limits) -> None:
        """Write into ``scratch``."""
        self._scratch = scratch
        self._events = RecordChunks(scratch, limits, "ocel-events")
        self._writers = {
            name: pq.ParquetWriter(self.path(name), schema, compression="lz4")
            for name, schema in _TABLES.items()
        }
        self._rows: dict[str, list[tuple[str | int | None, ...]]] = {name: [] for name in _TABLES}
        self._position = 0
        self.nul_count = 0

    @property
    def scratch(self) -> Path:
        """The folder of the files."""
        return self._scratch

    @property
    def events(self) -> RecordChunks:
        """The events: ``ocel:eid``, ``ocel:activity``, ``ocel:timestamp`` and their attributes."""
        return self._events

    def path(self, name: str) -> Path:
        """The file of a table."""
        return self._scratch / f"ocel-{name}.parquet"

    def add_event(
        self, number: int, eid: str | None, activity: str | None, time: str | None, attributes: Record
    ) -> None:
        """An event; ``number`` is its place in the log."""
        own = {"ocel:eid": eid, "ocel:activity": activity, "ocel:timestamp": time}
        # An attribute must not be taken for what the log itself says.
        row = {name if name not in own else f"event:{name}": value for name, value in attributes.items()}
        self._events.add(number, {name: self._clean(value) for name, value in {**own, **row}.items()})

    def add_object(self, oid: str | None, object_type: str | None) -> None:
        """An object."""
        self._add("objects", self._clean(oid), self._clean(object_type))

    def add_link(self, eid: str | None, oid: str | None) -> None:
        """An event that has to do with an object; several qualifiers make one link."""
        self._add("links", self._clean(eid), self._clean(oid), self._next())

    def add_value(self, oid: str | None, name: str, time: str | None, value: str | None) -> None:
        """What an attribute of an object has been since a time."""
        self._add(
            "object_values", self._clean(oid), self._clean(name), time, self._clean(value), self._next()
        )

    def close(self) -> None:
        """Write what is at hand; the files can then be read.

        Raises:
            UnreadableFile: The log holds no events.
        """
        self._events.flush()
        for name, writer in self._writers.items():
            self._flush(name)
            writer.close()
        if not self._events.columns:
            raise UnreadableFile("The OCEL log holds no events.")

    def _next(self) -> int:
        self._position += 1
        return self._position

    def _clean(self, value: str | None) -> str | None:
        if value and "\x00" in value:  # which PostgreSQL cannot store
            self.nul_count += value.count("\x00")
            return value.replace("\x00", "")
        return value

    def _add(self, name: str, *row: str | int | None) -> None:
        self._rows[name].append(row)
        if len(self._rows[name]) >= _AT_A_TIME:
            self._flush(name)

    def _flush(self, name: str) -> None:
        schema = _TABLES[name]
        columns = zip(*self._rows[name], strict=True) if self._rows[name] else [()] * len(schema)
        arrays = [pa.array(column, field.type) for column, field in zip(columns, schema, strict=True)]
        self._writers[name].write_table(pa.table(arrays, schema=schema))
        self._rows[name] = []


def flatten(
    session: duckdb.DuckDBPyConnection,
    tables: OcelTables,
    object_type: str | None,
    *,
    format: Literal["ocel-json", "ocel-sqlite"],
    max_records: int | None = None,
) -> Staged:
    """Make the objects of one type the cases.

    Raises:
        AmbiguousMapping: No type is given and the log has several.
        InvalidMapping: The log has no objects of the type.
        UnreadableFile: Ids that the standard wants to be unique are not.
    """
    session.execute(f"CREATE OR REPLACE TEMP VIEW ocel_events AS {tables.events.relation()}")
    for name in _TABLES:
        source = f"SELECT * FROM read_parquet({literal(tables.path(name))})"
        session.execute(f"CREATE OR REPLACE TEMP VIEW ocel_{name} AS {source}")
    _require_unique(session, tables)
    chosen = _chosen(session, tables, object_type)
    columns = _write_flat(session, tables, chosen)
    flattening, records = _counted(session, tables, chosen)
    limit = "" if max_records is None else f" WHERE _row_number <= {max_records}"
    truncated = max_records is not None and records > max_records
    rows = records if max_records is None else min(records, max_records)
    return Staged(
        format=format,
        columns=tuple((name, "string") for name in columns),
        relation=f"SELECT * FROM read_parquet({literal(tables.path('flat'))}){limit}",
        records=rows + flattening.unrelated,
        flattening=flattening,
        truncated=truncated,
        nul_count=tables.nul_count,
        warnings=(*tables.events.names.warnings, *_warnings(session, tables, flattening)),
    )


def _rows(session: duckdb.DuckDBPyConnection, query: str) -> list[tuple[str, int, int, int]]:
    return session.execute(query).fetchall()


def _eid(tables: OcelTables) -> str:
    return ident(tables.events.columns["ocel:eid"])


def _require_unique(session: duckdb.DuckDBPyConnection, tables: OcelTables) -> None:
    for what, table, column in (("event", "ocel_events", _eid(tables)), ("object", "ocel_objects", "oid")):
        twice = session.execute(
            f"SELECT {column} FROM {table} GROUP BY ALL HAVING count(*) > 1 ORDER BY 1 LIMIT 1"
        ).fetchone()
        if twice:
            raise UnreadableFile(
                f"The OCEL log has the {what} {twice[0]!r} twice; ids must be unique. Export it again."
            )


def _chosen(session: duckdb.DuckDBPyConnection, tables: OcelTables, object_type: str | None) -> str:
    """The object type that cases are of; the best candidates for a question leave out and double the least."""
    types = [
        name
        for name, _, _, _ in _rows(
            session,
            f"""
            SELECT o.type, count(DISTINCT e.{_eid(tables)}) AS events, count(DISTINCT (l.eid, l.oid)) AS records, 0
            FROM ocel_objects o LEFT JOIN ocel_links l USING (oid) LEFT JOIN ocel_events e ON e.{_eid(tables)} = l.eid
            WHERE o.type IS NOT NULL GROUP BY o.type
            ORDER BY events = 0, records - events - events, o.type
            """,
        )
    ]
    if object_type is not None and object_type not in types:
        there_are = ", ".join(sorted(types)) or "none"
        raise InvalidMapping(f"The log has no objects of the type {object_type!r}. Its types: {there_are}.")
    if object_type is None and len(types) != 1:
        if not types:
            raise UnreadableFile("The OCEL log holds no objects, so that no event is in a case.")
        message = f"The log has objects of {len(types)} types, and a case is an object of one of them."
        raise AmbiguousMapping((Question("object_type", "--object-type", tuple(types), message),))
    return object_type or types[0]


def _write_flat(session: duckdb.DuckDBPyConnection, tables: OcelTables, chosen: str) -> list[str]:
    """Write the flat records to the file ``flat``; the names of its columns."""
    session.execute(
        """
        CREATE OR REPLACE TEMP TABLE ocel_related AS
        SELECT l.eid, l.oid, o.type, min(l.position) AS position
        FROM ocel_links l JOIN ocel_objects o USING (oid) GROUP BY ALL
        """
    )
    types = [
        row[0] for row in session.execute("SELECT DISTINCT type FROM ocel_related ORDER BY 1").fetchall()
    ]
    others = [name for name in types if name is not None and name != chosen]
    attributes = [
        row[0]
        for row in session.execute(
            "SELECT name FROM ocel_object_values JOIN ocel_objects USING (oid) WHERE type = ? "
            "GROUP BY name ORDER BY min(position)",
            [chosen],
        ).fetchall()
    ]
    named = tables.events.names
    own = list(tables.events.columns.values())
    added = [named.add(name, 0) for name in _added(others, attributes)]
    case, of_types, of_attributes = added[0], added[1 : 1 + len(others)], added[1 + len(others) :]
    lists = "".join(
        f", CASE WHEN count(*) FILTER (type = {literal(kind)}) > 0 THEN"
        f" to_json(list(oid ORDER BY position) FILTER (type = {literal(kind)}))::VARCHAR END AS {ident(name)}"
        for kind, name in zip(others, of_types, strict=True)
    )
    values = "".join(
        f", last(v.value ORDER BY v.at NULLS FIRST, v.position) FILTER (v.name = {literal(attribute)}"
        f" AND (v.at IS NULL OR r.at IS NULL OR v.at <= r.at)) AS {ident(name)}"
        for attribute, name in zip(attributes, of_attributes, strict=True)
    )
    time = ident(tables.events.columns["ocel:timestamp"])
    selected = ", ".join(
        [f"r.oid AS {ident(case)}", *(f"e.{ident(name)}" for name in own)]
        + [f"t.{ident(name)}" for name in of_types]
        + [f"v.{ident(name)}" for name in of_attributes]
    )
    session.execute(
        f"""
        COPY (
            WITH r AS (
                SELECT r.*, e._row_number AS event, try_cast(e.{time} AS TIMESTAMPTZ) AS at
                FROM ocel_related r JOIN ocel_events e ON e.{_eid(tables)} = r.eid WHERE r.type = {literal(chosen)}
            ),
            v AS (
                SELECT r.eid, r.oid{values}
                FROM r LEFT JOIN (SELECT *, try_cast(time AS TIMESTAMPTZ) AS at FROM ocel_object_values) v
                ON v.oid = r.oid GROUP BY r.eid, r.oid
            ),
            t AS (SELECT eid{lists} FROM ocel_related GROUP BY eid)
            SELECT row_number() OVER (ORDER BY r.event, r.position) AS _row_number, {selected}
            FROM r JOIN ocel_events e ON e._row_number = r.event
            JOIN v ON v.eid = r.eid AND v.oid = r.oid JOIN t ON t.eid = r.eid
            ORDER BY r.event, r.position
        ) TO {literal(tables.path("flat"))} (FORMAT parquet, COMPRESSION lz4)
        """
    )
    return [case, *own, *of_types, *of_attributes]


def _added(others: list[str], attributes: list[str]) -> list[str]:
    return ["ocel:oid", *(f"ocel:type:{kind}" for kind in others), *(f"case:{name}" for name in attributes)]


def _counted(session: duckdb.DuckDBPyConnection, tables: OcelTables, chosen: str) -> tuple[Flattening, int]:
    """What flattening did, and how many records it gave."""
    events, records, related, duplicated = session.execute(
        f"""
        SELECT (SELECT count(*) FROM ocel_events), coalesce(sum(objects), 0), count(*), count(*) FILTER (objects > 1)
        FROM (
            SELECT count(*) AS objects FROM ocel_related r JOIN ocel_events e ON e.{_eid(tables)} = r.eid
            WHERE r.type = ? GROUP BY r.eid
        )
        """,
        [chosen],
    ).fetchall()[0]
    return Flattening(chosen, events, duplicated, int(records) - related, events - related), int(records)


def _warnings(session: duckdb.DuckDBPyConnection, tables: OcelTables, flattening: Flattening) -> list[str]:
    warnings = []
    if flattening.unrelated:
        warnings.append(
            f"{flattening.unrelated:,} of {flattening.events:,} events have no object of the type "
            f"{flattening.object_type!r} and are in no case."
        )
    if flattening.duplicated:
        warnings.append(
            f"{flattening.duplicated:,} events have several objects of the type {flattening.object_type!r} and are "
            f"in the case of each, which makes {flattening.duplicates:,} more records."
        )
    dangling = session.execute(
        f"""
        SELECT count(*) FROM ocel_links
        WHERE oid IS NULL OR eid IS NULL OR oid NOT IN (SELECT oid FROM ocel_objects WHERE oid IS NOT NULL)
        OR eid NOT IN (SELECT {_eid(tables)} FROM ocel_events WHERE {_eid(tables)} IS NOT NULL)
        """
    ).fetchone()
    if dangling and dangling[0]:
        warnings.append(f"{dangling[0]:,} relations name an event or an object that the log does not have.")
    return warnings
