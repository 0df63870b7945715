"""The launchpad job that asks for an analysis on demand."""

from typing import Any

import dagster as dg
import pytest

from orchestration.automation.asking import asking_job
from orchestration.control_plane import analyses, database
from orchestration.control_plane.jobs import AnalysisJob
from orchestration.control_plane.workspaces import Workspace
from orchestration.settings import Settings
from orchestration.stages.opening import open_workspace
from tests.faults.growing_log import GrowingLog, new_workspace
from tests.faults.refresh import refresh_and_release


@pytest.fixture(scope="module")
def workspace(installation: Settings, tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """With a released log."""
    made = new_workspace(installation, "asked-in-dagster")
    GrowingLog(installation, made, tmp_path_factory.mktemp("log")).grow()
    with open_workspace(installation, made.slug, "refresh") as opened:
        refresh_and_release(installation, opened, "refresh")
    return made


@pytest.fixture(autouse=True)
def _home(installation: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CASETRAIL_HOME", str(installation.home))


def launch(**config: Any) -> dg.ExecuteInProcessResult:
    """Run the job as the launchpad does."""
    with dg.DagsterInstance.ephemeral() as instance:
        return asking_job.execute_in_process(
            instance=instance, run_config={"ops": {"ask": {"config": config}}}, raise_on_error=False
        )


def asked(settings: Settings, workspace: Workspace) -> list[AnalysisJob]:
    with database.as_system(settings.system_dsn, workspace.id) as connection:
        return analyses.newest(connection, workspace.id, 10)


def test_a_question_is_queued_for_the_pipeline(installation: Settings, workspace: Workspace) -> None:
    filters = [{"kind": "any", "of": [{"kind": "start_activity", "activities": "order"}]}]
    assert launch(workspace=workspace.slug, parameters={"filters": filters}).success
    (job, *_) = asked(installation, workspace)
    assert (job.status, job.created_by) == ("queued", None)
    assert job.parameters["filters"][0]["of"][0]["activities"] == ["order"]


@pytest.mark.parametrize(
    ("config", "told"),
    [
        ({"workspace": "nowhere"}, "nowhere"),
        (
            {"parameters": {"filters": [{"kind": "start_activity", "activities": "oder"}]}},
            "filters[0].activities: there is no activity 'oder'",
        ),
        ({"parameters": {"filters": [{"kind": "variants"}]}}, "filters[0]: give either 'top' or 'coverage'"),
        ({"parameters": {"filter": []}}, "filter: Extra inputs are not permitted"),
    ],
)
def test_what_is_refused_fails_the_run_with_the_reason_and_queues_nothing(
    installation: Settings, workspace: Workspace, config: dict[str, Any], told: str
) -> None:
    before = asked(installation, workspace)
    failed = launch(**{"workspace": workspace.slug, **config})
    assert not failed.success
    (event,) = failed.get_step_failure_events()
    assert event.step_failure_data.error is not None
    assert told in event.step_failure_data.error.message
    assert asked(installation, workspace) == before
