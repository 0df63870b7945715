"""pm4py: its own filters of cases, then the same statistics as `pm4py_statistics`."""

import pandas as pd
import pm4py
import pyarrow as pa
from pm4py.algo.discovery.dfg.adapters.pandas.df_statistics import get_dfg_graph
from pm4py.statistics.traces.generic.pandas.case_statistics import get_variants_df_with_case_duration

from benchmarks.contenders.clock import LOG, clock
from benchmarks.contenders.pm4py_report import report_statistics
from benchmarks.contenders.question import ACTIVITY, LEAST_SECONDS

with clock():
    events = pm4py.format_dataframe(
        pd.read_parquet(LOG, columns=["case_id", "activity", "timestamp"]),
        case_id="case_id",
        activity_key="activity",
        timestamp_key="timestamp",
    )
    events = pm4py.filter_event_attribute_values(events, "concept:name", [ACTIVITY], level="case")
    events = pm4py.filter_case_performance(events, LEAST_SECONDS, float("inf"))
    cases = get_variants_df_with_case_duration(events)
    # pandas cannot group by the list column that it made of pm4py's tuples.
    labels = [tuple(path) for path in pa.array(cases["variant"]).to_pylist()]
    paths = pd.DataFrame(
        {"variant": pd.Series(labels, index=cases.index, dtype=object), "seconds": cases["caseDuration"]}
    )
    variants = paths.groupby("variant")["seconds"].agg(["size", "mean"])
    frequencies, durations = get_dfg_graph(
        events, measure="both", sort_caseid_required=False, sort_timestamp_along_case_id=False
    )
report_statistics(variants, frequencies, durations, len(cases))
