"""Times one contender in its own process and writes what it found, for the comparison.

A contender is a module, run with the arguments LOG FOLDER. Importing its tools is outside the clock, reading
the log is inside, and what it writes for the comparison is outside.
"""

import json
import resource
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

LOG = Path(sys.argv[1])
FOLDER = Path(sys.argv[2])


@contextmanager
def clock() -> Iterator[dict[str, float]]:
    """Measure the work inside, once: CPU and wall seconds, and the peak memory of the process so far.

    Yields further figures, for the contender to add to.
    """
    further: dict[str, float] = {}
    cpu, wall = _cpu_seconds(), time.perf_counter()
    yield further
    figures = {
        "cpu_seconds": _cpu_seconds() - cpu,
        "wall_seconds": time.perf_counter() - wall,
        "peak_mb": _peak_mb(),
        **further,
    }
    (FOLDER / "figures.json").write_text(json.dumps(figures), encoding="utf-8")


def report(variants: pa.Table, process_map: pa.Table, *, cases: int) -> None:
    """Write the results in the common form.

    Args:
        variants: activities (list of text), frequency, mean_seconds.
        process_map: source, target, frequency, mean_seconds.
        cases: How many cases the contender has a row for.
    """
    pq.write_table(variants, FOLDER / "variants.parquet")
    pq.write_table(process_map, FOLDER / "process_map.parquet")
    (FOLDER / "cases.json").write_text(json.dumps(cases), encoding="utf-8")


def _cpu_seconds() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def _peak_mb() -> float:
    """Peak resident memory since exec (Linux); `ru_maxrss` would count the parent before the fork."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    kib = next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM:"))
    return int(kib) * 1024 / 1e6
