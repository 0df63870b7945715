"""Two refreshes of one workspace: kept apart by its lock, and where that fails, by the parent of the release."""

import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from time import monotonic, sleep

import pytest

from orchestration.control_plane import database, jobs, releases
from orchestration.control_plane.database import Connection
from orchestration.control_plane.jobs import AnalysisJob, AttemptOvertaken
from orchestration.control_plane.releases import NewRelease, ReleaseConflict
from orchestration.settings import Settings
from orchestration.stages.publish import read_state
from orchestration.stages.release import make_release
from orchestration.stages.workbench import today
from tests.faults.growing_log import GrowingLog
from tests.faults.reader import Reader, Release
from tests.faults.refresh import Orders, Refresh, refreshed

LOCK_SECONDS = 1.5
"""So long does a refresh wait while we hold the lock; without the lock it would be at work by then."""


@pytest.fixture
def log(growing_log: Callable[[str], GrowingLog], request: pytest.FixtureRequest) -> GrowingLog:
    """A workspace of the test's own with something to refresh."""
    log = growing_log(request.node.name.removeprefix("test_").replace("_", "-")[:41])
    log.grow()
    return log


@pytest.mark.slow
def test_a_refresh_waits_for_the_lock_of_the_workspace(
    log: GrowingLog, installation: Settings, tmp_path: Path
) -> None:
    with database.workspace_lock(installation.system_dsn, log.workspace.id):
        refresh = Refresh(installation, log.slug, tmp_path)
        _wait_until(lambda: _waiting_for_a_lock(installation))
        sleep(LOCK_SECONDS)
        assert refresh.runs
        assert _counts(installation, log)["staged_files"] == 0
        assert _job(installation, log).attempt == 0
    assert refresh.wait() == 0, refresh.said
    Reader(installation, log.workspace).read()


@pytest.mark.slow
def test_two_refreshes_at_once_do_one_after_the_other_and_release_once(
    log: GrowingLog, installation: Settings, tmp_path: Path
) -> None:
    spans = [tmp_path / "first", tmp_path / "second"]
    both = [Refresh(installation, log.slug, tmp_path, Orders(span.name, span=span)) for span in spans]
    for refresh in both:
        assert refresh.wait(120) == 0, refresh.said
    (_, first_end), (second_begin, _) = sorted(_span(path) for path in spans)
    assert first_end < second_begin
    assert _counts(installation, log)["provenance"] == 1
    assert _job(installation, log).attempt == 2
    Reader(installation, log.workspace).read()


@pytest.mark.slow
def test_a_killed_holder_gives_the_lock_up(log: GrowingLog, installation: Settings, tmp_path: Path) -> None:
    killed = Refresh(installation, log.slug, tmp_path)
    _wait_until(lambda: _counts(installation, log)["staged_files"] > 0)
    killed.kill()
    assert killed.wait() == -9
    with database.workspace_lock(installation.system_dsn, log.workspace.id, timeout_seconds=10):
        pass
    refreshed(installation, log.slug, tmp_path)
    Reader(installation, log.workspace).read()


@pytest.mark.slow
def test_a_release_on_a_stale_parent_is_refused_and_changes_nothing(
    log: GrowingLog, installation: Settings, tmp_path: Path
) -> None:
    refreshed(installation, log.slug, tmp_path)
    reader = Reader(installation, log.workspace)
    old = reader.read()
    log.grow()
    refreshed(installation, log.slug, tmp_path)
    new, before = reader.read(), _counts(installation, log)
    for parent in (old.provenance_id, None):
        with pytest.raises(ReleaseConflict, match="refresh again"):
            _release_on(installation, log, parent)
    assert _counts(installation, log) == before
    assert reader.read() == new


