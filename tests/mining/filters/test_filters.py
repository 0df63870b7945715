"""Filters select exactly the cases that plain Python over the events selects."""

import random
import re
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any

import duckdb
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from orchestration.mining.filters import Filters, mentions, select_cases
from tests.mining.filters.log import COLUMNS, load
from tests.mining.filters.reference import Case, Event, select

FILTERS: TypeAdapter[Any] = TypeAdapter(Filters)
FIRST = datetime(2024, 1, 1)
LABELS = ["a", "b", "c", "a,b", "", "d'; drop table log_cases; --"]
TEXTS = ["x", "y", "", "10", "-2.5", "1e3", "nan", " 7", "0x10"]
NAMES = ["region", "a/b", "til~de", 'quo"te', "$.x"]

labels = st.sampled_from(LABELS)
values = st.sampled_from(TEXTS)
hours = st.integers(0, 40)
events = st.builds(
    lambda hour, label, columns, attributes: Event(FIRST + timedelta(hours=hour), label, columns, attributes),
    hours,
    labels,
    st.dictionaries(st.sampled_from(COLUMNS), st.none() | values, max_size=3),
    st.dictionaries(st.sampled_from(NAMES), st.none() | values, max_size=3),
)
logs = st.lists(
    st.tuples(st.lists(events, min_size=1, max_size=6), st.sampled_from(["completed", "open", "left_cut"])),
    min_size=1,
    max_size=12,
).map(
    lambda drawn: [
        Case(f"case-{number}", tuple(sorted(listed, key=lambda event: event.time)), state)
        for number, (listed, state) in enumerate(drawn)
    ]
)


def some(source: st.SearchStrategy[str]) -> st.SearchStrategy[list[str]]:
    return st.lists(source, min_size=1, max_size=3)


def moment(hour: int) -> str:
    # With another zone than UTC, in which the same moment must be meant.
    return (FIRST + timedelta(hours=hour + 2)).isoformat() + "+02:00"


def ordered(source: st.SearchStrategy[Any]) -> st.SearchStrategy[tuple[Any, Any]]:
    return st.tuples(source, source).filter(lambda pair: pair[0] < pair[1])


def bounds(low: str, high: str, source: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    """Either bound, or both."""
    both = ordered(source).map(lambda pair: {low: pair[0], high: pair[1]})
    return both | source.map(lambda value: {low: value}) | source.map(lambda value: {high: value})


leaves: st.SearchStrategy[dict[str, Any]] = st.one_of(
    st.builds(
        lambda mode, pair: {"kind": "time", "mode": mode, **pair},
        st.sampled_from(["contained", "intersecting", "started", "ended"]),
        bounds("from", "to", hours).map(lambda pair: {name: moment(hour) for name, hour in pair.items()}),
    ),
    st.builds(
        lambda mode, names: {"kind": "activities", "activities": names, **mode},
        st.sampled_from([{"mode": "with"}, {"mode": "with", "match": "all"}, {"mode": "without"}]),
        some(labels),
    ),
    st.builds(
        lambda mode, source, target: {"kind": "follows", "mode": mode, "from": source, "to": target},
        st.sampled_from(["eventually", "directly"]),
        some(labels),
        some(labels),
    ),
    some(labels).map(lambda names: {"kind": "start_activity", "activities": names}),
    some(labels).map(lambda names: {"kind": "end_activity", "activities": names}),
    st.builds(
        lambda level, name, condition: {"kind": "attribute", "level": level, "name": name, **condition},
        st.sampled_from(["case", "event"]),
        st.sampled_from(NAMES),
        some(values).map(lambda listed: {"in": listed})
        | st.booleans().map(lambda null: {"null": null})
        | bounds("min", "max", st.sampled_from([-3, 0, 9.5, 10, 2000])),
    ),
    st.builds(
        lambda column, listed: {"kind": "resource", "column": column, "in": listed},
        st.sampled_from(COLUMNS),
        some(values),
    ),
    st.integers(1, 4).map(lambda top: {"kind": "variants", "top": top}),
    st.sampled_from([0.1, 0.5, 0.8, 1.0]).map(lambda share: {"kind": "variants", "coverage": share}),
    bounds("min_seconds", "max_seconds", hours.map(lambda hour: hour * 3600)).map(
        lambda pair: {"kind": "cycle_time", **pair}
    ),
    bounds("min", "max", st.integers(0, 6)).map(lambda pair: {"kind": "case_size", **pair}),
    some(st.sampled_from(["completed", "open", "left_cut"])).map(lambda s: {"kind": "state", "in": s}),
)
trees = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.builds(
            lambda kind, of: {"kind": kind, "of": of},
            st.sampled_from(["all", "any"]),
            st.lists(inner, min_size=1, max_size=3),
        ),
        inner.map(lambda of: {"kind": "not", "of": of}),
    ),
    max_leaves=5,
)


@pytest.fixture(scope="module")
def connection() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as opened:
        yield opened


