"""What a new month costs with more and more history: CPU seconds, bytes read from S3 and from PostgreSQL.

    python -m benchmarks.history [--cases 20000] [--history 12 24 48] [--json]

One workspace grows month by month; at each length of history a new month is delivered, then a late file with events in
three old months, and each time the stages are measured in a process of their own, without Dagster. Bytes are those that
the servers send, counted by a proxy in front of each. Deliveries hold whole months, so a case's later events come with
the months after: the new month touches cases of several home months.
"""

import argparse
import json
import os
import resource
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import duckdb
import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

PROJECT = Path(__file__).resolve().parents[1]
SLUG = "history"
FIRST_YEAR = 2018
BUILT_AT_ONCE = 12
"""Months of history that are delivered in one file."""


@dataclass(frozen=True)
class Cost:
    """One refresh: the months of history before it, wall and CPU seconds, bytes that the servers sent."""

    what: str
    history: int
    wall: float
    cpu: float
    s3_bytes: int
    postgres_bytes: int
    stages: dict[str, dict[str, float]]


_LOG = """
copy (
    with cases as (
        select m, i, m * {cases} + i as number,
            random() as size, (random() * 4)::integer as region, (random() * 9)::integer as product,
            make_timestamp({year}, 1, 1, 0, 0, 0) + to_months(m::integer)
                + to_microseconds((random() * 28 * 86400e6)::bigint) as began
        from range({months}) as months (m), range({cases}) as cases (i)
    ),
    steps as (
        select *, step,
            -ln(1 - random()) * (case step when 0 then 0 when 2 then 4 + 3 * (region = 1)::integer else 3 end) as days
        from cases, range(6) as steps (step)
        where step <> 3 or size > 0.4
    ),
    timed as (
        select *,
            began + to_microseconds((86400e6 * sum(days) over (partition by number order by step))::bigint) as time
        from steps
    )
    select 'case-' || number as "case",
        ['created', 'checked', 'approved', 'corrected', 'shipped', 'paid'][step + 1] as activity, time,
        'person ' || (hash(number, step) % 40) as who, 'region ' || region as region, 'product ' || product as product
    from timed where time < make_timestamp({year}, 1, 1, 0, 0, 0) + to_months({months})
    order by time
) to '{path}' (format parquet)
"""


def write_log(path: Path, cases: int, months: int) -> None:
    """All events of ``months`` months with ``cases`` cases starting in each; the same for the same arguments."""
    with duckdb.connect() as connection:
        connection.execute("set threads = 1")
        connection.execute("select setseed(0.5)")
        connection.execute(_LOG.format(cases=cases, months=months, year=FIRST_YEAR, path=path))


def write_months(log: Path, path: Path, first: int, last: int) -> None:
    """The events of the months ``first`` to ``last`` (from 0), as a delivery."""
    _write(log, path, f"time >= {_start(first)} and time < {_start(last + 1)}", '"case"')


def write_late(log: Path, path: Path, months: list[int], events: int) -> None:
    """Some events more of cases that began in each of these months."""
    wanted = " or ".join(f"(time >= {_start(m)} and time < {_start(m + 1)})" for m in months)
    few = (
        f"activity = 'checked' and ({wanted}) qualify row_number() over (order by hash(\"case\")) <= {events}"
    )
    _write(log, path, few, '"case"', activity="'corrected'")


def _write(log: Path, path: Path, where: str, case: str, activity: str = "activity") -> None:
    with duckdb.connect() as connection:
        connection.execute(
            f"copy (select {case} as \"case\", {activity} as activity, time, who, region, product from '{log}'"
            f" where {where}) to '{path}' (format parquet)"
        )


def _start(month: int) -> str:
    return f"make_timestamp({FIRST_YEAR + month // 12}, {month % 12 + 1}, 1, 0, 0, 0)"


