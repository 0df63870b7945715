"""The correction jobs as the launchpad runs them, and the sensor that reads quarantined rows again."""

import json
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from typer.testing import CliRunner

from orchestration.automation.corrections import CORRECTED_TAG, JOBS, readmissions
from orchestration.cli import app
from orchestration.control_plane import corrections, database, planner_marks, workspaces
from orchestration.control_plane.corrections import ArrivalChange
from orchestration.control_plane.workspaces import Workspace
from orchestration.settings import Settings

LOG = "case,activity,time,who,agent\na,order,2024-01-01 00:00:00,Ann,x\na,pay,2024-02-05 00:00:00,Bob,y\n"


@pytest.fixture
def instance() -> Any:
    with dg.DagsterInstance.ephemeral() as made:
        yield made


@pytest.fixture
def settings(installation: Settings, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setenv("CASETRAIL_HOME", str(installation.home))
    return installation


@pytest.fixture
def workspace(settings: Settings, request: pytest.FixtureRequest) -> Workspace:
    slug = f"launched-{abs(hash(request.node.name)) % 10**8}"
    with database.as_user(settings.app_dsn, settings.operator) as connection:
        return workspaces.create_workspace(connection, slug, "EU", "pro", settings.operator, slug)


def upload(workspace: Workspace, folder: Path, **environment: str) -> str:
    path = folder / "log.csv"
    path.write_text(LOG)
    options = ("--timezone", "UTC", "--case-id", "case", "--resource", "who", "--json")
    ended = CliRunner().invoke(app, ("upload", workspace.slug, str(path), *options), env=environment)
    assert ended.exit_code == 0, ended.output
    return str(json.loads(ended.stdout)["id"])


def launch(instance: dg.DagsterInstance, name: str, **config: Any) -> dg.ExecuteInProcessResult:
    """Run a job as the launchpad does."""
    (job,) = (job for job in JOBS if job.name == name)
    (op,) = job.graph.node_dict
    return job.execute_in_process(
        instance=instance, run_config={"ops": {op: {"config": config}}}, raise_on_error=False
    )


def trail(settings: Settings, workspace: Workspace) -> list[ArrivalChange]:
    with database.as_system(settings.system_dsn, workspace.id) as connection:
        return corrections.changes(connection, workspace.id)


def test_the_trail_names_the_run_of_each_correction(
    settings: Settings, instance: dg.DagsterInstance, workspace: Workspace, tmp_path: Path
) -> None:
    arrival = upload(workspace, tmp_path)
    remapped = launch(
        instance, "remap_connector", workspace=workspace.slug, changes=["resource=agent", "system=crm"]
    )
    assert remapped.success
    (first,) = trail(settings, workspace)
    assert (first.kind, first.arrival_id, first.changed_by) == ("remapped", arrival, None)
    assert first.after["run_id"] == remapped.run_id
    assert (first.after["mapping"]["resource"], first.after["mapping"]["system"]) == ("agent", "crm")
    assert first.successor_id is not None
    reason = {"arrival": first.successor_id[:8], "reason": "test data"}
    retracted = launch(instance, "retract_arrival", workspace=workspace.slug, **reason)
    assert retracted.success
    assert [(c.kind, c.reason) for c in trail(settings, workspace)][1:] == [("retracted", "test data")]
    run = instance.get_run_by_id(retracted.run_id)
    assert run is not None
    assert run.tags[CORRECTED_TAG] == workspace.slug


def test_what_is_refused_fails_the_run_with_the_reason_and_is_not_tried_again(
    settings: Settings, instance: dg.DagsterInstance, workspace: Workspace, tmp_path: Path
) -> None:
    upload(workspace, tmp_path)
    for name, config, message in (
        ("retract_arrival", {"arrival": "ffff", "reason": "r"}, "no arrival whose id begins with 'ffff'"),
        ("remap_connector", {"changes": ["role=nowhere"]}, "does not have"),
        ("remap_connector", {"changes": []}, "FIELD=VALUE"),
    ):
        failed = launch(instance, name, workspace=workspace.slug, **config)
        assert not failed.success
        (event,) = failed.get_step_failure_events()
        assert message in (event.step_failure_data.error.message if event.step_failure_data.error else "")
    assert trail(settings, workspace) == []


def test_rows_before_another_first_month_are_read_again_by_themselves(
    settings: Settings, instance: dg.DagsterInstance, workspace: Workspace, tmp_path: Path
) -> None:
    arrival = upload(workspace, tmp_path, CASETRAIL_FIRST_MONTH="2024-02")
    (request,) = (r for r in asked(instance) if r.tags[CORRECTED_TAG] == workspace.slug)
    assert [r.run_key for r in asked(instance)].count(request.run_key) == 1, "the same need has the same key"
    (config,) = request.run_config["ops"].values()
    readmitted = launch(instance, "readmit_quarantine", **config["config"])
    assert readmitted.success
    (change,) = trail(settings, workspace)
    assert (change.kind, change.arrival_id) == ("readmitted", arrival)
    assert (change.before["landed"], change.after["landed"]) == (1, 2)
    assert workspace.slug not in {r.tags[CORRECTED_TAG] for r in asked(instance)}


def asked(instance: dg.DagsterInstance) -> list[dg.RunRequest]:
    """What the sensor asks for."""
    context = dg.build_sensor_context(instance=instance)
    found = readmissions(context)
    return [request for request in found if isinstance(request, dg.RunRequest)]  # type: ignore[union-attr]


def test_an_asked_refresh_does_not_wait_for_the_next_attempt(
    settings: Settings, instance: dg.DagsterInstance, workspace: Workspace
) -> None:
    with database.as_planner(settings.system_dsn) as connection:
        connection.execute(
            """
            update planner_marks set planned = changed, plan_subject = 'p', attempts = 4,
                   not_before = now() + interval '2 hours' where workspace_id = %s
            """,
            (workspace.id,),
        )
    assert launch(instance, "refresh_workspace", workspace=workspace.slug).success
    with database.as_planner(settings.system_dsn) as connection:
        mark = planner_marks.find_mark(connection, workspace.id)
        (row,) = connection.execute("select now() as now").fetchall()
    assert mark.changed > mark.planned
    assert mark.not_before is not None
    assert mark.not_before <= row["now"]


def test_every_job_says_what_it_does() -> None:
    assert [job.name for job in JOBS if not job.description] == []
    assert all(int(job.tags["dagster/max_runtime"]) > 0 for job in JOBS)
