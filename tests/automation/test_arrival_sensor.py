"""The sensor over the real control plane and an instance in memory."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from typer.testing import CliRunner

from orchestration.automation.arrivals import arrival_sensor
from orchestration.cli import app
from orchestration.control_plane import database, jobs, workspaces
from orchestration.partitions import WORKSPACE_PARTITIONS_NAME
from orchestration.settings import Settings
from orchestration.stages.workbench import digest


@pytest.fixture(scope="module", autouse=True)
def _home(installation: Settings) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CASETRAIL_HOME", str(installation.home))
        yield


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as instance:
        yield instance


def run(*arguments: str) -> None:
    ended = CliRunner().invoke(app, list(arguments))
    assert ended.exit_code == 0, ended.output


def tick(instance: dg.DagsterInstance, cursor: str | None = None) -> Any:
    return arrival_sensor(dg.build_sensor_context(instance=instance, cursor=cursor))


def requests_for(result: Any, slug: str) -> list[dg.RunRequest]:
    return [r for r in result.run_requests if r.tags["casetrail/workspace"] == slug]


def test_an_upload_becomes_one_run_and_no_second_while_it_is_under_way(
    instance: dg.DagsterInstance, tmp_path: Path
) -> None:
    run("workspace", "create", "sensed", "--slug", "sensed", "--owner", "ada@sensed.test")
    found = tick(instance)
    assert "sensed" in found.dynamic_partitions_requests[0].partition_keys
    instance.add_dynamic_partitions(WORKSPACE_PARTITIONS_NAME, ["sensed"])
    log = tmp_path / "log.csv"
    log.write_text("case,activity,time\na,order,2024-01-10T10:00:00Z\na,pay,2024-03-10T10:00:00Z\n")
    run("upload", "sensed", str(log))
    found = tick(instance)
    assert not found.dynamic_partitions_requests
    (request,) = requests_for(found, "sensed")
    assert request.job_name == "refresh_job"
    assert request.tags["dagster/asset_partition_range_start"] == "2024-01|sensed"
    assert request.tags["dagster/asset_partition_range_end"] == "2024-03|sensed"
    instance.add_run(
        dg.DagsterRun(job_name="refresh_job", tags=request.tags, status=dg.DagsterRunStatus.STARTING)
    )
    assert requests_for(tick(instance), "sensed") == []


def test_a_run_that_ended_without_a_result_is_tried_again_under_another_key(
    instance: dg.DagsterInstance, tmp_path: Path
) -> None:
    run("workspace", "create", "again", "--slug", "again", "--owner", "ada@sensed.test")
    log = tmp_path / "log.csv"
    log.write_text("case,activity,time\na,order,2024-01-10T10:00:00Z\n")
    run("upload", "again", str(log))
    (first,), (second,) = requests_for(tick(instance), "again"), requests_for(tick(instance), "again")
    assert first.run_key != second.run_key
    assert first.tags["casetrail/plan"] == second.tags["casetrail/plan"]
    assert requests_for(tick(instance), "again") == [], "the third attempt waits"


@pytest.mark.parametrize("ended", ["failed", "well"])
def test_a_job_that_a_run_left_running_is_ended_unless_that_run_failed(
    instance: dg.DagsterInstance, installation: Settings, ended: str
) -> None:
    slug = f"left-{ended}"
    run("workspace", "create", slug, "--slug", slug, "--owner", "ada@sensed.test")
    tick(instance)
    with database.as_system(installation.system_dsn, None) as connection:
        workspace = workspaces.find_workspace(connection, slug)
    with database.as_system(installation.system_dsn, workspace.id) as connection:
        job = jobs.start(connection, workspace.id, jobs.standing_job(connection, workspace.id).id)
        connection.execute(
            "insert into provenance (workspace_id, analysis_id, etl_steps, schemas, mining_config,"
            " explainability_config, as_of, content_sha256)"
            " values (%s, %s, '[]', '{}', '{}', '{}', now(), %s)",
            (workspace.id, job.id, digest([])),
        )
        connection.execute(
            "update analysis_jobs set provenance_id = (select id from provenance where workspace_id = %s)"
            " where workspace_id = %s",
            (workspace.id, workspace.id),
        )
    if ended == "failed":
        tags = {"dagster/partition": f"2024-01|{slug}"}
        begun = dg.DagsterRun(job_name="__ASSET_JOB", tags=tags, status=dg.DagsterRunStatus.STARTED)
        instance.add_run(begun)
        instance.report_run_failed(begun, "a raw file is gone")
    tick(instance)
    with database.as_system(installation.system_dsn, workspace.id) as connection:
        status = jobs.standing_job(connection, workspace.id).status
    assert status == ("running" if ended == "failed" else "succeeded"), "its failure is told by failed_runs"


def test_freshness_is_reported_once_an_hour(instance: dg.DagsterInstance) -> None:
    found = tick(instance)
    assert [event.asset_key.to_user_string() for event in found.asset_events] == ["releases_are_current"]
    assert tick(instance, found.cursor).asset_events == []
    assert datetime.fromisoformat(found.cursor) <= datetime.now(UTC)
