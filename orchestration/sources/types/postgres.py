"""``postgres``: tables and queries of a PostgreSQL database.

A stream is read in the order of its cursor column, in one read-only snapshot, through a cursor on the server. It goes
on from the newest cursor that it has seen, less an overlap: a transaction that took long commits rows with older ones.
"""

import hashlib
import json
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar, Literal, Self

import psycopg
import pyarrow as pa
from psycopg import sql
from psycopg.rows import tuple_row
from pydantic import BaseModel, ConfigDict, Field, PositiveInt, SecretStr, model_validator

from orchestration.connectors.errors import InvalidMapping
from orchestration.connectors.mapping import Mapping as EventMapping
from orchestration.sources.errors import ConfigurationError, SourceError, TransientError
from orchestration.sources.protocol import (
    Checkpoint,
    Context,
    Identity,
    Page,
    Personal,
    SourceConfig,
    State,
    Stream,
    StreamCheck,
    Window,
)

PAGE_ROWS = 10_000
CHECKPOINT_ROWS = 200_000
"""So many are read again at most after a crash."""

_TIMES = ("timestamp with time zone", "timestamp without time zone", "date")
_NUMBERS = ("bigint", "integer", "smallint")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_CONNECT_SECONDS = 10
_STATEMENT_MILLISECONDS = 600_000

_AGAIN = ("08", "40", "53", "57")
"""Classes of errors that may be gone the next time: connection, conflict, resources, and a server that shuts down."""

_BUSY = ("starting up", "shutting down", "too many", "connection slots")
"""What a server says that takes no connection for now; such a refusal comes without a code."""


class EventColumns(BaseModel):
    """Which columns of a stream are the parts of an event. ``record_key`` is the stream's key."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    case_id: str
    activity: str
    timestamp: str
    start_timestamp: str | None = None
    resource: str | None = None
    role: str | None = None
    org_unit: str | None = None
    lifecycle: str | None = None
    order: str | None = None
    timestamp_format: str | None = None
    timezone: str | None = None
    null: tuple[str, ...] = ()


class TableStream(BaseModel):
    """A table (or view), or a query.

    Attributes:
        table: ``schema.table``, as it is written in the database.
        query: A ``SELECT``.
        key: Columns that identify a record.
        cursor: Column that grows with every change of a record: a time or a whole number. Index it.
        overlap: How far behind the newest cursor each sync reads again: seconds, or numbers.
        deleted: Column that is true, or not null, for a record that was deleted.
        events: Without it the records are none.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(pattern=r"^[a-z][a-z0-9_]{0,62}$")
    table: str | None = Field(default=None, pattern=r"^[^.]+(\.[^.]+)?$")
    query: str | None = None
    key: tuple[str, ...] = Field(min_length=1)
    cursor: str
    overlap: int = Field(default=600, ge=0)
    deleted: str | None = None
    events: EventColumns | None = None

    @model_validator(mode="after")
    def _one_origin(self) -> Self:
        if (self.table is None) == (self.query is None):
            raise ValueError("give either table or query")
        return self


class Config(SourceConfig):
    """A PostgreSQL database and what is read of it.

    Attributes:
        sslmode: As libpq's; ``disable`` for hosts alone that the operator has named.
        lag_seconds: Records younger than that wait for the next sync.
        system: The system that the events are of.
    """

    secrets_go_to: ClassVar[tuple[str, ...]] = ("host", "port")

    host: str = Field(pattern=r"^[A-Za-z0-9._:-]+$")
    port: PositiveInt = 5432
    database: str
    user: str
    password: SecretStr
    sslmode: Literal["require", "verify-full", "disable"] = "require"
    lag_seconds: int = Field(default=60, ge=0)
    system: str = "postgres"
    streams: tuple[TableStream, ...] = ()

    @model_validator(mode="after")
    def _names_are_unique(self) -> Self:
        names = [stream.name for stream in self.streams]
        if len(set(names)) < len(names):
            raise ValueError("two streams have one name")
        return self


def check(config: Config, context: Context) -> list[StreamCheck]:
    """Whether each stream can be read as it is configured."""
    with _snapshot(config, context) as connection:
        return [_checked(connection, stream) for stream in config.streams]


def discover(config: Config, context: Context) -> list[Stream]:
    """The tables and views that the user may read, with keys and what could be their cursors."""
    with _snapshot(config, context) as connection:
        rows = connection.execute(_READABLE).fetchall()
    return [
        Stream(
            name,
            tuple(zip(columns, kinds, strict=True)),
            tuple(key),
            tuple(
                c for of in (_TIMES, _NUMBERS) for c, kind in zip(columns, kinds, strict=True) if kind in of
            ),
        )
        for name, columns, kinds, key in rows
    ]