class Proxy:
    """Passes TCP on to a server, and counts what the server sends."""

    def __init__(self, host: str, port: int) -> None:
        """Listens on a port of its own until the process ends."""
        self._target, self.sent = (host, port), 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            client, _ = self._listener.accept()
            server = socket.create_connection(self._target)
            for source, sink, counts in ((client, server, False), (server, client, True)):
                threading.Thread(target=self._pump, args=(source, sink, counts), daemon=True).start()

    def _pump(self, source: socket.socket, sink: socket.socket, counts: bool) -> None:
        try:
            while data := source.recv(262_144):
                self.sent += len(data) if counts else 0
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)
        except OSError:
            sink.close()


def refresh_measured(slug: str) -> dict[str, Any]:
    """Bring a workspace up to date and release it, in this process; wall and CPU seconds of all and of each stage."""
    from orchestration.control_plane import database
    from orchestration.settings import load_settings
    from orchestration.stages.case_index import stage_case_index
    from orchestration.stages.events import stage_events
    from orchestration.stages.explainability import stage_explanations
    from orchestration.stages.opening import open_workspace
    from orchestration.stages.process import stage_process
    from orchestration.stages.publish import read_state, release_workspace
    from orchestration.stages.release import stale_months

    stages: dict[str, dict[str, float]] = {}

    @contextmanager
    def stage(name: str) -> Iterator[None]:
        wall, cpu = time.perf_counter(), time.process_time()
        yield
        stages[name] = {
            "wall": round(time.perf_counter() - wall, 3),
            "cpu": round(time.process_time() - cpu, 3),
        }

    settings = load_settings()
    with stage("all"), open_workspace(settings, slug, "benchmark") as opened:
        bench = opened.bench
        with database.as_system(settings.system_dsn, opened.workspace.id) as connection:
            stale = stale_months(read_state(connection, opened.job, bench.as_of))
        with stage("events"):
            stage_events(bench, stale["events"])
        with stage("case index"):
            stage_case_index(bench)
        homes = set(bench.tree.files("case_index"))
        with stage("cases, variants, process map"):
            stage_process(bench, homes)
        with stage("explainability"):
            stage_explanations(bench, homes)
        with stage("release"):
            release_workspace(settings, opened, stale["events"], "benchmark")
    return {"stages": stages, "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}


class Installation:
    """Servers of the benchmark's own, each behind a proxy."""

    def __init__(self, home: Path) -> None:
        """Start them."""
        from orchestration.settings import load_settings

        self._plain = {**os.environ, "CASETRAIL_HOME": str(home)}
        self._program = str(Path(sys.executable).parent / "casetrail")
        self.run("up", "--storage-only")
        settings = load_settings(home)
        s3 = urlsplit(settings.s3_endpoint)
        assert s3.hostname
        assert s3.port
        self._s3 = Proxy(s3.hostname, s3.port)
        named = conninfo_to_dict(settings.system_dsn.get_secret_value())
        self._postgres = Proxy("127.0.0.1", int(str(named["port"])))
        through = {name: str(value) for name, value in named.items()} | {
            "host": "127.0.0.1",
            "port": str(self._postgres.port),
        }
        self._proxied = {
            **self._plain,
            "CASETRAIL_S3_ENDPOINT": f"http://127.0.0.1:{self._s3.port}",
            "CASETRAIL_SYSTEM_DSN": make_conninfo("", **through),
        }
        psycopg.connect(self._proxied["CASETRAIL_SYSTEM_DSN"]).close()

    def run(self, *arguments: str) -> None:
        """A command, past the proxies."""
        subprocess.run(
            [self._program, *arguments], env=self._plain, cwd=PROJECT, check=True, stdout=subprocess.DEVNULL
        )

    def refresh(self, what: str, history: int) -> Cost:
        """Refresh the workspace in a process of its own, through the proxies."""
        s3, postgres = self._s3.sent, self._postgres.sent
        ended = subprocess.run(
            [sys.executable, "-m", "benchmarks.history", "--refresh", SLUG],
            env=self._proxied, cwd=PROJECT, check=True, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        stages = json.loads(ended.stdout.splitlines()[-1])["stages"]
        whole = stages.pop("all")
        return Cost(
            what,
            history,
            whole["wall"],
            whole["cpu"],
            self._s3.sent - s3,
            self._postgres.sent - postgres,
            stages,
        )


def measure(folder: Path, cases: int, lengths: list[int], progress: bool) -> list[Cost]:
    """The costs at each length of history."""
    log, delivery = folder / "log.parquet", folder / "delivery.parquet"
    write_log(log, cases, max(lengths) + 2)
    installation, costs, built = Installation(folder / "home"), [], 0
    try:
        installation.run("workspace", "create", SLUG, "--owner", "bench@casetrail.local")
        columns = {"case-id": "case", "activity": "activity", "timestamp": "time", "resource": "who"}
        mapping = [part for field, column in columns.items() for part in (f"--{field}", column)]

        def deliver() -> None:
            installation.run("upload", SLUG, str(delivery), *mapping, "--timezone", "UTC")

        for length in sorted(lengths):
            while built < length:
                last = min(built + BUILT_AT_ONCE, length) - 1
                write_months(log, delivery, built, last)
                deliver()
                built = last + 1
                cost = installation.refresh("history", built)
                if progress:
                    print(f"built {built} months: {cost.cpu:.0f} CPU s", file=sys.stderr, flush=True)
            write_months(log, delivery, built, built)
            deliver()
            costs.append(installation.refresh("new month", built))
            built += 1
            write_late(log, delivery, [2, built // 2, built - 4], 1_000)
            deliver()
            costs.append(installation.refresh("late file, 3 months", built))
            if progress:
                print_table(costs[-2:], file=sys.stderr)
    finally:
        installation.run("down")
    return costs


def print_table(costs: list[Cost], file: Any = None) -> None:
    """One row per refresh with its stages' CPU seconds, then how many times the longest history costs the shortest."""
    names = list(costs[0].stages)
    file = file or sys.stdout
    print(
        f"| delivery | months before | CPU s | wall s | S3 MB | PostgreSQL MB | {' | '.join(names)} |",
        file=file,
    )
    print("| --- |" + " ---: |" * (5 + len(names)), file=file)
    for c in costs:
        parts = " | ".join(f"{c.stages[name]['cpu']:.1f}" for name in names)
        print(
            f"| {c.what} | {c.history} | {c.cpu:.1f} | {c.wall:.1f} | {c.s3_bytes / 1e6:.1f} |"
            f" {c.postgres_bytes / 1e6:.1f} | {parts} |",
            file=file,
        )
    for what in dict.fromkeys(c.what for c in costs):
        of_kind = [c for c in costs if c.what == what]
        first, last = of_kind[0], of_kind[-1]
        if first is not last:
            print(
                f"{what}: CPU x {last.cpu / first.cpu:.2f}, S3 bytes x {last.s3_bytes / first.s3_bytes:.2f}"
                f" from {first.history} to {last.history} months",
                file=file,
            )


def main() -> None:
    """Print one table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--cases", type=int, default=20_000, help="cases that begin in each month")
    parser.add_argument("--history", type=int, nargs="+", default=[12, 24, 48], help="months")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--refresh", metavar="WORKSPACE", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.refresh:
        print(json.dumps(refresh_measured(arguments.refresh)))
        return
    with tempfile.TemporaryDirectory(prefix="casetrail-benchmark-") as folder:
        # PostgreSQL runs as another user when we are root, and must be able to reach its folder.
        Path(folder).chmod(0o711)
        costs = measure(Path(folder), arguments.cases, arguments.history, progress=True)
    if arguments.json:
        print(json.dumps([asdict(cost) for cost in costs], indent=2))
    else:
        print_table(costs)


if __name__ == "__main__":
    main()
