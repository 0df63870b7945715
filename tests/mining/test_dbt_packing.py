from collections.abc import Iterator

import duckdb
import pytest

from orchestration.mining.packing import GENERAL, Packing, UnusableEvents, describe_events

SECOND = 1_000_000


@pytest.fixture
def connection() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as connection:
        connection.execute("create schema input")
        connection.execute(
            "create table input.events "
            '(global_case_id uuid, "timestamp" timestamp, tie_order integer, activity varchar)'
        )
        yield connection


def add(connection: duckdb.DuckDBPyConnection, *events: tuple[int | None, int | None, str | None]) -> None:
    for time_us, tie_order, activity in events:
        connection.execute(
            "insert into input.events values (uuid(), make_timestamp(?::bigint), ?, ?)",
            [time_us, tie_order, activity],
        )


def test_the_origin_is_the_first_event(connection: duckdb.DuckDBPyConnection) -> None:
    add(connection, (5 * SECOND, 0, "a"), (9 * SECOND, 3, "b"), (7 * SECOND, 0, "c"))
    assert describe_events(connection) == Packing(
        wide=False, origin_us=5 * SECOND, unit_us=1, tie_bits=2, code_bits=2
    )


@pytest.mark.parametrize(("part_of_a_second", "unit_us"), [(0, SECOND), (1, 1)])
def test_times_far_apart_are_packed_as_seconds_where_they_are_whole(
    connection: duckdb.DuckDBPyConnection, part_of_a_second: int, unit_us: int
) -> None:
    # 53 bits of microseconds and 11 of tie_order are one too many.
    add(connection, (0, 0, "a"), (2**33 * SECOND, 2**11 - 1, "a"), (SECOND + part_of_a_second, 0, "a"))
    packing = describe_events(connection)
    assert (packing.unit_us, packing.wide) == (unit_us, unit_us == 1)


def test_codes_follow_the_labels(connection: duckdb.DuckDBPyConnection) -> None:
    add(connection, (0, 0, "b"), (0, 0, "Z"), (0, 0, "é"), (0, 0, "b"))
    describe_events(connection)
    codes = connection.execute("select activity, code from input.activities order by code").fetchall()
    assert codes == [("Z", 0), ("b", 1), ("é", 2)]


@pytest.mark.parametrize(("span_bits", "wide"), [(61, False), (62, True)])
def test_an_event_is_widened_when_it_takes_more_than_63_bits(
    connection: duckdb.DuckDBPyConnection, span_bits: int, wide: bool
) -> None:
    # Two activities and tie_orders 0 and 1 take one bit each.
    first = -(2**61)
    add(connection, (first, 0, "a"), (first + 2**span_bits - 1, 1, "b"))
    assert describe_events(connection).wide is wide


def test_no_events_need_no_packing(connection: duckdb.DuckDBPyConnection) -> None:
    assert describe_events(connection) == GENERAL


@pytest.mark.parametrize(
    ("event", "reason"),
    [
        ((None, 0, "a"), "1 events lack"),
        ((0, None, "a"), "1 events lack"),
        ((0, 0, None), "1 events lack"),
        ((None, None, None), "at least 1 events lack"),
        ((0, -1, "a"), "tie_order must be 0 or more"),
    ],
)
def test_events_outside_the_contract_are_refused(
    connection: duckdb.DuckDBPyConnection, event: tuple[int | None, int | None, str | None], reason: str
) -> None:
    add(connection, (0, 0, "a"), event)
    with pytest.raises(UnusableEvents, match=reason):
        describe_events(connection)


def test_more_activities_than_codes_are_refused(connection: duckdb.DuckDBPyConnection) -> None:
    connection.execute(
        "insert into input.events select uuid(), make_timestamp(0), 0, 'a' || i from range(65537) as r(i)"
    )
    with pytest.raises(UnusableEvents, match="65537 activities"):
        describe_events(connection)
