"""pm4py's statistics as every contender reports them."""

from collections.abc import Mapping

import pandas as pd
import pyarrow as pa

from benchmarks.contenders.clock import report

Edges = Mapping[tuple[str, str], float]


def report_statistics(variants: pd.DataFrame, frequencies: Edges, durations: Edges, cases: int) -> None:
    """Report variants (index: tuples of labels; size, mean in seconds) and the edges of the process map."""
    report(
        pa.table(
            {
                "activities": [list(variant) for variant in variants.index],
                "frequency": variants["size"].to_numpy(),
                "mean_seconds": variants["mean"].to_numpy(),
            }
        ),
        pa.table(
            {
                "source": [source for source, _ in frequencies],
                "target": [target for _, target in frequencies],
                "frequency": list(frequencies.values()),
                "mean_seconds": [durations[edge] for edge in frequencies],
            }
        ),
        cases=cases,
    )
