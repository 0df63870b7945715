"""pm4py: its own case, variant and directly-follows statistics.

By default the function that pm4py has for variants with durations; with `CASETRAIL_BENCH_PM4PY=fastest`
the internal helper behind `pm4py.get_variants`, joined with durations by hand, which is its quickest way.

pm4py has no order column. The file's row order breaks its ties, which for this log is the right order. It
wants the case as text, and gets a column that is text already.
"""

import os

import pandas as pd
import pm4py
import pyarrow as pa
from pm4py.algo.discovery.dfg.adapters.pandas.df_statistics import get_dfg_graph
from pm4py.objects.log.util import pandas_numpy_variants
from pm4py.statistics.traces.generic.pandas.case_statistics import get_variants_df_with_case_duration

from benchmarks.contenders.clock import LOG, clock
from benchmarks.contenders.pm4py_report import report_statistics

CASE, TIME = "case:concept:name", "time:timestamp"


def variants_with_durations(events: pd.DataFrame) -> pd.DataFrame:
    """Give per case its variant (tuple of labels) and its duration in seconds."""
    if os.environ.get("CASETRAIL_BENCH_PM4PY") == "fastest":
        _, variant_of_case = pandas_numpy_variants.apply(events)
        ends = events.groupby(CASE)[TIME].agg(["first", "last"])
        seconds = (ends["last"] - ends["first"]).dt.total_seconds()
        labels = [variant_of_case[case] for case in seconds.index]
    else:
        found = get_variants_df_with_case_duration(events)
        # pandas cannot group by the list column that it made of pm4py's tuples.
        labels = [tuple(path) for path in pa.array(found["variant"]).to_pylist()]
        seconds = found["caseDuration"]
    variants = pd.Series(labels, index=seconds.index, dtype=object)
    return pd.DataFrame({"variant": variants, "seconds": seconds})


with clock():
    events = pm4py.format_dataframe(
        pd.read_parquet(LOG, columns=["case_id", "activity", "timestamp"]),
        case_id="case_id",
        activity_key="activity",
        timestamp_key="timestamp",
    )
    cases = variants_with_durations(events)
    variants = cases.groupby("variant")["seconds"].agg(["size", "mean"])
    frequencies, durations = get_dfg_graph(
        events,
        measure="both",
        sort_caseid_required=False,
        sort_timestamp_along_case_id=False,
    )
report_statistics(variants, frequencies, durations, len(cases))
