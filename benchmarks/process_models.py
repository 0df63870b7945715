"""Compares casetrail's process models with other ways to get cases, variants and the process map.

`python -m benchmarks.process_models --events 10000000 --peers` makes the logs and the peers' environment
once, outside the project (the system's temporary folder, or `CASETRAIL_BENCH_DIR`), runs every contender
in a process of its own in turns, checks that all agree, and prints a table for benchmarks/README.md.
What each contender does is in `contenders/`.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import venv
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import duckdb

from benchmarks.synthetic_log import write_log

HERE = Path(__file__).resolve().parent
MEAN_TOLERANCE = 1e-9
"""Relative: tools sum floating-point seconds in different orders."""


@dataclass(frozen=True)
class Contender:
    """One way to do the work.

    Attributes:
        name: As printed.
        module: In `contenders/`.
        log: `s` (whole seconds) or `us` (microseconds).
        environment: Variables that the module reads.
        is_peer: Whether it runs in the peers' environment.
        slow: Whether one run has to do.
    """

    name: str
    module: str
    log: str = "s"
    environment: tuple[tuple[str, str], ...] = ()
    is_peer: bool = False
    slow: bool = False


GENERAL = (("CASETRAIL_BENCH_PACKING", "general"),)
FASTEST = (("CASETRAIL_BENCH_PM4PY", "fastest"),)
CONTENDERS = (
    Contender("casetrail, packed", "casetrail_build"),
    Contender("casetrail, general", "casetrail_build", environment=GENERAL),
    Contender("casetrail, packed, microseconds", "casetrail_build", log="us"),
    Contender("casetrail, general, microseconds", "casetrail_build", log="us", environment=GENERAL),
    Contender("polars", "polars_sorted", is_peer=True),
    Contender("DuckDB, naive", "duckdb_naive", is_peer=True),
    Contender("pm4py", "pm4py_statistics", is_peer=True, slow=True),
    Contender("pm4py, fastest parts", "pm4py_statistics", environment=FASTEST, is_peer=True, slow=True),
)


@dataclass(frozen=True)
class Figures:
    """What one run took: seconds, seconds, megabytes; and of the CPU seconds those of conformance, where it is told."""

    cpu_seconds: float
    wall_seconds: float
    peak_mb: float
    conformance_seconds: float | None = None


def main() -> None:
    """Run the benchmark from the command line."""
    parser = argparse.ArgumentParser(description="Speed of the process models against other tools.")
    parser.add_argument("--events", type=int, default=10_000_000)
    parser.add_argument(
        "--layout", choices=["time", "stored"], default="time", help="order of the log's rows"
    )
    parser.add_argument("--runs", type=int, default=3, help="runs of each contender that is not slow")
    parser.add_argument("--peers", action="store_true", help="also run the other tools")
    parser.add_argument("--only", nargs="*", help="names of the contenders to run")
    options = parser.parse_args()
    folder = Path(os.environ.get("CASETRAIL_BENCH_DIR", Path(tempfile.gettempdir()) / "casetrail-bench"))
    contenders = [
        contender
        for contender in CONTENDERS
        if (options.peers or not contender.is_peer) and (not options.only or contender.name in options.only)
    ]
    logs = {
        grain: write_log(folder, events=options.events, microseconds=grain == "us", layout=options.layout)
        for grain in sorted({contender.log for contender in contenders})
    }
    peers = peers_python(folder) if options.peers else None
    sys.stdout.write(table(take_turns(contenders, options.runs, logs, peers, folder)))


def take_turns(
    contenders: Sequence[Contender], runs: int, logs: Mapping[str, Path], peers: Path | None, folder: Path
) -> dict[str, list[Figures]]:
    """Run the contenders one after the other, so many times; of the same log they must find the same.

    Args:
        contenders: Who runs; slow ones only once.
        runs: How many turns.
        logs: The log of each grain.
        peers: The Python of the peers' environment.
        folder: Where results are kept until the end.
    """
    found: dict[str, list[Figures]] = defaultdict(list)
    reference: dict[str, Path] = {}
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        for turn in range(runs):
            for contender in contenders:
                if turn > 0 and contender.slow:
                    continue
                result = Path(scratch) / f"{contender.name}-{turn}"
                result.mkdir()
                python = peers if contender.is_peer and peers else Path(sys.executable)
                found[contender.name].append(run(contender, python, logs[contender.log], result))
                check_equal(reference.setdefault(contender.log, result), result)
                sys.stderr.write(f"{contender.name}: {found[contender.name][-1]}\n")
    return found


def run(contender: Contender, python: Path, log: Path, result: Path) -> Figures:
    """Run a contender in a process of its own; what it found is in `result` afterwards."""
    subprocess.run(
        [python, "-m", f"benchmarks.contenders.{contender.module}", log, result],
        check=True,
        cwd=HERE.parent,
        stdout=subprocess.DEVNULL,
        env=os.environ | dict(contender.environment),
    )
    return Figures(**json.loads((result / "figures.json").read_text(encoding="utf-8")))


def check_equal(one: Path, other: Path) -> None:
    """Compare the results of two contenders: the same cases, variants and edges, and the same means.

    A contender that measures no durations has nulls for means.

    Raises:
        AssertionError: They differ, or there are no cases.
    """
    counts = [(folder / "cases.json").read_text(encoding="utf-8") for folder in (one, other)]
    if int(counts[0]) == 0:
        raise AssertionError(f"{one.name} has no cases: there is nothing to compare")
    if counts[0] != counts[1]:
        raise AssertionError(f"{one.name} has {counts[0]} cases, {other.name} {counts[1]}")
    for name, keys in {"variants": ["activities"], "process_map": ["source", "target"]}.items():
        differing = duckdb.execute(
            f"""
            select count(*)
            from read_parquet('{one / name}.parquet') as one
            full outer join read_parquet('{other / name}.parquet') as other using ({", ".join(keys)})
            where one.frequency is distinct from other.frequency
                or not coalesce(
                    abs(one.mean_seconds - other.mean_seconds) <= {MEAN_TOLERANCE} * (1 + one.mean_seconds),
                    not exists (from read_parquet('{other / name}.parquet') where mean_seconds is not null)
                )
            """
        ).fetchall()[0][0]
        if differing:
            raise AssertionError(f"{one.name} and {other.name} differ in {differing} rows of {name}")


def peers_python(folder: Path) -> Path:
    """Give the interpreter of the peers' environment, made on first use from peers.txt."""
    environment = folder / "peers"
    python = environment / "bin" / "python"
    complete, wanted = environment / "complete", (HERE / "peers.txt").read_text(encoding="utf-8")
    if not complete.exists() or complete.read_text(encoding="utf-8") != wanted:
        venv.create(environment, with_pip=True, clear=True)
        install = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*install, "-r", str(HERE / "peers.txt")], check=True)
        complete.write_text(wanted, encoding="utf-8")
    return python


