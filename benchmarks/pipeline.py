"""The whole pipeline, from a CSV upload to the release: wall, CPU and peak memory of each stage.

    python -m benchmarks.pipeline [--cases 125000]

Starts its own PostgreSQL, S3 and Dagster in a temporary folder. The stages are first measured one by one in a process
of their own, without Dagster; then the same log goes through the daemon to a second workspace, and what is left when
the stages' own time is taken away is the share that is not data work. About 1 million events over 24 months.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from orchestration.demo.lead_to_cash import write_lead_to_cash

PROJECT = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class Measured:
    """One stage: seconds by the wall clock, CPU seconds of all threads, and the process' peak memory so far in MB."""

    stage: str
    wall: float
    cpu: float
    peak_mb: float


def measure_stages(slug: str) -> list[Measured]:
    """Run the stages of a workspace one after the other in this process."""
    from orchestration.settings import load_settings
    from orchestration.stages.case_index import stage_case_index
    from orchestration.stages.events import stage_events
    from orchestration.stages.explainability import stage_explanations
    from orchestration.stages.opening import open_workspace
    from orchestration.stages.process import stage_process
    from orchestration.stages.publish import release_workspace

    settings, measured = load_settings(), []

    @contextmanager
    def stage(name: str) -> Iterator[None]:
        wall, cpu = time.perf_counter(), time.process_time()
        yield
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        measured.append(Measured(name, time.perf_counter() - wall, time.process_time() - cpu, peak))

    with open_workspace(settings, slug, "benchmark") as opened:
        bench = opened.bench
        months = {part.month for part in bench.raw_parts}
        with stage("events"):
            stage_events(bench, months)
        with stage("case index"):
            stage_case_index(bench)
        homes = set(bench.tree.files("case_index"))
        with stage("cases, variants, process map"):
            stage_process(bench, homes)
        with stage("explainability"):
            stage_explanations(bench, homes)
        with stage("release"):
            release_workspace(settings, opened, months, "benchmark")
    return measured


def main() -> None:
    """Print one table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--cases", type=int, default=125_000)
    parser.add_argument("--stages-of", metavar="WORKSPACE", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.stages_of:
        json.dump([vars(m) for m in measure_stages(arguments.stages_of)], sys.stdout)
        return
    with tempfile.TemporaryDirectory(prefix="casetrail-benchmark-") as folder:
        # PostgreSQL runs as another user when we are root, and must be able to reach its folder.
        Path(folder).chmod(0o711)
        run_benchmark(Path(folder), arguments.cases)


def run_benchmark(folder: Path, cases: int) -> None:
    """Measure both ways and print the table."""
    log = folder / "log.csv"
    truth = write_lead_to_cash(log, cases=cases)
    print(f"{truth.events:,} events of {truth.cases:,} cases, {log.stat().st_size / 1e6:.0f} MB of CSV")
    casetrail = casetrail_command(folder / "home")
    casetrail("up", "--storage-only")
    try:
        casetrail("workspace", "create", "apart", "--owner", "bench@casetrail.local")
        upload = _measured("upload (read, land, store)", lambda: casetrail("upload", "apart", str(log)))
        stages = subprocess.run(
            [sys.executable, "-m", "benchmarks.pipeline", "--stages-of", "apart"],
            env=_environment(folder / "home"), cwd=PROJECT, check=True, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        rows = [upload, *(Measured(**row) for row in json.loads(stages.stdout))]
        print_table(rows)
        casetrail("up")
        casetrail("workspace", "create", "daemon", "--owner", "bench@casetrail.local")
        through = _measured("daemon", lambda: casetrail("upload", "daemon", str(log), "--wait"))
        data = sum(row.wall for row in rows)
        print(f"\nthrough the daemon, from the command to the release: {through.wall:.1f} s;")
        print(
            f"the stages alone take {data:.1f} s of it, the other {1 - data / through.wall:.0%} is not data work"
        )
    finally:
        casetrail("down")


def print_table(rows: list[Measured]) -> None:
    """One row per stage and a total."""
    print(f"\n{'stage':32}{'wall s':>9}{'CPU s':>9}{'peak MB':>9}")
    for row in rows:
        print(f"{row.stage:32}{row.wall:9.2f}{row.cpu:9.2f}{row.peak_mb:9.0f}")
    total = Measured(
        "total", sum(r.wall for r in rows), sum(r.cpu for r in rows), max(r.peak_mb for r in rows)
    )
    print(f"{total.stage:32}{total.wall:9.2f}{total.cpu:9.2f}{total.peak_mb:9.0f}")


def _environment(home: Path) -> dict[str, str]:
    return {**os.environ, "CASETRAIL_HOME": str(home)}


def casetrail_command(home: Path) -> Callable[..., None]:
    """Run the command of the installation at `home`; a failure raises."""
    program = str(Path(sys.executable).parent / "casetrail")

    def casetrail(*arguments: str) -> None:
        subprocess.run(
            [program, *arguments], env=_environment(home), cwd=PROJECT, check=True, stdout=subprocess.DEVNULL
        )

    return casetrail


def _measured(stage: str, work: Callable[[], None]) -> Measured:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    wall = time.perf_counter()
    work()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Measured(stage, time.perf_counter() - wall, cpu, after.ru_maxrss / 1024)


if __name__ == "__main__":
    main()
