"""casetrail: a filtered analysis, as it is asked of a release: its cases and variants are there, its events are read.

The release is made before the clock. `CASETRAIL_BENCH_RELEASE=inside` makes it inside: the log is all that there is.
"""

import os
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

import duckdb

from benchmarks.contenders.clock import LOG, clock, report
from benchmarks.contenders.process_build import ONE_EVENT, PROCESS_MAP, VARIANTS, preparation
from benchmarks.contenders.question import ACTIVITY, LEAST_SECONDS
from orchestration.mining.dbt_build import build_process_models
from orchestration.mining.filters import select_cases
from orchestration.mining.filters.model import ActivitiesFilter, CycleTimeFilter

QUESTION = (
    ActivitiesFilter(kind="activities", mode="with", activities=(ACTIVITY,)),
    CycleTimeFilter(kind="cycle_time", min_seconds=LEAST_SECONDS),
)
EVENTS = f"""select global_case_id, "timestamp", tie_order, activity from read_parquet('{LOG}')"""
RELEASED = {
    "log_cases": (
        "select global_case_id, start_ts, end_ts, cycle_time_us, event_count, variant_hash, state from main.cases"
    ),
    "log_variants": "select distinct variant_hash, activities from main.variants",
}


def release(folder: Path) -> None:
    """Write the cases and variants of the whole log."""
    with build_process_models(preparation(EVENTS)) as build:
        for name, query in RELEASED.items():
            build.connection.execute(
                f"copy ({query}) to '{folder / name}.parquet' (format parquet, compression zstd)"
            )


def asked_of(folder: Path) -> Callable[[duckdb.DuckDBPyConnection], None]:
    """Provide the events of the selected cases."""
    provide = preparation(f"{EVENTS} semi join selected using (global_case_id)")

    def prepare(connection: duckdb.DuckDBPyConnection) -> None:
        for name in RELEASED:
            connection.execute(f"create view {name} as select * from read_parquet('{folder / name}.parquet')")
        query = select_cases(QUESTION)
        connection.execute(f"create table selected as {query.sql}", query.parameters)
        provide(connection)

    return prepare


with build_process_models(preparation(ONE_EVENT)):
    pass
is_inside = os.environ.get("CASETRAIL_BENCH_RELEASE") == "inside"
with TemporaryDirectory() as scratch, ExitStack() as building:
    folder = Path(scratch)
    if not is_inside:
        release(folder)
    with clock():
        if is_inside:
            release(folder)
        build = building.enter_context(build_process_models(asked_of(folder)))
    report(
        build.connection.execute(VARIANTS).to_arrow_table(),
        build.connection.execute(PROCESS_MAP).to_arrow_table(),
        cases=build.connection.execute("select count(*) from main.cases").fetchall()[0][0],
    )
