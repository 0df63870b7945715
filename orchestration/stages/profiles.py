"""Profiles of home months: what the explanation of the whole analysis reads instead of all cases and events.

``samples`` holds the events of a month's completed cases with the smallest hashes, in the order of the hashes, in small
row groups: of a long history only the beginnings are read. ``waits`` holds the time between activities over all cases.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

import duckdb
import pyarrow as pa

from orchestration.control_plane.staging import StagedFile
from orchestration.mining.explain import (
    EXPLAIN_CONFIG,
    EXPLAIN_VERSION,
    ExplainConfig,
    MonthTotals,
    load_profiles,
    month_sample,
    month_totals,
    month_waits,
)
from orchestration.stages.tree import Draft
from orchestration.stages.workbench import Workbench, digest, timed

PROFILES = ("samples", "waits")

_ROW_GROUP_ROWS = 4_096


def stale_profiles(cases: Mapping[str, StagedFile], samples: Mapping[str, StagedFile]) -> list[str]:
    """Home months whose profiles are not those of their cases."""
    return [
        m for m, file in cases.items() if m not in samples or samples[m].fingerprint != _fingerprint(file)
    ]


def stage_profiles(bench: Workbench, connection: duckdb.DuckDBPyConnection, homes: Iterable[str]) -> None:
    """Make the profiles of home months, on a connection with an ``Explainer`` over them."""
    for home in homes:
        bench.tree.put(_profile(bench, connection, home))


def load_whole(bench: Workbench, connection: duckdb.DuckDBPyConnection) -> None:
    """Prepare a connection for an ``Explainer`` from the profiles of all home months."""
    samples, waits = (bench.tree.files(name) for name in PROFILES)
    sampled = ", ".join(f"'{bench.tree.url(file)}'" for file in samples.values())
    waited = " union all ".join(
        f"select *, '{month}' as home_month from read_parquet('{bench.tree.url(file)}')"
        for month, file in waits.items()
    )
    totals = {
        month: MonthTotals(
            **{name: int(file.stats[name]) for name in ("completed", "open_cases", "cycle_us", "keys")}
        )
        for month, file in samples.items()
    }
    bench.measure_durations(connection, bench.event_months())
    load_profiles(connection, f"read_parquet([{sampled}])", f"({waited})", totals, ExplainConfig())


def _profile(bench: Workbench, connection: duckdb.DuckDBPyConnection, home: str) -> Sequence[Draft]:
    cases, index = bench.tree.files("cases")[home], bench.tree.files("case_index")[home]
    events = bench.tree.files("events")
    urls = ", ".join(f"'{bench.tree.url(events[entry['month']])}'" for entry in index.inputs)
    inputs: list[dict[str, Any]] = [
        {"dataset": "cases", "month": home, "content_sha256": cases.content_sha256},
        *(
            {"dataset": "events", "month": m, "content_sha256": events[m].content_sha256}
            for m in (entry["month"] for entry in index.inputs)
        ),
    ]

    def draft(dataset: str, table: pa.Table, seconds: float) -> Draft:
        return bench.draft(
            dataset,
            home,
            table.to_reader(),
            rows=table.num_rows,
            fingerprint=_fingerprint(cases),
            code_version=EXPLAIN_VERSION,
            inputs=inputs,
            seconds=seconds,
            row_group_rows=_ROW_GROUP_ROWS,
        )

    with timed() as spent:
        sample = month_sample(connection, home, f"read_parquet([{urls}])", ExplainConfig())
        waits, totals = month_waits(connection, home), month_totals(connection, home)
        seconds = spent()
    return [replace(draft("samples", sample, seconds), stats=asdict(totals)), draft("waits", waits, 0.0)]


def _fingerprint(cases: StagedFile) -> str:
    return digest([EXPLAIN_CONFIG, cases.fingerprint, cases.content_sha256])
