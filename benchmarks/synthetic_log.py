"""Seeded synthetic event logs for the benchmarks, written once as Parquet and reused.

Holds the generator only; what is measured on the logs is in `process_models.py`.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

ACTIVITIES = 40
FIRST_START = np.datetime64("2022-01-01T00:00:00", "s")
START_WINDOW_SECONDS = 24 * 30 * 86_400
GENERATOR_VERSION = 2

Int = npt.NDArray[np.int64]
Layout = Literal["time", "stored"]


def write_log(folder: Path, *, events: int, microseconds: bool, layout: Layout, seed: int = 7) -> Path:
    """Write a log of `events` events, unless it is in `folder` already, and return its path.

    Columns: global_case_id (UUID), case_id (text, the same case for tools that want text), timestamp
    (UTC microseconds; whole seconds unless `microseconds`), tie_order, activity, and three attributes
    that no tool needs to read. Rows lie as `layout` says: `time`, in order of (timestamp, case, tie_order),
    as a log that was collected over time; `stored`, by month and in a month by (case, timestamp, tie_order),
    as casetrail stores events.
    """
    grain = "us" if microseconds else "s"
    path = folder / f"log-v{GENERATOR_VERSION}-{events}-{grain}-{layout}-{seed}.parquet"
    if path.exists():
        return path
    folder.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    table = _log(np.random.default_rng(seed), events, microseconds, layout)
    pq.write_table(table, partial, compression="zstd", row_group_size=122_880)
    os.replace(partial, path)
    return path


def _log(rng: np.random.Generator, events: int, microseconds: bool, layout: Layout) -> pa.Table:
    case, position, activity = _traces(rng, events)
    offset = _offsets(rng, case, position, microseconds)
    tie = _tie_order(case, position, offset)
    if layout == "time":
        order = np.lexsort((tie, case, offset))
    else:
        month = (FIRST_START + (offset // 1_000_000).astype("timedelta64[s]")).astype("datetime64[M]")
        order = np.lexsort((tie, offset, case, month))
    case, activity, offset, tie = case[order], activity[order], offset[order], tie[order]
    epoch_us = FIRST_START.astype("datetime64[us]").astype(np.int64)
    names = pa.array([f"Activity {code:02d} of the process" for code in range(ACTIVITIES)])
    return pa.table(
        {
            "global_case_id": _uuids(rng, case),
            "case_id": pa.array(np.char.add("C", case.astype("U8"))),
            "timestamp": pa.array(epoch_us + offset).cast(pa.timestamp("us")),
            "tie_order": pa.array(tie.astype(np.int32)),
            "activity": names.take(pa.array(activity)),
            "resource": pa.array(rng.integers(0, 300, len(case), dtype=np.int16)),
            "amount": pa.array(rng.random(len(case), dtype=np.float32)),
            "channel": pa.array(np.array(["web", "phone", "partner"])[rng.integers(0, 3, len(case))]),
        }
    )


def _traces(rng: np.random.Generator, events: int) -> tuple[Int, Int, Int]:
    """Give (case, position, activity) per event; cases draw their path from a Zipf-weighted pool."""
    pool = max(16, events // 50)
    lengths = np.clip(rng.lognormal(2.65, 0.55, pool), 2, 200).astype(np.int64)
    ends = np.cumsum(lengths)
    successors = rng.integers(0, ACTIVITIES, (ACTIVITIES, 4))
    picks = rng.choice(4, ends[-1], p=[0.7, 0.15, 0.1, 0.05])
    labels = np.zeros(ends[-1], dtype=np.int64)
    starts = ends - lengths
    for step in range(1, int(lengths.max())):
        at = starts[lengths > step] + step
        labels[at] = successors[labels[at - 1], picks[at]]
    weights = 1.0 / np.arange(1, pool + 1)
    chosen = rng.choice(pool, events // 2, p=weights / weights.sum())
    # The last case is cut so that the log has the events that were asked for.
    chosen = chosen[: int(np.searchsorted(np.cumsum(lengths[chosen]), events)) + 1]
    case = np.repeat(np.arange(len(chosen)), lengths[chosen])[:events]
    first = np.cumsum(lengths[chosen]) - lengths[chosen]
    position = np.arange(events) - first[case]
    return case, position, labels[starts[chosen][case] + position]


def _offsets(rng: np.random.Generator, case: Int, position: Int, microseconds: bool) -> Int:
    """Give each event's time in microseconds after `FIRST_START`; about one gap in fifty is zero."""
    gaps = rng.exponential(30_000, len(case)) * (rng.random(len(case)) > 0.02)
    begin = rng.integers(0, START_WINDOW_SECONDS, int(case[-1]) + 1)
    gaps = np.where(position == 0, begin[case], gaps)
    us = (gaps * 1e6).astype(np.int64) if microseconds else gaps.astype(np.int64) * 1_000_000
    total = np.cumsum(us)
    before_case = (total - us)[position == 0]
    return np.asarray(total - before_case[case], dtype=np.int64)


def _tie_order(case: Int, position: Int, offset: Int) -> Int:
    """Rank the events of one case that share a timestamp, from 0 (rows are in trace order here)."""
    fresh = (position == 0) | (np.diff(offset, prepend=offset[0] - 1) != 0)
    rows = np.arange(len(case))
    return rows - np.maximum.accumulate(np.where(fresh, rows, 0))


def _uuids(rng: np.random.Generator, case: Int) -> pa.Array:
    identities = rng.integers(0, 256, (int(case.max()) + 1, 16), dtype=np.uint8)[case]
    storage = pa.FixedSizeBinaryArray.from_buffers(
        pa.binary(16), len(case), [None, pa.py_buffer(identities.tobytes())]
    )
    return pa.ExtensionArray.from_storage(pa.uuid(), storage)
