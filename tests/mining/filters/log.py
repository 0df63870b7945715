"""A list of cases as the three relations that filters are asked of."""

import json
from collections.abc import Sequence

import duckdb
import pyarrow as pa

from tests.mining.filters.reference import Case, variant_hash

COLUMNS = ("resource_id", "role", "org_unit", "system")


def load(connection: duckdb.DuckDBPyConnection, cases: Sequence[Case]) -> None:
    """``log_cases``, ``log_variants`` and ``log_events``, each shuffled against the order of the cases."""
    events = pa.table(
        {
            "global_case_id": pa.array([case.id for case in cases for _ in case.events], pa.string()),
            "timestamp": pa.array([e.time for case in cases for e in case.events], pa.timestamp("us")),
            # A rank within the whole case is one among equal times too.
            "tie_order": pa.array([place for case in cases for place in range(len(case.events))], pa.int32()),
            "activity": pa.array([e.activity for case in cases for e in case.events], pa.string()),
            **{
                name: pa.array([e.columns.get(name) for case in cases for e in case.events], pa.string())
                for name in COLUMNS
            },
            "attributes": pa.array(
                [json.dumps(dict(e.attributes)) for case in cases for e in case.events], pa.string()
            ),
        }
    )
    rows = pa.table(
        {
            "global_case_id": pa.array([case.id for case in cases], pa.string()),
            "start_ts": pa.array([case.events[0].time for case in cases], pa.timestamp("us")),
            "end_ts": pa.array([case.events[-1].time for case in cases], pa.timestamp("us")),
            "cycle_time_us": pa.array([case.cycle_us for case in cases], pa.int64()),
            "event_count": pa.array([len(case.events) for case in cases], pa.int64()),
            "variant_hash": pa.array([variant_hash(case.path) for case in cases], pa.string()),
            "state": pa.array([case.state for case in cases], pa.string()),
        }
    )
    paths = sorted({case.path for case in cases})
    variants = pa.table(
        {
            "variant_hash": pa.array([variant_hash(path) for path in paths], pa.string()),
            "activities": pa.array([list(path) for path in paths], pa.list_(pa.string())),
        }
    )
    for name, table in (("log_events", events), ("log_cases", rows), ("log_variants", variants)):
        connection.register("given", table)
        connection.execute(
            f"create or replace table {name} as select * from given order by md5(given::varchar)"
        )
        connection.unregister("given")
