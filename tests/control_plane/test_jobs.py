"""Lives of analyses."""

from collections.abc import Iterator

import pytest

from orchestration.control_plane import database, jobs, members
from orchestration.control_plane.database import Connection
from orchestration.control_plane.jobs import AttemptOvertaken, UnknownJob
from orchestration.control_plane.workspaces import Workspace
from orchestration.settings import Settings


@pytest.fixture
def pipeline(control_plane: Settings, acme: Workspace) -> Iterator[Connection]:
    with database.as_system(control_plane.system_dsn, acme.id) as connection:
        yield connection
        connection.rollback()


def test_a_run_starts_and_succeeds(pipeline: Connection, acme: Workspace) -> None:
    job = jobs.standing_job(pipeline, acme.id)
    started = jobs.start(pipeline, acme.id, job.id)
    assert (started.status, started.attempt) == ("running", 1)
    assert started.started_at is not None
    assert started.finished_at is None
    jobs.succeed(pipeline, acme.id, job.id, started.attempt)
    done = jobs.get_job(pipeline, acme.id, job.id)
    assert done.status == "succeeded"
    assert done.finished_at is not None


def test_a_failure_is_told_until_the_next_start(pipeline: Connection, acme: Workspace) -> None:
    job = jobs.standing_job(pipeline, acme.id)
    attempt = jobs.start(pipeline, acme.id, job.id).attempt
    jobs.fail(pipeline, acme.id, job.id, attempt, "month 2024-01: no file")
    failed = jobs.standing_job(pipeline, acme.id)
    assert (failed.status, failed.error_message) == ("failed", "month 2024-01: no file")
    again = jobs.start(pipeline, acme.id, job.id)
    assert (again.status, again.error_message, again.attempt) == ("running", None, attempt + 1)


def test_an_overtaken_run_cannot_report(pipeline: Connection, acme: Workspace) -> None:
    job = jobs.standing_job(pipeline, acme.id)
    old = jobs.start(pipeline, acme.id, job.id).attempt
    new = jobs.start(pipeline, acme.id, job.id).attempt
    with pytest.raises(AttemptOvertaken):
        jobs.fail(pipeline, acme.id, job.id, old, "late")
    jobs.succeed(pipeline, acme.id, job.id, new)
    with pytest.raises(AttemptOvertaken):
        jobs.fail(pipeline, acme.id, job.id, new, "a result is final")
    assert jobs.standing_job(pipeline, acme.id).status == "succeeded"


def test_an_analyst_sets_the_standing_parameters_and_a_viewer_does_not(
    control_plane: Settings, operator: Connection, acme: Workspace
) -> None:
    members.set_member(operator, acme.id, "lea@acme.test", "analyst")
    members.set_member(operator, acme.id, "vic@acme.test", "viewer")
    operator.commit()
    with database.as_user(control_plane.app_dsn, "lea@acme.test") as connection:
        assert jobs.set_parameters(connection, acme.id, {"a": 1}).parameters == {"a": 1}
    with database.as_user(control_plane.app_dsn, "vic@acme.test") as connection:
        with pytest.raises(UnknownJob, match="only an analyst"):
            jobs.set_parameters(connection, acme.id, {"a": 2})
        assert jobs.standing_job(connection, acme.id).parameters == {"a": 1}


def test_planners_see_the_jobs_of_all_workspaces(
    control_plane: Settings, acme: Workspace, rival: Workspace
) -> None:
    with database.as_system(control_plane.system_dsn, None) as connection:
        standing = jobs.standing_jobs(connection, [acme.id, rival.id])
    assert standing.keys() == {acme.id, rival.id}


def test_another_workspaces_job_is_unknown(pipeline: Connection, rival: Workspace) -> None:
    with pytest.raises(UnknownJob):
        jobs.standing_job(pipeline, rival.id)
    with pytest.raises(UnknownJob):
        jobs.start(pipeline, rival.id, "00000000-0000-0000-0000-000000000000")
