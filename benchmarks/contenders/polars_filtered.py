"""polars: one sort, the cases that pass, their events by a semi join, neighbours by shift."""

import os

os.environ["POLARS_MAX_THREADS"] = "2"

import polars as pl

from benchmarks.contenders.clock import LOG, clock, report
from benchmarks.contenders.polars_map import process_map
from benchmarks.contenders.question import ACTIVITY, LEAST_SECONDS

with clock():
    events = (
        pl.scan_parquet(LOG)
        .select("global_case_id", "timestamp", "tie_order", pl.col("activity").cast(pl.Categorical))
        .sort("global_case_id", "timestamp", "tie_order")
        .collect()
    )
    cases = (
        events.group_by("global_case_id", maintain_order=True)
        .agg(
            (pl.col("timestamp").last() - pl.col("timestamp").first())
            .dt.total_microseconds()
            .alias("cycle_us"),
            (pl.col("activity") == ACTIVITY).any().alias("has_activity"),
            pl.col("activity").alias("activities"),
        )
        .filter(pl.col("has_activity") & (pl.col("cycle_us") >= LEAST_SECONDS * 1_000_000))
    )
    variants = cases.group_by("activities").agg(
        pl.len().alias("frequency"), (pl.col("cycle_us").mean() / 1e6).alias("mean_seconds")
    )
    kept = events.join(cases.select("global_case_id"), on="global_case_id", how="semi", maintain_order="left")
    edges = process_map(kept)
report(
    variants.with_columns(pl.col("activities").cast(pl.List(pl.String))).to_arrow(),
    edges.with_columns(pl.col("source", "target").cast(pl.String)).to_arrow(),
    cases=cases.height,
)
