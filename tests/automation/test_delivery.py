"""A delivery does in one run what an upload and a ranged run do, for exactly the months that it touches."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from typer.testing import CliRunner

from orchestration.cli import app
from orchestration.control_plane import database, inbox, jobs, releases
from orchestration.definitions import build_definitions
from orchestration.partitions import WORKSPACE_PARTITIONS_NAME
from orchestration.settings import Settings
from orchestration.stages.inbox_ledger import InboxLedger
from tests.stages.test_inbox_ledger import Inbox

ASSETS = ("raw_records", "events", "cases", "variants", "process_map", "explainability", "provenance")
MONTHS = ("2024-01", "2024-02", "2024-03", "2024-04")
HEADER = "case,activity,time\n"
HISTORY = "".join(
    f"{month}/{case},{activity},{month}-{day:02}T10:00:00Z\n"
    for month in MONTHS
    for case in range(3)
    for activity, day in (("order", 3), ("pay", 9 + case))
)
# A new case in February, and an earlier event of one of April: its home month becomes March.
LATE = "new,order,2024-02-20T10:00:00Z\n2024-04/0,ask,2024-03-30T10:00:00Z\n"
TOUCHED = {
    "raw_records": {"2024-02", "2024-03"},
    "events": {"2024-02", "2024-03"},
    "cases": {"2024-02", "2024-03", "2024-04"},
    "variants": {"2024-02", "2024-03", "2024-04"},
    "process_map": {"2024-02", "2024-03", "2024-04"},
    "explainability": {"2024-02", "2024-03", "2024-04"},
    "provenance": {"2024-02", "2024-03", "2024-04"},
}


class Workspace(Inbox):
    """A workspace with the history released."""

    def __init__(self, settings: Settings, instance: dg.DagsterInstance) -> None:
        super().__init__(settings)
        self.settings, self.instance = settings, instance
        instance.add_dynamic_partitions(WORKSPACE_PARTITIONS_NAME, [self.slug])
        self.drop("history.csv", (HEADER + HISTORY).encode())

    def deliver(self, *, succeeds: bool = True) -> dg.ExecuteInProcessResult:
        InboxLedger(self.settings).sweep()
        job = build_definitions().resolve_job_def("delivery_job")
        tags = {"casetrail/workspace": self.slug}
        run = job.execute_in_process(instance=self.instance, tags=tags, raise_on_error=succeeds)
        assert run.success == succeeds
        return run

    def upload(self, path: Path) -> dg.ExecuteInProcessResult:
        ended = CliRunner().invoke(app, ["upload", self.slug, str(path)])
        assert ended.exit_code == 0, ended.output
        job = build_definitions().resolve_job_def("refresh_job")
        ends = {
            f"dagster/asset_partition_range_{end}": f"{month}|{self.slug}"
            for end, month in (("start", MONTHS[0]), ("end", MONTHS[-1]))
        }
        return job.execute_in_process(instance=self.instance, tags=ends)

    def release(self) -> dict[str, Any]:
        with database.as_system(self.settings.system_dsn, self.workspace_id) as connection:
            current = jobs.standing_job(connection, self.workspace_id)
            assert current.status == "succeeded"
            assert current.provenance_id
            return dict(releases.provenance(connection, self.workspace_id, current.provenance_id))

    def statuses(self) -> dict[str, str]:
        with database.as_system(self.settings.system_dsn, self.workspace_id) as connection:
            files = inbox.inbox_files(connection, self.workspace_id)
        return {file.object_key.removeprefix(self.prefix): file.status for file in files}


@pytest.fixture(scope="module")
def instance(installation: Settings) -> Iterator[dg.DagsterInstance]:
    with pytest.MonkeyPatch.context() as patch, dg.DagsterInstance.ephemeral() as instance:
        patch.setenv("CASETRAIL_HOME", str(installation.home))
        yield instance


def reported(run: dg.ExecuteInProcessResult, asset: str) -> dict[str, dict[str, Any]]:
    """Month -> metadata of the run's materialisations of an asset."""
    made = [m for m in run.get_asset_materialization_events() if m.asset_key == dg.AssetKey(asset)]
    assert len({m.partition for m in made}) == len(made), "each partition is materialised once"
    metadata = {str(m.partition): m.step_materialization_data.materialization.metadata for m in made}
    return {
        key.split("|")[0]: {name: value.value for name, value in shown.items()}
        for key, shown in metadata.items()
    }


def checked(run: dg.ExecuteInProcessResult) -> dict[tuple[str, str], bool]:
    found = run.get_asset_check_evaluations()
    return {(check.asset_key.to_user_string(), check.check_name): check.passed for check in found}


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_a_delivery_reports_what_the_assets_own_run_reports(
    installation: Settings, instance: dg.DagsterInstance, tmp_path: Path
) -> None:
    dropped, uploaded = Workspace(installation, instance), Workspace(installation, instance)
    first = [dropped.deliver(), uploaded.deliver()]
    assert [set(reported(run, "events")) for run in first] == [set(MONTHS)] * 2
    late = tmp_path / "late.csv"
    late.write_text(HEADER + LATE)
    dropped.drop("late.csv", late.read_bytes())
    one_run, ranged = dropped.deliver(), uploaded.upload(late)

    assert dropped.release()["content_sha256"] == uploaded.release()["content_sha256"]
    assert {asset: set(reported(one_run, asset)) for asset in ASSETS} == TOUCHED
    for asset in ASSETS:
        ours, theirs = reported(one_run, asset), reported(ranged, asset)
        for month in TOUCHED[asset]:
            assert ours[month].keys() == theirs[month].keys(), (asset, month)
            same = ("text", "dagster/row_count", "content_sha256", "code_version")
            if asset == "provenance":
                same = ("dagster/row_count", "content_sha256")
            assert [ours[month].get(name) for name in same] == [theirs[month].get(name) for name in same]
        partitions = instance.get_materialized_partitions(dg.AssetKey(asset))
        assert {f"{month}|{dropped.slug}" for month in MONTHS} <= partitions
    assert checked(one_run) == checked(ranged)
    assert all(checked(one_run).values())


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_a_bad_file_fails_the_run_and_nothing_else(
    installation: Settings, instance: dg.DagsterInstance
) -> None:
    mine = Workspace(installation, instance)
    mine.drop("a-broken.xes", b"<log><trace>")
    gone = mine.drop("b-gone.csv")
    InboxLedger(installation).sweep()
    mine.store.delete([gone])
    mine.deliver(succeeds=False)
    assert mine.statuses() == {"a-broken.xes": "failed", "b-gone.csv": "failed", "history.csv": "landed"}
    assert mine.release()["content_sha256"]
    assert mine.waiting() == []