def mappings(config: Config) -> dict[str, EventMapping]:
    """The mapping of each stream that has events."""
    return {
        stream.name: EventMapping(**stream.events.model_dump(), system=config.system, record_key=stream.key)
        for stream in config.streams
        if stream.events
    }


def personal(_config: Config) -> dict[str, dict[str, Personal]]:
    """None by itself: only the configuration knows what the columns of a table hold."""
    return {}


def identity(_config: Config) -> dict[str, Identity]:
    """None by itself, likewise."""
    return {}


def read(
    config: Config, window: Window, state: State | None, context: Context
) -> Generator[Page | Checkpoint]:
    """Every stream from where it was left, all in one snapshot.

    ``state`` has for each the newest cursor, since when it was read, and what it was: one that became another table or
    query, has another cursor, or is to begin earlier is read anew.
    """
    state, request, reread_from, unsaved = dict(state or {}), dict[str, Any](), dict[str, int](), 0
    with _snapshot(config, context) as connection:
        for stream in config.streams:
            source = _described(connection, stream)
            if problem := _unordered(connection, source):
                raise ConfigurationError(f"{stream.name}: {problem}")
            newest = _newest(stream, window, state.get(stream.name))
            bounds = _bounds(connection, config, source, window, newest)
            request[stream.name] = {"table": stream.table, "query": stream.query, **bounds.shown()}
            for page in _pages(connection, source, bounds):
                yield page
                last = page.cursors[-1].as_py()
                # Within the overlap it does not go back: what lies behind it has been forgotten.
                newest = last if newest is None else max(newest, last)
                state[stream.name] = {"of": _origin(stream), "since": _text(window.start), "newest": newest}
                reread_from[stream.name] = source.behind(newest)
                unsaved += len(page.records)
                if unsaved >= CHECKPOINT_ROWS:
                    yield Checkpoint(dict(state), dict(reread_from), dict(request))
                    unsaved = 0
    yield Checkpoint(dict(state), dict(reread_from), dict(request))


@dataclass(frozen=True)
class _Source:
    """A stream as its database describes it."""

    stream: TableStream
    columns: dict[str, str]

    @property
    def is_timed(self) -> bool:
        return self.columns[self.stream.cursor] in _TIMES

    @property
    def rows(self) -> sql.Composable:
        return _rows(self.stream)

    def behind(self, newest: int) -> int:
        """Where the overlap behind the newest cursor begins."""
        return newest - self.stream.overlap * (1_000_000 if self.is_timed else 1)

    @property
    def cursor(self) -> sql.Composable:
        return _column(self.stream.cursor)


@dataclass(frozen=True)
class _Bounds:
    """From ``low`` on, and before ``high``: times or numbers; None: no bound."""

    low: datetime | int | None
    high: datetime | None

    def shown(self) -> dict[str, Any]:
        return {"from": _text(self.low), "before": _text(self.high)}


@contextmanager
def _snapshot(config: Config, context: Context) -> Iterator[psycopg.Connection[tuple[Any, ...]]]:
    """A read-only transaction that sees one state of the database. Times are told in UTC, in ISO 8601.

    Raises:
        ConfigurationError: the database refuses; its own message is told, without secrets.
        TransientError: it may answer the next time.
    """
    if config.sslmode == "disable" and config.host not in context.internal_hosts:
        raise ConfigurationError(
            f"{config.host} is to be reached without encryption: use sslmode require, or ask the operator to name it "
            "in CASETRAIL_CONNECTOR_INTERNAL_HOSTS."
        )
    try:
        with psycopg.connect(
            host=config.host,
            hostaddr=context.address(config.host, config.port),
            port=config.port,
            dbname=config.database,
            user=config.user,
            password=config.password.get_secret_value(),
            sslmode=config.sslmode,
            sslrootcert="system" if config.sslmode == "verify-full" else "",
            # Whatever this machine has to show for itself is not for a tenant's server.
            sslcertmode="disable",
            gssencmode="disable",
            connect_timeout=_CONNECT_SECONDS,
            keepalives_idle=20,
            tcp_user_timeout=60_000,
            application_name="casetrail",
            row_factory=tuple_row,
        ) as connection:
            connection.read_only = True
            connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
            connection.execute("set local time zone 'UTC'")
            connection.execute("set local datestyle = 'ISO'")
            connection.execute("set local intervalstyle = 'iso_8601'")
            connection.execute(f"set local statement_timeout = {_STATEMENT_MILLISECONDS}")
            yield connection
    except SourceError:
        raise
    except psycopg.Error as error:
        raise _told(error) from None


