"""casetrail: the whole dbt build with its data tests, on a Parquet file.

A build of one event goes before the clock, since dbt imports most of itself when it first runs.
`CASETRAIL_BENCH_PACKING=general` forces the 128-bit form on a log for which the 64-bit form fits.
"""

import os
import time
from contextlib import ExitStack
from unittest.mock import patch

import pyarrow as pa

from benchmarks.contenders.clock import LOG, clock, report
from benchmarks.contenders.process_build import ONE_EVENT, PROCESS_MAP, VARIANTS, preparation
from orchestration.mining import conformance
from orchestration.mining.dbt_build import build_process_models
from orchestration.mining.packing import GENERAL

spent: list[float] = []
align = conformance._align_columns


def timed(happy_paths: pa.ChunkedArray, paths: pa.ChunkedArray) -> pa.Array:
    """Align, and note the CPU seconds that it takes."""
    began = time.thread_time()
    aligned = align(happy_paths, paths)
    spent.append(time.thread_time() - began)
    return aligned


with build_process_models(preparation(ONE_EVENT)):
    pass
packing = GENERAL if os.environ.get("CASETRAIL_BENCH_PACKING") == "general" else None
log = f"""select global_case_id, "timestamp", tie_order, activity from read_parquet('{LOG}')"""
with ExitStack() as building:
    building.enter_context(patch.object(conformance, "_align_columns", timed))
    with clock() as figures:
        build = building.enter_context(build_process_models(preparation(log), packing=packing))
        figures["conformance_seconds"] = sum(spent)
    report(
        build.connection.execute(VARIANTS).to_arrow_table(),
        build.connection.execute(PROCESS_MAP).to_arrow_table(),
        cases=build.connection.execute("select count(*) from main.cases").fetchall()[0][0],
    )