def selected(connection: duckdb.DuckDBPyConnection, specs: Sequence[dict[str, Any]]) -> list[str]:
    query = select_cases(FILTERS.validate_python(specs))
    return [row[0] for row in connection.execute(query.sql, query.parameters).fetchall()]


@given(logs, st.lists(trees, max_size=3))
@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
def test_any_filters_select_what_plain_python_selects(
    connection: duckdb.DuckDBPyConnection, log: list[Case], specs: list[dict[str, Any]]
) -> None:
    load(connection, log)
    found = selected(connection, specs)
    assert len(found) == len(set(found))
    assert set(found) == select(log, specs)


def dense_log(seed: int) -> list[Case]:
    """60 cases over the same few hours, names and values, so that every bound has cases on either side and on it."""
    draw = random.Random(seed)

    def chosen(names: Sequence[str], source: Sequence[str]) -> dict[str, str | None]:
        return {name: draw.choice([None, *source]) for name in names if draw.random() < 0.7}

    def event() -> Event:
        time = FIRST + timedelta(hours=draw.randrange(41))
        return Event(time, draw.choice(LABELS), chosen(COLUMNS, TEXTS), chosen(NAMES, TEXTS))

    return [
        Case(
            f"case-{number}",
            tuple(sorted((event() for _ in range(draw.choice([1, 2, 2, 3, 5]))), key=lambda e: e.time)),
            draw.choice(["completed", "open", "left_cut"]),
        )
        for number in range(60)
    ]


@given(st.integers(0, 9), st.lists(leaves, min_size=20, max_size=20))
@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
def test_each_filter_selects_from_a_dense_log_what_plain_python_selects(
    connection: duckdb.DuckDBPyConnection, seed: int, specs: list[dict[str, Any]]
) -> None:
    log = dense_log(seed)
    load(connection, log)
    for spec in specs:
        assert set(selected(connection, [spec])) == select(log, [spec]), spec


@given(logs, leaves)
@settings(max_examples=50, deadline=None, suppress_health_check=list(HealthCheck))
def test_a_filter_and_its_negation_share_out_the_cases(
    connection: duckdb.DuckDBPyConnection, log: list[Case], leaf: dict[str, Any]
) -> None:
    load(connection, log)
    holds, fails = selected(connection, [leaf]), selected(connection, [{"kind": "not", "of": leaf}])
    assert sorted(holds + fails) == sorted(case.id for case in log)


def test_values_are_bound_and_never_part_of_the_sql() -> None:
    evil = "'); drop table log_cases; --"
    query = select_cases(
        FILTERS.validate_python(
            [
                {"kind": "activities", "mode": "with", "activities": evil},
                {"kind": "attribute", "name": evil, "in": [evil]},
                {"kind": "attribute", "name": evil, "min": 1},
                {"kind": "resource", "column": "role", "in": [evil]},
                {"kind": "follows", "mode": "directly", "from": evil, "to": evil},
            ]
        )
    )
    assert evil not in query.sql


@pytest.mark.parametrize(
    ("spec", "told"),
    [
        ({"kind": "tim", "mode": "started"}, "'time', 'activities'"),
        ({"kind": "time", "mode": "begun", "from": "2025-01-01T00:00:00Z"}, "'contained'"),
        ({"kind": "time", "mode": "started"}, "give 'from', 'to' or both"),
        ({"kind": "time", "mode": "started", "from": "2025-01-01T00:00:00"}, "timezone"),
        ({"kind": "variants", "top": 3, "coverage": 0.5}, "either 'top' or 'coverage'"),
        ({"kind": "attribute", "name": "x", "in": ["a"], "null": True}, "one condition"),
        ({"kind": "case_size", "min": 5, "max": 3}, "the range is empty"),
        ({"kind": "all", "of": []}, "at least 1"),
        ({"kind": "state", "in": ["done"], "x": 1}, "Extra inputs"),
    ],
)
def test_a_filter_that_makes_no_sense_is_refused_with_what_would(spec: dict[str, Any], told: str) -> None:
    with pytest.raises(ValidationError, match=re.escape(told)):
        FILTERS.validate_python([spec])


def test_what_filters_name_is_told_with_its_place() -> None:
    filters = FILTERS.validate_python(
        [
            {"kind": "not", "of": {"kind": "any", "of": [{"kind": "start_activity", "activities": "pay"}]}},
            {"kind": "follows", "mode": "directly", "from": "a", "to": ["b"]},
            {"kind": "attribute", "name": "region", "null": True},
            {"kind": "resource", "column": "role", "in": ["clerk", "boss"]},
        ]
    )
    assert [(m.path, m.sort, m.name) for m in mentions(filters)] == [
        ("filters[0].of.of[0].activities", "activity", "pay"),
        ("filters[1].from", "activity", "a"),
        ("filters[1].to", "activity", "b"),
        ("filters[2].name", "attribute", "region"),
        ("filters[3].in", "role", "clerk"),
        ("filters[3].in", "role", "boss"),
    ]