def _told(error: psycopg.Error) -> SourceError:
    """The error as its kind. One without a code is of the connection: refused by the server, failed, or broken."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    message = error.diag.message_primary or lines[0]
    if error.sqlstate is None:
        refused = any(word in message for word in ("FATAL", "SSL", "certificate"))
        if not refused or any(word in message for word in _BUSY):
            return TransientError(f"The database cannot be reached: {message}")
    elif error.sqlstate[:2] in _AGAIN:
        return TransientError(f"The database gave up: {message}")
    return ConfigurationError(
        f"The database refuses: {message}. Check host, database, user, password and rights."
    )


def _rows(stream: TableStream) -> sql.Composable:
    if stream.table is not None:
        return sql.Identifier(*stream.table.split("."))
    # The tenant's own SQL, in the tenant's own database, as the user that the tenant gave.
    return sql.SQL("({}\n)").format(sql.SQL((stream.query or "").strip().rstrip(";")))


def _column(name: str) -> sql.Identifier:
    return sql.Identifier("source", name)


def _described(connection: psycopg.Connection[tuple[Any, ...]], stream: TableStream) -> _Source:
    """The stream with its columns.

    Raises:
        ConfigurationError: a configured column is not there, two have one name, or the cursor has no order in time.
    """
    described = connection.execute(
        sql.SQL("select * from {} as source limit 0").format(_rows(stream))
    ).description
    names = [column.name for column in described or ()]
    if len(set(names)) < len(names):
        raise ConfigurationError(f"{stream.name}: two columns have one name; give them others in the query.")
    oids = [column.type_code for column in described or ()]
    kinds = connection.execute(
        "select format_type(oid, null) from unnest(%s::oid[]) with ordinality as t (oid, place) order by place",
        (oids,),
    ).fetchall()
    source = _Source(stream, dict(zip(names, (kind for (kind,) in kinds), strict=True)))
    wanted = (*stream.key, stream.cursor, *([stream.deleted] if stream.deleted else []))
    if missing := [column for column in wanted if column not in source.columns]:
        raise ConfigurationError(
            f"{stream.name} has no column {', '.join(missing)}. It has: {', '.join(source.columns)}."
        )
    if (kind := source.columns[stream.cursor]) not in (*_TIMES, *_NUMBERS):
        raise ConfigurationError(
            f"{stream.name}: a cursor is a time or a whole number; {stream.cursor} is {kind}."
        )
    return source


def _checked(connection: psycopg.Connection[tuple[Any, ...]], stream: TableStream) -> StreamCheck:
    """A stream, and what keeps it from being read; the snapshot stays usable."""
    try:
        with connection.transaction():
            source = _described(connection, stream)
            connection.execute(sql.SQL("select 1 from {} as source limit 1").format(source.rows))
            problem = _unmapped(source) or _unordered(connection, source)
            return StreamCheck(stream.name, problem, tuple(source.columns))
    except ConfigurationError as error:
        return StreamCheck(stream.name, str(error))
    except psycopg.Error as error:
        if (error.sqlstate or "")[:2] in ("", *_AGAIN):
            raise
        return StreamCheck(stream.name, f"{error.diag.message_primary}.")


def _unmapped(source: _Source) -> str | None:
    """What is wrong with the columns of the events."""
    events = source.stream.events
    if events is None:
        return None
    mapping = EventMapping(**events.model_dump(), record_key=source.stream.key)
    try:
        mapping.check_options()
        mapping.check_columns(source.columns)
    except InvalidMapping as error:
        return str(error)
    times = [column for column in (events.timestamp, events.start_timestamp) if column]
    without_zone = [c for c in times if source.columns[c] in _TIMES[1:]]
    if without_zone and events.timezone is None:
        return f"{', '.join(without_zone)} has no time zone: give the zone of its times in events.timezone."
    return None


def _unordered(connection: psycopg.Connection[tuple[Any, ...]], source: _Source) -> str | None:
    """Records without a cursor would never be read: so nothing is, until they have one."""
    finite = sql.SQL(" or not isfinite({})").format(source.cursor) if source.is_timed else sql.SQL("")
    found = connection.execute(
        sql.SQL(
            "select count(*) from (select 1 from {} as source where {} is null{} limit 1000) as bare"
        ).format(source.rows, source.cursor, finite)
    ).fetchone()
    if not found or not found[0]:
        return None
    many = "1000 or more" if found[0] == 1000 else found[0]
    return (
        f"{many} record(s) have no {source.stream.cursor} and would never be pulled. "
        "Fill it, or use a query that does, such as coalesce(updated_at, created_at)."
    )


def _origin(stream: TableStream) -> str:
    """What a newest cursor is of: it means nothing for another table, query or column."""
    return hashlib.sha256(json.dumps([stream.table, stream.query, stream.cursor]).encode()).hexdigest()[:16]


def _newest(stream: TableStream, window: Window, left: Any) -> int | None:
    """The cursor to go on from; None to begin at the window's start."""
    if left is None or left["of"] != _origin(stream):
        return None
    since = datetime.fromisoformat(left["since"]) if left["since"] else None
    if since is not None and (window.start is None or window.start < since):
        return None
    return int(left["newest"])


