"""A hundred workspaces that each drop a file at once: when the last is released, and how long small ones wait.

    python -m benchmarks.many_drops [--workspaces 100] [--large 5] [--json FILE]

Starts its own PostgreSQL, S3 and Dagster in a temporary folder. The large files are dropped first, all others at the
same moment. Seconds are from the drop to the release, as PostgreSQL dates it.
"""

import argparse
import json
import os
import statistics
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

import psycopg

from benchmarks.many_workspaces import casetrail, told
from orchestration.control_plane import connectors, database, workspaces
from orchestration.control_plane.workspaces import Workspace
from orchestration.lake import layout
from orchestration.lake.credentials import CredentialBroker
from orchestration.lake.objects import WorkspaceStore
from orchestration.services.dagster_processes import dagster_environment
from orchestration.settings import Settings, load_settings

MONTHS = ("2026-01", "2026-02", "2026-03")
SMALL_EVENTS, LARGE_EVENTS = 1_000, 300_000
PATIENCE_SECONDS = 3_600


@dataclass(frozen=True)
class Outcome:
    """What came of all drops; seconds from the drop to the release."""

    workspaces: int
    large: int
    released: int
    runs: int
    failed_runs: int
    failed_files: int
    last_release: float
    last_large: float
    small_median: float
    small_longest: float


def main() -> None:
    """Print one table; the exit code is 1 if anything failed."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--workspaces", type=int, default=100)
    parser.add_argument("--large", type=int, default=5, help="So many of them drop a large file.")
    parser.add_argument("--json", type=Path, metavar="FILE", help="Write the figures here too.")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="casetrail-benchmark-") as folder:
        # PostgreSQL runs as another user when we are root, and must be able to reach its folder.
        Path(folder).chmod(0o711)
        home = Path(folder) / "home"
        os.environ |= {"CASETRAIL_HOME": str(home), "CASETRAIL_FIRST_MONTH": MONTHS[0]}
        with told("up"):
            casetrail("up")
        try:
            found = measure(load_settings(home), arguments.workspaces, arguments.large)
        finally:
            casetrail("down")
    for name, value in asdict(found).items():
        print(
            f"{name.replace('_', ' '):20}{value:10.1f}"
            if isinstance(value, float)
            else f"{name:20}{value:10}"
        )
    if arguments.json:
        arguments.json.write_text(json.dumps(asdict(found) | {"load": os.getloadavg()[0]}, indent=1))
    raise SystemExit(found.released < found.workspaces or found.failed_runs > 0 or found.failed_files > 0)


def measure(settings: Settings, count: int, large: int) -> Outcome:
    """Make the workspaces, drop the files, wait for the releases."""
    with told("workspaces"):
        made = create(settings, count)
    logs = {True: log_of(LARGE_EVENTS), False: log_of(SMALL_EVENTS)}
    stores = {
        w.id: WorkspaceStore(CredentialBroker(settings).for_workspace(w.id, w.region)) for w, _inbox in made
    }
    dropped_at = datetime.now(UTC)
    with told("drops"), ThreadPoolExecutor(8) as pool:
        list(
            pool.map(
                lambda drop: stores[drop[1][0].id].put_bytes(f"{drop[1][1]}log.csv", logs[drop[0] < large]),
                enumerate(made),
            )
        )
    released = wait(settings, count)
    seconds = {key: (moment - dropped_at).total_seconds() for key, moment in released.items()}
    large_ids = {w.id for w, _inbox in made[:large]}
    small = [s for key, s in seconds.items() if key not in large_ids]
    runs, failed_runs = _runs(settings)
    return Outcome(
        workspaces=count,
        large=large,
        released=len(released),
        runs=runs,
        failed_runs=failed_runs,
        failed_files=_failed_files(settings),
        last_release=max(seconds.values(), default=0.0),
        last_large=max((s for key, s in seconds.items() if key in large_ids), default=0.0),
        small_median=statistics.median(small) if small else 0.0,
        small_longest=max(small, default=0.0),
    )


def create(settings: Settings, count: int) -> list[tuple[Workspace, str]]:
    """The workspaces with the prefix of an inbox each, known to Dagster."""
    import dagster as dg

    from orchestration.partitions import WORKSPACE_PARTITIONS_NAME

    made = []
    for number in range(count):
        with database.as_user(settings.app_dsn, settings.operator) as connection:
            slug = f"w{number:03}"
            workspace = workspaces.create_workspace(connection, slug, "EU", "pro", "bench@x.test", slug)
            connector = connectors.ensure_connector(connection, workspace.id, "csv_upload", "uploads", {})
        made.append((workspace, layout.inbox_prefix(workspace.id, connector.id)))
    os.environ |= dagster_environment(settings)
    with dg.DagsterInstance.get() as instance:
        instance.add_dynamic_partitions(WORKSPACE_PARTITIONS_NAME, [w.slug for w, _inbox in made])
    return made


def log_of(events: int) -> bytes:
    """A CSV log of so many events, four a case, spread over three months."""
    lines = ["case,activity,time"]
    for case in range(events // 4):
        month, day, minute = MONTHS[case % 3], 1 + case // 3 % 20, case % 60
        lines += [
            f"{case},{activity},{month}-{day + later:02}T{8 + later:02}:{minute:02}:00Z"
            for later, activity in enumerate(("order", "check", "ship", "pay"))
        ]
    return ("\n".join(lines) + "\n").encode()


def wait(settings: Settings, count: int) -> dict[str, datetime]:
    """Workspace -> the time of its first release, when all have one or patience ends."""
    began, told_of = time.monotonic(), -1
    while True:
        with database.as_system(settings.system_dsn, None) as connection:
            rows = connection.execute(
                "select workspace_id::text, min(created_at) as at from provenance group by 1"
            ).fetchall()
        waited = time.monotonic() - began
        if len(rows) > told_of:
            told_of = len(rows)
            print(f"{told_of} of {count} released after {waited:.0f} s", flush=True)
        if len(rows) >= count or waited > PATIENCE_SECONDS:
            return {row["workspace_id"]: row["at"] for row in rows}
        time.sleep(1)


def _runs(settings: Settings) -> tuple[int, int]:
    with psycopg.connect(settings.dagster_dsn.get_secret_value()) as connection:
        row = connection.execute(
            "select count(*), count(*) filter (where status in ('FAILURE', 'CANCELED')) from runs"
        ).fetchone()
    assert row is not None
    return int(row[0]), int(row[1])


def _failed_files(settings: Settings) -> int:
    with database.as_system(settings.system_dsn, None) as connection:
        row = connection.execute(
            "select count(*) as failed from inbox_files where status = 'failed'"
        ).fetchone()
    assert row is not None
    return int(row["failed"])


if __name__ == "__main__":
    main()
