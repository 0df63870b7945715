"""r4pm: it has no filters and no durations, so polars selects the cases, and r4pm counts variants and the process map.

What crosses from polars to r4pm are the events of the selected cases, in their order.
"""

import os

os.environ["POLARS_MAX_THREADS"] = "2"
os.environ["RAYON_NUM_THREADS"] = "2"

import polars as pl
import pyarrow as pa
import r4pm
from r4pm import bindings

from benchmarks.contenders.clock import LOG, clock, report
from benchmarks.contenders.question import ACTIVITY, LEAST_SECONDS

CASE, NAME, TIME = "case:concept:name", "concept:name", "time:timestamp"

with clock():
    events = (
        pl.scan_parquet(LOG)
        .select(
            pl.col("case_id").alias(CASE),
            pl.col("timestamp").alias(TIME),
            "tie_order",
            pl.col("activity").alias(NAME),
        )
        .sort(CASE, TIME, "tie_order")
        .drop("tie_order")
        .collect()
    )
    cases = (
        events.group_by(CASE)
        .agg(
            (pl.col(TIME).last() - pl.col(TIME).first()).dt.total_seconds().alias("seconds"),
            (pl.col(NAME) == ACTIVITY).any().alias("has_activity"),
        )
        .filter(pl.col("has_activity") & (pl.col("seconds") >= LEAST_SECONDS))
    )
    selected = events.join(cases.select(CASE), on=CASE, how="semi", maintain_order="left")
    log = r4pm.import_item_from_df(
        "EventLog", selected.with_columns(pl.col(TIME).dt.replace_time_zone("UTC"))
    )
    variants = bindings.get_variants(bindings.log_to_activity_projection(log))
    graph = bindings.discover_dfg(log)
edges = graph["directly_follows_relations"]
report(
    pa.table(
        {
            "activities": [variant["activities"] for variant in variants],
            "frequency": [variant["count"] for variant in variants],
            "mean_seconds": pa.nulls(len(variants), pa.float64()),
        }
    ),
    pa.table(
        {
            "source": [source for (source, _target), _count in edges],
            "target": [target for (_source, target), _count in edges],
            "frequency": [count for _edge, count in edges],
            "mean_seconds": pa.nulls(len(edges), pa.float64()),
        }
    ),
    cases=cases.height,
)