def _bounds(
    connection: psycopg.Connection[tuple[Any, ...]],
    config: Config,
    source: _Source,
    window: Window,
    newest: int | None,
) -> _Bounds:
    """Where this read begins and ends. The end is told by the database's clock, which its cursors go by."""
    low = None if newest is None else source.behind(newest)
    if not source.is_timed:
        return _Bounds(low, None)
    (now,) = connection.execute("select now()").fetchone() or (window.end,)
    high = min(window.end, now - timedelta(seconds=config.lag_seconds))
    return _Bounds(window.start if low is None else _EPOCH + timedelta(microseconds=low), high)


def _pages(
    connection: psycopg.Connection[tuple[Any, ...]], source: _Source, bounds: _Bounds
) -> Iterator[Page]:
    """The records between the bounds in the order of (cursor, key)."""
    stream, schema = source.stream, pa.schema([(name, pa.string()) for name in source.columns])
    with connection.cursor(name="casetrail") as cursor:
        cursor.itersize = PAGE_ROWS
        cursor.execute(_query(source, bounds))
        while rows := cursor.fetchmany(PAGE_ROWS):
            cursors, deleted, *values = zip(*rows, strict=True)
            yield Page(
                stream.name,
                source.columns,
                pa.record_batch([pa.array(column, pa.string()) for column in values], schema),
                pa.array(cursors, pa.int64()),
                pa.array(deleted, pa.bool_()) if stream.deleted else None,
            )


def _query(source: _Source, bounds: _Bounds) -> sql.Composed:
    stream = source.stream
    place = "(extract(epoch from {0}::timestamptz) * 1000000)::bigint" if source.is_timed else "{0}::bigint"
    deleted: sql.Composable = sql.SQL("false")
    if stream.deleted is not None:
        form = "coalesce({0}, false)" if source.columns[stream.deleted] == "boolean" else "{0} is not null"
        deleted = sql.SQL(form).format(_column(stream.deleted))
    # Literals, not parameters: with those every % of a tenant's query would have to be doubled.
    conditions = [
        sql.SQL(f"{{}} {comparison} {{}}").format(source.cursor, sql.Literal(bound))
        for comparison, bound in ((">=", bounds.low), ("<", bounds.high))
        if bound is not None
    ]
    return sql.SQL(
        "select {place}, {deleted}, {values} from {rows} as source {where} order by {order}"
    ).format(
        place=sql.SQL(place).format(source.cursor),
        deleted=deleted,
        values=sql.SQL(", ").join(sql.SQL("{}::text").format(_column(name)) for name in source.columns),
        rows=source.rows,
        where=sql.SQL("where ") + sql.SQL(" and ").join(conditions) if conditions else sql.SQL(""),
        order=sql.SQL(", ").join(map(_column, dict.fromkeys((stream.cursor, *stream.key)))),
    )


def _text(bound: datetime | int | None) -> str | int | None:
    return bound.isoformat() if isinstance(bound, datetime) else bound


_READABLE = """
select
    format('%s.%s', namespace.nspname, class.relname),
    array_agg(attribute.attname::text order by attribute.attnum),
    array_agg(format_type(attribute.atttypid, null) order by attribute.attnum),
    array(
        select key.attname::text
        from pg_index
        cross join unnest(pg_index.indkey) with ordinality as part (attnum, place)
        join pg_attribute as key on key.attrelid = class.oid and key.attnum = part.attnum
        where pg_index.indrelid = class.oid and pg_index.indisprimary
        order by part.place
    )
from pg_class as class
join pg_namespace as namespace on namespace.oid = class.relnamespace
join pg_attribute as attribute
    on attribute.attrelid = class.oid and attribute.attnum > 0 and not attribute.attisdropped
where
    class.relkind in ('r', 'p', 'v', 'm', 'f')
    and not class.relispartition
    and namespace.nspname not in ('pg_catalog', 'information_schema')
    and namespace.nspname !~ '^pg_(toast|temp)'
    and has_schema_privilege(namespace.oid, 'usage')
    and has_table_privilege(class.oid, 'select')
group by class.oid, class.relname, namespace.nspname
order by 1
"""
