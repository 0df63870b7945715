"""From a dropped file to the release, through the real daemon: 1,000 events that touch three old months, five times.

The workspace has two years of history. Each drop is timed from the end of its upload to the moment at which the new
release can be read, beside the data work: the seconds that the release's own steps tell of what was made for it.
"""

import argparse
import json
import os
import statistics
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.pipeline import casetrail_command
from orchestration.control_plane import connectors, database, jobs, releases, workspaces
from orchestration.demo.lead_to_cash import write_lead_to_cash
from orchestration.lake import layout
from orchestration.lake.credentials import CredentialBroker
from orchestration.lake.objects import WorkspaceStore
from orchestration.settings import Settings, load_settings

SLUG = "dropped"
EVENTS, STEPS = 1_000, ("Lead created", "Qualify lead", "Send quote", "Receive payment")


@dataclass(frozen=True)
class Drop:
    """One drop, in seconds: until the release, the stages' work within, and what was made of which datasets."""

    total: float
    data_work: float
    files_made: int
    load: float


def main() -> None:
    """Print each drop and the median."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--cases", type=int, default=12_500, help="of the history of 24 months")
    parser.add_argument("--drops", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="casetrail-benchmark-") as folder:
        # PostgreSQL runs as another user when we are root, and must be able to reach its folder.
        Path(folder).chmod(0o711)
        drops = measure(Path(folder), arguments.cases, arguments.drops)
    if arguments.json:
        print(json.dumps([asdict(drop) for drop in drops], indent=2))
        return
    print(f"{'seconds to the release':>24}{'data work':>12}{'files made':>12}{'load':>8}")
    for drop in drops:
        print(f"{drop.total:24.1f}{drop.data_work:12.1f}{drop.files_made:12}{drop.load:8.1f}")
    print(f"median {statistics.median(drop.total for drop in drops):.1f} s")


def measure(folder: Path, cases: int, drops: int) -> list[Drop]:
    """An installation of its own with one workspace, and the drops."""
    casetrail = casetrail_command(folder / "home")
    log = folder / "log.csv"
    write_lead_to_cash(log, cases=cases)
    casetrail("up")
    try:
        casetrail("workspace", "create", SLUG, "--owner", "bench@casetrail.local")
        casetrail("upload", SLUG, str(log), "--wait")
        settings = load_settings(folder / "home")
        return [measure_drop(settings, number) for number in range(drops)]
    finally:
        casetrail("down")


def measure_drop(settings: Settings, number: int) -> Drop:
    """Drop a file and wait for its release."""
    with database.as_user(settings.app_dsn, settings.operator) as connection:
        workspace = workspaces.find_workspace(connection, SLUG)
        connector = connectors.ensure_connector(connection, workspace.id, "csv_upload", "benchmark", {})
    store = WorkspaceStore(CredentialBroker(settings).for_workspace(workspace.id, workspace.region))
    before = _release(settings, workspace.id)
    months = _old_months(before)
    store.put_bytes(
        f"{layout.inbox_prefix(workspace.id, connector.id)}{number}.csv", _csv(number, months).encode()
    )
    began = time.perf_counter()
    while (after := _release(settings, workspace.id))["id"] == before["id"]:
        time.sleep(0.05)
    total = time.perf_counter() - began
    known = {output["object"] for output in _outputs(before)}
    made = [output for output in _outputs(after) if output["object"] not in known]
    work = sum(float(output.get("seconds", 0)) for output in made)
    # A run ends a moment after its release; the next drop finds the workspace at rest.
    time.sleep(8)
    return Drop(round(total, 2), round(work, 2), len(made), os.getloadavg()[0])


def _release(settings: Settings, workspace_id: str) -> dict[str, Any]:
    with database.as_system(settings.system_dsn, workspace_id) as connection:
        current = jobs.standing_job(connection, workspace_id).provenance_id
        assert current is not None
        return dict(releases.provenance(connection, workspace_id, current))


def _outputs(release: dict[str, Any]) -> list[dict[str, Any]]:
    return [output for step in release["etl_steps"] for output in step.get("outputs", ())]


def _old_months(release: dict[str, Any]) -> list[str]:
    """Three months of the history, at a quarter, the middle and three quarters."""
    (events,) = (step for step in release["etl_steps"] if step["name"] == "events")
    months = sorted(output["month"] for output in events["outputs"])
    return [months[len(months) * share // 4] for share in (1, 2, 3)]


def _csv(number: int, months: list[str]) -> str:
    """1,000 events of 250 new cases that begin and end in one of the months."""
    lines = ["case_id,activity,timestamp"]
    for case in range(EVENTS // len(STEPS)):
        month = months[case % len(months)]
        for step, activity in enumerate(STEPS):
            day, hour = 1 + case % 20 + step, (case + number) % 24
            lines.append(f"late-{number}-{case},{activity},{month}-{day:02}T{hour:02}:{case % 60:02}:00Z")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
