"""casetrail: the whole dbt build with its data tests, on a Parquet file.

A build of one event goes before the clock, since dbt imports most of itself when it first runs.
`CASETRAIL_BENCH_PACKING=general` forces the 128-bit form on a log for which the 64-bit form fits.
"""

import os
from collections.abc import Callable
from contextlib import ExitStack

import duckdb

from benchmarks.contenders.clock import LOG, clock, report
from orchestration.mining.dbt_build import build_process_models
from orchestration.mining.packing import GENERAL

VARIANTS = """
select
    any_value(activities) as activities,
    sum(frequency)::bigint as frequency,
    sum(total_cycle_time_us) / sum(completed_count) / 1e6 as mean_seconds
from main.variants
group by variant_hash
"""

PROCESS_MAP = """
select
    source_activity as source,
    target_activity as target,
    sum(frequency)::bigint as frequency,
    sum(total_us) / sum(frequency) / 1e6 as mean_seconds
from main.process_map
group by all
"""


ONE_EVENT = """
select uuid() as global_case_id, timestamp '2024-01-01' as "timestamp", 0 as tie_order, 'a' as activity
"""


def preparation(events: str) -> Callable[[duckdb.DuckDBPyConnection], None]:
    """Provide events and parameters, as a stage of the pipeline does."""

    def prepare(connection: duckdb.DuckDBPyConnection) -> None:
        connection.execute("create schema input")
        connection.execute(f"create view input.events as {events}")
        connection.execute(
            "create table input.parameters as select uuid() as workspace_id, uuid() as analysis_id, "
            "'bench' as workspace_slug, []::varchar[] as end_activities, null::bigint as silence_us, "
            "timestamp '2025-01-01' as as_of, null::timestamp as left_edge, null::varchar[] as happy_path"
        )

    return prepare


with build_process_models(preparation(ONE_EVENT)):
    pass
packing = GENERAL if os.environ.get("CASETRAIL_BENCH_PACKING") == "general" else None
log = f"""select global_case_id, "timestamp", tie_order, activity from read_parquet('{LOG}')"""
with ExitStack() as building:
    with clock():
        build = building.enter_context(build_process_models(preparation(log), packing=packing))
    report(
        build.connection.execute(VARIANTS).to_arrow_table(),
        build.connection.execute(PROCESS_MAP).to_arrow_table(),
        cases=build.connection.execute("select count(*) from main.cases").fetchall()[0][0],
    )
