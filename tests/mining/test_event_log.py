"""The log of an analysis: labels of several columns, and starts paired with completions."""

import json
from collections import defaultdict, deque
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import duckdb
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestration.mining.event_log import log_sql

FIRST = datetime(2024, 1, 1)
Row = dict[str, Any]

moves = st.sampled_from(["start", "complete", "COMPLETE", None, "suspend"])
events = st.tuples(
    st.integers(0, 4),
    st.sampled_from("xy"),
    moves,
    st.sampled_from(["ab", "ab", "c"]),
    st.sampled_from([None, "1"]),
)
logs = st.lists(events, min_size=1, max_size=14)


def table(drawn: Sequence[tuple[int, str, str | None, str, str | None]]) -> pa.Table:
    rows = []
    for place, (hour, case, move, activity, instance) in enumerate(sorted(drawn, key=lambda row: row[0])):
        attributes = {} if instance is None else {"concept:instance": instance}
        rows.append(
            {
                "global_case_id": case,
                "timestamp": FIRST + timedelta(hours=hour),
                "tie_order": place,
                "activity": activity,
                "lifecycle": move,
                "role": "r/1",
                "resource_id": None,
                "start_timestamp": None,
                "attributes": json.dumps(attributes),
                "event_id": f"e{place}",
            }
        )
    schema = pa.schema(
        [
            ("global_case_id", pa.string()),
            ("timestamp", pa.timestamp("us")),
            ("tie_order", pa.int32()),
            *((name, pa.string()) for name in ("activity", "lifecycle", "role", "resource_id")),
            ("start_timestamp", pa.timestamp("us")),
            ("attributes", pa.string()),
            ("event_id", pa.string()),
        ]
    )
    return pa.Table.from_pylist(rows, schema=schema)


def asked(base: pa.Table, sql: str) -> list[Row]:
    with duckdb.connect() as connection:
        connection.register("base_events", base)
        return connection.execute(f"select * from ({sql}) order by event_id").to_arrow_table().to_pylist()


def paired(base: pa.Table) -> dict[str, datetime | None]:
    """The id of each event of the log, and when it started; a queue of open starts for each activity instance."""
    found: dict[str, datetime | None] = {}
    waiting: dict[tuple[str, str, str], deque[Row]] = defaultdict(deque)
    for row in base.to_pylist():
        move = (row["lifecycle"] or "complete").lower()
        instance = json.loads(row["attributes"]).get("concept:instance", "")
        queue = waiting[row["global_case_id"], row["activity"], instance]
        if move == "start":
            queue.append(row)
        elif move == "complete":
            found[row["event_id"]] = queue.popleft()["timestamp"] if queue else None
    for queue in waiting.values():
        found |= {row["event_id"]: row["timestamp"] for row in queue}
    return found


@given(logs)
@settings(max_examples=150, deadline=None)
def test_a_completion_ends_the_oldest_open_start(drawn: Any) -> None:
    base = table(drawn)
    rows = asked(base, log_sql(["activity"], "paired"))
    assert {row["event_id"]: row["start_timestamp"] for row in rows} == paired(base)
    assert len(rows) == len(paired(base))


@pytest.mark.parametrize("lifecycle", ["complete", "paired"])
@given(drawn=logs)
@settings(max_examples=30, deadline=None)
def test_ties_are_ranked_anew_in_the_old_order(drawn: Any, lifecycle: Any) -> None:
    base = table(drawn)
    before = {row["event_id"]: row["tie_order"] for row in base.to_pylist()}
    together = defaultdict(list)
    for row in asked(base, log_sql(["activity"], lifecycle)):
        together[row["global_case_id"], row["timestamp"]].append(row)
    for rows in together.values():
        rows.sort(key=lambda row: row["tie_order"])
        assert [row["tie_order"] for row in rows] == list(range(len(rows)))
        assert rows == sorted(rows, key=lambda row: before[row["event_id"]])


def test_only_completions_are_events_of_a_log_of_completions() -> None:
    base = table([(0, "x", "start", "ab", None), (1, "x", "complete", "ab", None), (2, "x", None, "c", None)])
    assert [row["event_id"] for row in asked(base, log_sql(["activity"], "complete"))] == ["e1", "e2"]


def test_a_label_of_several_columns_tells_every_combination_apart() -> None:
    base = table([(0, "x", "start", "ab", None)])
    (row,) = asked(base, log_sql(["activity", "role", "resource_id"], "all"))
    assert row["activity"] == r"ab / r\/1 / (missing)"
