"""Asking for analyses on demand: by whom, of what, recognised, and not wanted any more."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from orchestration.control_plane import analyses, database, jobs, members, releases
from orchestration.control_plane.analyses import QueuedAnalysis
from orchestration.control_plane.errors import NotAllowed
from orchestration.control_plane.jobs import AnalysisJob, UnknownJob
from orchestration.control_plane.workspaces import Workspace
from orchestration.settings import Settings
from orchestration.stages.workbench import today

ANN = "ann@acme.test"


@pytest.fixture(scope="module")
def base(control_plane: Settings, acme: Workspace) -> str:
    """A release of the standing analysis."""
    return release(control_plane, acme, "a")


def release(settings: Settings, workspace: Workspace, content: str) -> str:
    with database.as_system(settings.system_dsn, workspace.id) as connection:
        job = jobs.standing_job(connection, workspace.id)
        new = releases.NewRelease(
            workspace_id=workspace.id,
            analysis_id=job.id,
            parent_id=job.provenance_id,
            run_id="r",
            as_of=today(),
            content_sha256=content * 64,
            etl_steps=[],
            schemas={},
            mining_config={},
            explainability_config={},
            audits=[],
        )
        return releases.publish(connection, new, [])


def ask(settings: Settings, workspace: Workspace, base: str, size: int = 2) -> AnalysisJob:
    with database.as_user(settings.app_dsn, ANN) as connection:
        return analyses.enqueue(connection, workspace.id, {"size": size}, base)


def answered(settings: Settings, job: AnalysisJob) -> None:
    with database.as_system(settings.system_dsn, job.workspace_id) as connection:
        started = jobs.claim(connection, job.workspace_id, job.id)
        assert started is not None
        jobs.succeed(connection, job.workspace_id, job.id, started.attempt)


def test_a_queued_analysis_is_claimed_by_one_run(control_plane: Settings, acme: Workspace, base: str) -> None:
    wanted = ask(control_plane, acme, base)
    assert (wanted.kind, wanted.status, wanted.base_provenance_id) == ("on_demand", "queued", base)
    assert wanted.created_by is not None

    def claim(_: int) -> bool:
        with database.as_system(control_plane.system_dsn, acme.id) as connection:
            return jobs.claim(connection, acme.id, wanted.id) is not None

    with ThreadPoolExecutor(4) as pool:
        assert sorted(pool.map(claim, range(8))) == [False] * 7 + [True]
    with database.as_system(control_plane.system_dsn, acme.id) as connection:
        assert jobs.get_job(connection, acme.id, wanted.id).attempt == 1


def test_the_queue_holds_what_waits_in_its_order(control_plane: Settings, acme: Workspace, base: str) -> None:
    first, second = ask(control_plane, acme, base), ask(control_plane, acme, base)
    with database.as_user(control_plane.app_dsn, ANN) as connection:
        analyses.request_cancellation(connection, acme.id, second.id)
        analyses.request_cancellation(connection, acme.id, second.id)
    with database.as_system(control_plane.system_dsn, None) as connection:
        waiting = analyses.queued_analyses(connection)
    assert waiting == [
        QueuedAnalysis(first.id, acme.id, acme.slug, is_cancelled=False),
        QueuedAnalysis(second.id, acme.id, acme.slug, is_cancelled=True),
    ]
    with database.as_system(control_plane.system_dsn, acme.id) as connection:
        assert analyses.is_cancelled(connection, acme.id, second.id)
        assert not analyses.is_cancelled(connection, acme.id, first.id)


def test_a_question_is_recognised_by_its_parameters_and_the_content_of_its_release(
    control_plane: Settings, acme: Workspace, base: str
) -> None:
    job = ask(control_plane, acme, base, size=7)
    same = release(control_plane, acme, "a")
    other = release(control_plane, acme, "b")

    def known(size: int, release: str) -> str | None:
        with database.as_user(control_plane.app_dsn, ANN) as connection:
            found = analyses.answered_before(connection, acme.id, {"size": size}, release)
        return found and found.id

    assert known(7, base) is None, "it is not answered yet"
    answered(control_plane, job)
    assert known(7, base) == known(7, same) == job.id
    assert known(8, base) is None
    assert known(7, other) is None


def test_a_viewer_may_look_and_not_ask(control_plane: Settings, acme: Workspace, base: str) -> None:
    job = ask(control_plane, acme, base)
    with database.as_user(control_plane.app_dsn, control_plane.operator) as connection:
        members.set_member(connection, acme.id, "vic@acme.test", "viewer")
    for attempt in (
        lambda connection: analyses.enqueue(connection, acme.id, {}, base),
        lambda connection: analyses.request_cancellation(connection, acme.id, job.id),
    ):
        with (
            database.as_user(control_plane.app_dsn, "vic@acme.test") as connection,
            pytest.raises(NotAllowed, match="analyst"),
        ):
            attempt(connection)
    with database.as_user(control_plane.app_dsn, "vic@acme.test") as connection:
        assert analyses.find_job(connection, acme.id, job.id[:20]).id == job.id


def test_an_id_may_be_given_by_its_beginning_if_that_is_unambiguous(
    control_plane: Settings, acme: Workspace, base: str
) -> None:
    ask(control_plane, acme, base)
    with database.as_user(control_plane.app_dsn, ANN) as connection:
        for prefix, told in (("0", "analyses with an id"), ("no", "no analysis with an id")):
            with pytest.raises(UnknownJob, match=told):
                analyses.find_job(connection, acme.id, prefix)


def test_the_newest_come_first_and_the_older_ones_in_pages(
    control_plane: Settings, acme: Workspace, base: str
) -> None:
    asked = [ask(control_plane, acme, base).id for _ in range(5)]
    with database.as_user(control_plane.app_dsn, ANN) as connection:
        first = [job.id for job in analyses.newest(connection, acme.id, 2)]
        second = [job.id for job in analyses.newest(connection, acme.id, 2, first[-1])]
    assert first + second == asked[:0:-1]


def test_what_was_cancelled_while_it_waited_has_failed_and_what_runs_goes_on(
    control_plane: Settings, acme: Workspace, base: str
) -> None:
    waits, runs = ask(control_plane, acme, base), ask(control_plane, acme, base)
    with database.as_system(control_plane.system_dsn, acme.id) as connection:
        jobs.claim(connection, acme.id, runs.id)
        for job in (waits, runs):
            analyses.end_cancelled(connection, acme.id, job.id)
        ended, going = (jobs.get_job(connection, acme.id, job.id) for job in (waits, runs))
    assert (ended.status, ended.error_message) == ("failed", "cancelled before it started")
    assert going.status == "running"
