"""polars: one sort of the events, activities as a categorical, neighbours by shift."""

import os

os.environ["POLARS_MAX_THREADS"] = "2"

import polars as pl

from benchmarks.contenders.clock import LOG, clock, report
from benchmarks.contenders.polars_map import process_map

with clock():
    events = (
        pl.scan_parquet(LOG)
        .select("global_case_id", "timestamp", "tie_order", pl.col("activity").cast(pl.Categorical))
        .sort("global_case_id", "timestamp", "tie_order")
        .collect()
    )
    cases = events.group_by("global_case_id", maintain_order=True).agg(
        pl.col("timestamp").first().alias("start_ts"),
        pl.col("timestamp").last().alias("end_ts"),
        pl.col("activity").alias("activities"),
    )
    variants = cases.group_by("activities").agg(
        pl.len().alias("frequency"),
        ((pl.col("end_ts") - pl.col("start_ts")).dt.total_microseconds().mean() / 1e6).alias("mean_seconds"),
    )
    edges = process_map(events)
report(
    variants.with_columns(pl.col("activities").cast(pl.List(pl.String))).to_arrow(),
    edges.with_columns(pl.col("source", "target").cast(pl.String)).to_arrow(),
    cases=cases.height,
)