def table(found: dict[str, list[Figures]]) -> str:
    """Format medians, and CPU and memory as multiples of the first contender's, CPU also of the second's, as Markdown.

    Where a contender tells its conformance, a line below has it.
    """
    medians = {
        name: Figures(
            cpu_seconds=statistics.median(figures.cpu_seconds for figures in runs),
            wall_seconds=statistics.median(figures.wall_seconds for figures in runs),
            peak_mb=max(figures.peak_mb for figures in runs),
            conformance_seconds=statistics.median(times)
            if (times := [f.conformance_seconds for f in runs if f.conformance_seconds is not None])
            else None,
        )
        for name, runs in found.items()
    }
    bases = list(medians)[:2]
    heads = ["contender", "runs", "CPU s", "wall s", "peak MB", *(f"CPU / {base}" for base in bases)]
    heads.append(f"memory / {bases[0]}")
    lines = [heads, ["---", *["---:"] * (len(heads) - 1)]]
    for name, figures in medians.items():
        ratios = [f"{figures.cpu_seconds / medians[base].cpu_seconds:.1f}" for base in bases]
        ratios.append(f"{figures.peak_mb / medians[bases[0]].peak_mb:.1f}")
        numbers = [f"{figures.cpu_seconds:.1f}", f"{figures.wall_seconds:.1f}", f"{figures.peak_mb:.0f}"]
        lines.append([name, str(len(found[name])), *numbers, *ratios])
    rows = "".join(f"| {' | '.join(line)} |\n" for line in lines)
    told = "".join(
        f"{name}: {figures.conformance_seconds:.2f} s of the CPU are conformance to the happy path.\n"
        for name, figures in medians.items()
        if figures.conformance_seconds is not None
    )
    return f"{rows}\n{told}" if told else rows


if __name__ == "__main__":
    main()
