"""The process map of sorted events in polars: neighbours by shift."""

import polars as pl


def process_map(events: pl.DataFrame) -> pl.DataFrame:
    """source, target, frequency, mean_seconds of events sorted by case and order."""
    return (
        events.lazy()
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
