"""The type ``postgres`` against a second database of the embedded server: checks, streams, windows, tombstones."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
from pydantic import SecretStr, ValidationError

from orchestration.addresses import InternalAddress, allowed_address
from orchestration.sources.errors import ConfigurationError, TransientError
from orchestration.sources.protocol import Checkpoint, Context, Page, State, Stream, StreamCheck, Window
from orchestration.sources.redaction import Redactor
from orchestration.sources.types import postgres
from tests.sources.conftest import EVENTS, PASSWORD, STREAM, SourceDatabase

T0 = datetime(2024, 3, 1, 10, tzinfo=UTC)
ALWAYS = Window(None, datetime(2100, 1, 1, tzinfo=UTC))


def at(seconds: float) -> datetime:
    return T0 + timedelta(seconds=seconds)


def context(*internal: str) -> Context:
    return Context(
        lambda host, _port: "127.0.0.1" if host == "localhost" else host, Redactor(), frozenset(internal)
    )


def config(source: SourceDatabase, *streams: dict[str, Any], **changes: Any) -> postgres.Config:
    values = source.config(*streams, **changes)
    return postgres.Config.model_validate({"password": SecretStr(PASSWORD), **values})


def reached(source: SourceDatabase) -> Context:
    return context(source.host)


def read(
    source: SourceDatabase,
    *streams: dict[str, Any],
    state: State | None = None,
    window: Window = ALWAYS,
    **changes: Any,
) -> tuple[list[dict[str, Any]], Checkpoint]:
    """The records that are read, with ``deleted`` where they are, and the last checkpoint."""
    rows: list[dict[str, Any]] = []
    last = None
    for step in postgres.read(config(source, *streams, **changes), window, state, reached(source)):
        if isinstance(step, Page):
            deleted = step.deleted.to_pylist() if step.deleted is not None else [False] * len(step.records)
            rows += [
                row | ({"deleted": True} if gone else {})
                for row, gone in zip(step.records.to_pylist(), deleted, strict=True)
            ]
        last = step
    assert isinstance(last, Checkpoint)
    return rows, last


@pytest.fixture
def events(source_database: SourceDatabase) -> SourceDatabase:
    source_database.owner.execute(EVENTS)
    return source_database


def test_a_stream_is_read_whole_in_the_order_of_its_cursor(events: SourceDatabase) -> None:
    events.add_events(
        (2, "b", "new", at(0), at(5)), (1, "a", "new", at(0), at(5)), (3, None, "paid, ok", at(1.5), at(2))
    )
    rows, end = read(events, STREAM)
    assert [row["id"] for row in rows] == ["3", "1", "2"]
    assert rows[0] == {
        "id": "3", "order_id": None, "status": "paid, ok", "at": "2024-03-01 10:00:01.5+00",
        "changed": "2024-03-01 10:00:02+00", "gone": "false",
    }  # fmt: skip
    assert end.state["events"]["newest"] == int(at(5).timestamp()) * 1_000_000
    assert end.request["events"]["from"] is None


def test_the_next_read_begins_an_overlap_before_the_newest_cursor(events: SourceDatabase) -> None:
    events.add_events((1, "a", "new", at(0), at(0)), (2, "a", "paid", at(0), at(900)))
    stream = {**STREAM, "overlap": 600}
    _rows, end = read(events, stream)
    assert end.reread_from == {"events": int(at(300).timestamp()) * 1_000_000}
    # Late commits: one inside of the overlap, one with the very cursor that it begins at, and one behind it.
    events.add_events(
        (3, "a", "late", at(0), at(301)), (4, "a", "edge", at(0), at(300)), (5, "a", "x", at(0), at(299))
    )
    rows, after = read(events, stream, state=end.state)
    assert [row["id"] for row in rows] == ["4", "3", "2"]
    assert after.state == end.state


def test_the_window_is_closed_at_the_left_and_open_at_the_right(events: SourceDatabase) -> None:
    events.add_events(*((n, "a", "s", at(0), at(n)) for n in range(5)))
    rows, _ = read(events, STREAM, window=Window(at(1), at(3)))
    assert [row["id"] for row in rows] == ["1", "2"]


def test_a_stream_that_became_another_is_read_anew(events: SourceDatabase) -> None:
    events.add_events(*((n, "a", "s", at(0), at(n)) for n in range(4)))
    stream = {**STREAM, "overlap": 0}
    late, always = Window(at(2), ALWAYS.end), ALWAYS
    _, end = read(events, stream, window=late)

    def again(change: dict[str, Any], window: Window = late) -> list[str]:
        return [row["id"] for row in read(events, {**stream, **change}, state=end.state, window=window)[0]]

    assert again({}) == ["3"]
    assert again({}, Window(at(3), ALWAYS.end)) == ["3"]
    # The newest cursor is a time; as a number it would be greater than any id there will ever be.
    assert again({"cursor": "id"}) == ["0", "1", "2", "3"]
    assert again({"table": None, "query": "select * from events where id <> 3"}) == ["2"]
    assert again({}, always) == ["0", "1", "2", "3"]
    assert again({}, Window(at(1), ALWAYS.end)) == ["1", "2", "3"]


def test_what_is_younger_than_the_lag_waits_by_the_clock_of_the_database(events: SourceDatabase) -> None:
    now = datetime.now(UTC)
    events.add_events((1, "a", "old", at(0), now - timedelta(minutes=3)), (2, "a", "young", at(0), now))
    rows, _ = read(events, STREAM, lag_seconds=60)
    assert [row["id"] for row in rows] == ["1"]
    events.add_events((3, "a", "ahead", at(0), now + timedelta(hours=1)))
    assert [row["id"] for row in read(events, STREAM, lag_seconds=0)[0]] == ["1", "2"]


def test_a_whole_number_is_a_cursor_too(events: SourceDatabase) -> None:
    stream = {**STREAM, "cursor": "id", "overlap": 1}
    events.add_events(*((n, "a", "s", at(0), at(0)) for n in (1, 2, 5)))
    _, end = read(events, stream)
    assert (end.state["events"]["newest"], end.reread_from) == (5, {"events": 4})
    events.add_events((4, "a", "s", at(0), at(0)), (6, "a", "s", at(0), at(0)))
    assert [row["id"] for row in read(events, stream, state=end.state)[0]] == ["4", "5", "6"]


def test_deleted_records_are_tombstones_whether_a_flag_or_a_time_tells(events: SourceDatabase) -> None:
    events.owner.execute("alter table events add gone_at timestamptz")
    events.add_events((1, "a", "s", at(0), at(0)), (2, "a", "s", at(0), at(1)), (3, "a", "s", at(0), at(2)))
    events.owner.execute("update events set gone = true where id = 2")
    events.owner.execute("update events set gone = null, gone_at = now() where id = 3")
    assert [row["id"] for row in read(events, STREAM)[0] if "deleted" in row] == ["2"]
    by_time = {**STREAM, "deleted": "gone_at"}
    assert [row["id"] for row in read(events, by_time)[0] if "deleted" in row] == ["3"]


def test_a_query_is_a_stream_with_percent_signs_comments_and_a_semicolon(events: SourceDatabase) -> None:
    events.add_events((1, "a", "50%", at(0), at(0)), (2, "a", "other", at(0), at(1)))
    query = "select *, id % 7 as \"rate_%s\" from events where status like '%\\%' ; -- only some"
    rows, end = read(events, {**STREAM, "table": None, "query": query.replace(" ; --", " --")})
    assert [(row["id"], row["rate_%s"]) for row in rows] == [("1", "1")]
    assert read(events, {**STREAM, "table": None, "query": "select * from events;"}, state=end.state)[0]


def test_records_that_no_cursor_would_ever_find_stop_the_read(events: SourceDatabase) -> None:
    events.add_events((1, "a", "s", at(0), None), (2, "a", "s", at(0), at(0)))
    events.owner.execute("insert into events values (3, 'a', 's', now(), '-infinity')")
    with pytest.raises(ConfigurationError, match=r"2 record\(s\) have no changed .* coalesce"):
        read(events, STREAM)
    assert "2 record(s)" in str(postgres.check(config(events, STREAM), reached(events)))


def test_checkpoints_come_in_between_and_lose_nothing(
    events: SourceDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres, "PAGE_ROWS", 3)
    monkeypatch.setattr(postgres, "CHECKPOINT_ROWS", 6)
    events.add_events(*((n, "a", "s", at(0), at(n // 4)) for n in range(20)))
    steps = list(postgres.read(config(events, STREAM), ALWAYS, None, reached(events)))
    assert sum(isinstance(step, Checkpoint) for step in steps) == 4
    for place, step in enumerate(steps):
        if isinstance(step, Checkpoint):
            before = {r["id"] for s in steps[:place] if isinstance(s, Page) for r in s.records.to_pylist()}
            after = {row["id"] for row in read(events, {**STREAM, "overlap": 0}, state=step.state)[0]}
            assert before | after == {str(n) for n in range(20)}


def test_a_checkpoint_within_the_overlap_does_not_go_back(
    events: SourceDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    events.add_events(*((n, "a", "s", at(0), at(n)) for n in range(10)))
    stream = {**STREAM, "overlap": 5}
    _, end = read(events, stream)
    monkeypatch.setattr(postgres, "PAGE_ROWS", 2)
    monkeypatch.setattr(postgres, "CHECKPOINT_ROWS", 2)
    steps = postgres.read(config(events, stream), ALWAYS, end.state, reached(events))
    checkpoints = [step for step in steps if isinstance(step, Checkpoint)]
    assert len(checkpoints) == 4
    assert [c.state for c in checkpoints] == [end.state] * 4
    assert {c.reread_from["events"] for c in checkpoints} == {end.reread_from["events"]}


def test_nothing_can_be_written_through_a_stream(events: SourceDatabase) -> None:
    events.owner.execute(
        "create function clear() returns setof events language sql as 'delete from events returning *'"
    )
    stream = {**STREAM, "table": None, "query": "select * from clear()"}
    with pytest.raises(ConfigurationError, match="read-only"):
        read(events, stream)


def test_discovery_tells_keys_and_what_could_be_cursors(events: SourceDatabase) -> None:
    events.owner.execute("create schema hidden; create table hidden.t (a int)")
    assert postgres.discover(config(events), reached(events)) == [
        Stream(
            "public.events",
            (
                ("id", "bigint"),
                ("order_id", "text"),
                ("status", "text"),
                ("at", "timestamp with time zone"),
                ("changed", "timestamp with time zone"),
                ("gone", "boolean"),
            ),
            ("id",),
            ("at", "changed", "id"),
        )
    ]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({}, None),
        ({"table": "public.nothing"}, "does not exist"),
        ({"cursor": "status"}, "a cursor is a time or a whole number; status is text"),
        ({"key": ["no"], "deleted": "nor"}, "has no column no, nor"),
        ({"table": None, "query": "select id, id from events"}, "two columns have one name"),
        ({"table": None, "query": "delete from events"}, "syntax error"),
        ({"table": "secret"}, "permission denied"),
        ({"events": {"case_id": "x", "activity": "status", "timestamp": "at"}}, "names the column 'x'"),
        ({"events": {"case_id": "id", "activity": "status", "timestamp": "naive"}}, "naive has no time zone"),
    ],
)
def test_a_check_tells_what_is_wrong_with_each_stream(
    events: SourceDatabase, change: dict[str, Any], told: str | None
) -> None:
    events.owner.execute("alter table events add naive timestamp")
    events.owner.execute("create table secret as select * from events")
    events.owner.execute(
        psycopg.sql.SQL("revoke select on secret from {}").format(psycopg.sql.Identifier(events.user))
    )
    good = {**STREAM, "name": "good"}
    tried, other = postgres.check(config(events, {**STREAM, **change}, good), reached(events))
    assert other == StreamCheck(
        "good", columns=("id", "order_id", "status", "at", "changed", "gone", "naive")
    )
    assert (tried.problem is None) if told is None else told in (tried.problem or "")


def test_who_must_act_when_a_database_cannot_be_reached(source_database: SourceDatabase) -> None:
    source = source_database
    for changes, kind, told in [
        ({"password": SecretStr("wrong-s3cret")}, ConfigurationError, "password authentication failed"),
        ({"database": "nowhere"}, ConfigurationError, "does not exist|permission denied"),
        ({"sslmode": "require"}, ConfigurationError, "SSL"),
        ({"port": 1}, TransientError, "refused"),
    ]:
        with pytest.raises(kind, match=told) as caught:
            postgres.check(config(source, **changes), reached(source))
        assert "wrong-s3cret" not in str(caught.value)
    with pytest.raises(ConfigurationError, match="CASETRAIL_CONNECTOR_INTERNAL_HOSTS"):
        postgres.check(config(source), context())


@contextmanager
def listening() -> Iterator[tuple[int, list[bytes]]]:
    """A server that speaks no TLS; its port, and the first bytes of each connection."""
    heard: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            with suppress(OSError):
                while True:
                    connection, _ = server.accept()
                    with connection:
                        heard.append(connection.recv(64))
                        connection.sendall(b"N")

        threading.Thread(target=serve, daemon=True).start()
        yield server.getsockname()[1], heard
        server.shutdown(socket.SHUT_RDWR)


def elsewhere(port: int, **changes: Any) -> postgres.Config:
    values = {"host": "rebound.test", "port": port, "database": "d", "user": "u", "password": PASSWORD}
    return postgres.Config.model_validate(values | changes)


def test_libpq_connects_to_the_address_that_was_judged_and_resolves_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Where the name leads for libpq, nobody answers; nor does the environment lead elsewhere.
    monkeypatch.setenv("PGHOSTADDR", "127.0.0.2")
    monkeypatch.setenv("PGHOST", "localhost")
    judged = []

    def address(host: str, port: int) -> str:
        judged.append((host, port))
        return "127.0.0.1"

    with listening() as (port, heard), pytest.raises(ConfigurationError, match="does not support SSL"):
        postgres.check(elsewhere(port), Context(address, Redactor()))
    assert judged == [("rebound.test", port)]
    assert [len(first) for first in heard] == [8]  # the request for TLS: no name, no password


@pytest.mark.parametrize(
    "host",
    [
        *("127.0.0.1", "2130706433", "0177.0.0.1", "0x7f000001", "127.1", "0", "LOCALHOST", "::1"),
        *("::ffff:127.0.0.1", "::ffff:7f00:1", "::127.0.0.1"),
    ],
)
def test_a_host_inside_is_not_connected_to_however_it_is_written(host: str) -> None:
    judge = Context(lambda host, port: allowed_address(host, port, ()), Redactor())
    with listening() as (port, heard), pytest.raises(InternalAddress):
        postgres.check(elsewhere(port, host=host), judge)
    assert heard == []


@pytest.mark.parametrize(
    "host",
    [
        *(
            "a.test,127.0.0.1",
            "/socket",
            "@socket",
            "user@127.0.0.1",
            "[::1]",
            "fe80::1%lo",
            "127.0.0.1/x",
            "",
        ),
        *("a.test hostaddr=127.0.0.1", "localhost\n", "127。0。0。1", "a.test\x00"),
    ],
)
def test_what_libpq_would_read_otherwise_than_as_one_name_is_no_host(host: str) -> None:
    with pytest.raises(ValidationError, match="host"):
        elsewhere(5432, host=host)


def test_a_server_that_goes_away_in_the_middle_is_tried_again(events: SourceDatabase) -> None:
    events.add_events(*((n, "a", "s", at(0), at(n)) for n in range(20_001)))
    steps = postgres.read(config(events, STREAM), ALWAYS, None, reached(events))
    assert isinstance(next(steps), Page)
    events.owner.execute(
        "select pg_terminate_backend(pid) from pg_stat_activity where usename = %s and application_name = 'casetrail'",
        (events.user,),
    )
    with pytest.raises(TransientError, match="gave up"):
        list(steps)
