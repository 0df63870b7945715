"""polars: one sort, the cases that pass, their events by a semi join, neighbours by shift."""

import os

os.environ["POLARS_MAX_THREADS"] = "2"

import polars as pl

from benchmarks.contenders.clock import LOG, clock, report
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
    process_map = (
        events.join(cases.select("global_case_id"), on="global_case_id", how="semi", maintain_order="left")
        .lazy()
        .select(
            pl.col("activity").alias("source"),
            pl.col("activity").shift(-1).alias("target"),
            (pl.col("timestamp").shift(-1) - pl.col("timestamp")).dt.total_microseconds().alias("elapsed_us"),
            (pl.col("global_case_id") == pl.col("global_case_id").shift(-1)).alias("same_case"),
        )
        .filter("same_case")
        .group_by("source", "target")
        .agg(pl.len().alias("frequency"), (pl.col("elapsed_us").mean() / 1e6).alias("mean_seconds"))
        .collect()
    )
report(
    variants.with_columns(pl.col("activities").cast(pl.List(pl.String))).to_arrow(),
    process_map.with_columns(pl.col("source", "target").cast(pl.String)).to_arrow(),
    cases=cases.height,
)
