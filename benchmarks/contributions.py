"""What the contributions of an explanation cost: `python -m benchmarks.contributions --cases 1000000`.

The log is that of the demo, with all cases in one month, so that they get their contributions in one go. It is written
in parts, and explained by a process of its own from Parquet files, with a limit on DuckDB's memory, as a stage does it.

The clock is of CPU time, and holds features, the model's contributions, and their hash and file; learning the model
is in the whole alone. Memory is the most that was resident in the process, before the contributions and while they were
made (Linux).
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import duckdb
import pyarrow as pa

from orchestration.demo.lead_to_cash import write_lead_to_cash
from orchestration.lake.content import write_parquet
from orchestration.mining.explain import Explainer

CASES_AT_ONCE = 50_000
"""So many cases of the log are made at a time, each part with random numbers of its own."""

EVENTS = """
copy (
    select
        md5('{part}' || case_id)::uuid as global_case_id, '{part}' || case_id as native_case_id, activity,
        timestamp::timestamp as timestamp,
        (row_number() over (partition by case_id, timestamp) - 1)::integer as tie_order,
        resource as resource_id, role, org_unit,
        json_object('region', region, 'priority', priority, 'channel', channel, 'amount', amount)::varchar
            as attributes
    from read_csv('{log}', all_varchar = true)
) to '{folder}/events-{part}.parquet'
"""

CASES = """
copy (
    select
        global_case_id, min(timestamp) as start_ts, max(timestamp) as end_ts, '2024-01' as home_month,
        epoch_us(max(timestamp)) - epoch_us(min(timestamp)) as cycle_time_us, 'completed' as state
    from '{folder}/events-{part}.parquet'
    group by global_case_id
) to '{folder}/cases-{part}.parquet'
"""


@dataclass(frozen=True)
class Cost:
    """CPU seconds and peak megabytes; ``cases`` is 0 if the model was refused."""

    cases: int
    cpu: float
    whole_cpu: float
    peak_mb_before: float
    peak_mb: float

    def told(self) -> str:
        """In words."""
        return (
            f"contributions of {self.cases:,} cases: {1e3 * self.cpu / self.cases:.3f} ms a case"
            f" ({self.cpu:.2f} s of {self.whole_cpu:.2f} s of CPU), at most {self.peak_mb:,.0f} MB resident"
            f" ({self.peak_mb_before:,.0f} MB before them)\n"
        )


def write_log(folder: Path, cases: int) -> None:
    """Parquet files of events and of cases."""
    for number, first in enumerate(range(0, cases, CASES_AT_ONCE)):
        log = folder / "log.csv"
        write_lead_to_cash(log, cases=min(CASES_AT_ONCE, cases - first), seed=7 + number)
        with duckdb.connect(config={"threads": 2}) as connection:
            for statement in (EVENTS, CASES):
                connection.execute(statement.format(log=log, folder=folder, part=f"{number:03}-"))
        log.unlink()


def measure(folder: Path, memory_limit: str) -> Cost:
    """Explain the log of a folder in this process."""

    def write(contributions: pa.RecordBatchReader) -> tuple[int, float, float]:
        """Rows, CPU seconds, and the memory before."""
        before, began = peak_mb(), time.process_time()
        forget_peak()
        written = write_parquet(contributions, folder / "contributions.parquet")
        return written.rows, time.process_time() - began, before

    limits: dict[str, str | bool | int | float | list[str]] = {
        "threads": 2,
        "memory_limit": memory_limit,
        "temp_directory": str(folder / "spilled"),
    }
    with duckdb.connect(config=limits) as connection:
        connection.execute("set preserve_insertion_order = false")
        for relation in ("events", "cases"):
            files = f"{folder}/{relation}-*.parquet"
            connection.execute(f"create view {relation} as select * from read_parquet('{files}')")
        began = time.process_time()
        with Explainer(connection) as explaining:
            rows, cpu, before = explaining.explain_month("2024-01", write).contributions
            return Cost(rows, cpu, time.process_time() - began, before, peak_mb())


def peak_mb() -> float:
    """The most that was resident since the start of the process or ``forget_peak`` (Linux)."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return (
        int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM:"))) * 1024 / 1e6
    )


def forget_peak() -> None:
    """Count from what is resident now (Linux)."""
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def main() -> None:
    """Run the benchmark from the command line."""
    parser = argparse.ArgumentParser(
        description="CPU time and memory of the contributions of an explanation."
    )
    parser.add_argument("--cases", type=int, default=20_000)
    parser.add_argument("--memory-limit", default="1GB", help="DuckDB's; a stage has 4GB")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--measure", metavar="FOLDER", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        sys.stdout.write(json.dumps(asdict(measure(options.measure, options.memory_limit))))
        return
    with tempfile.TemporaryDirectory() as folder:
        write_log(Path(folder), options.cases)
        command = [sys.executable, "-m", "benchmarks.contributions", "--memory-limit", options.memory_limit]
        measured = subprocess.run([*command, "--measure", folder], check=True, stdout=subprocess.PIPE)
    cost = Cost(**json.loads(measured.stdout))
    if not cost.cases:
        sys.exit("the model was refused, so that there are no contributions: give more cases")
    sys.stdout.write(json.dumps(asdict(cost)) + "\n" if options.json else cost.told())


if __name__ == "__main__":
    main()