@pytest.mark.slow
def test_of_two_releases_on_one_parent_at_the_same_moment_one_is_made(
    log: GrowingLog, installation: Settings, tmp_path: Path
) -> None:
    """As if the lock had failed: both have read the parent, and the second swaps while the first is not committed."""
    refreshed(installation, log.slug, tmp_path)
    reader = Reader(installation, log.workspace)
    old = reader.read()
    refused = threading.Event()

    def release_second() -> None:
        with pytest.raises(ReleaseConflict):
            _publish(installation, log, old)
        refused.set()

    with _system(installation, log) as connection:
        first = releases.publish(connection, _same_again(log, old), [])
        thread = threading.Thread(target=release_second)
        thread.start()
        _wait_until(lambda: _waiting_for_a_lock(installation))
        assert _job(installation, log).provenance_id == old.provenance_id
    thread.join(20)
    assert refused.is_set()
    assert _job(installation, log).provenance_id == first
    assert _counts(installation, log)["provenance"] == 2


def test_a_job_takes_the_result_of_its_newest_attempt_only(log: GrowingLog, installation: Settings) -> None:
    workspace_id, analysis_id = log.workspace.id, log.analysis_id
    with _system(installation, log) as connection:
        overtaken = jobs.start(connection, workspace_id, analysis_id)
        newest = jobs.start(connection, workspace_id, analysis_id)
    assert newest.attempt == overtaken.attempt + 1
    with pytest.raises(AttemptOvertaken), _system(installation, log) as connection:
        jobs.succeed(connection, workspace_id, analysis_id, overtaken.attempt)
    with pytest.raises(AttemptOvertaken), _system(installation, log) as connection:
        jobs.fail(connection, workspace_id, analysis_id, overtaken.attempt, "too late")
    assert _job(installation, log) == newest
    with _system(installation, log) as connection:
        jobs.succeed(connection, workspace_id, analysis_id, newest.attempt)
    assert _job(installation, log).status == "succeeded"


def _release_on(settings: Settings, log: GrowingLog, parent_id: str | None) -> None:
    """Release the working tree as a run would that has read ``parent_id`` as the current release."""
    with _system(settings, log) as connection:
        job = jobs.standing_job(connection, log.workspace.id)
        make_release(
            connection,
            read_state(connection, job, today()),
            [],
            workspace_id=log.workspace.id,
            analysis_id=job.id,
            run_id="late",
            parent_id=parent_id,
        )


def _publish(settings: Settings, log: GrowingLog, parent: Release) -> None:
    with _system(settings, log) as connection:
        releases.publish(connection, _same_again(log, parent), [])


def _same_again(log: GrowingLog, parent: Release) -> NewRelease:
    return NewRelease(
        workspace_id=log.workspace.id,
        analysis_id=log.analysis_id,
        parent_id=parent.provenance_id,
        run_id="again",
        as_of=today(),
        content_sha256=parent.content_sha256,
        etl_steps=[],
        schemas={},
        mining_config={},
        explainability_config={},
        audits=[],
    )


def _system(settings: Settings, log: GrowingLog) -> AbstractContextManager[Connection]:
    return database.as_system(settings.system_dsn, log.workspace.id)


def _job(settings: Settings, log: GrowingLog) -> AnalysisJob:
    with _system(settings, log) as connection:
        return jobs.standing_job(connection, log.workspace.id)


def _counts(settings: Settings, log: GrowingLog) -> dict[str, int]:
    """The rows of the tables that a refresh writes."""
    counts = {}
    with _system(settings, log) as connection:
        for table in ("staged_files", "provenance", "release_files", "explainability"):
            (row,) = connection.execute(f"select count(*) as rows from {table}").fetchall()
            counts[table] = row["rows"]
    return counts


def _span(path: Path) -> tuple[int, int]:
    begin, end = path.read_text().split()
    return int(begin), int(end)


def _waiting_for_a_lock(settings: Settings) -> bool:
    with database.transaction(settings.system_dsn) as connection:
        return bool(connection.execute("select 1 from pg_locks where not granted").fetchall())


def _wait_until(reached: Callable[[], bool], seconds: float = 30) -> None:
    deadline = monotonic() + seconds
    while not reached():
        assert monotonic() < deadline, "it did not come to that"
        sleep(0.02)
