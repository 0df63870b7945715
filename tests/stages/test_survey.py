"""The ledgers of many workspaces in outline decide as the whole ledgers of one do."""

from pathlib import Path

from orchestration.automation.planner import plan_run
from orchestration.control_plane import database, jobs
from orchestration.settings import Settings
from orchestration.stages.opening import open_workspace
from orchestration.stages.publish import read_state
from orchestration.stages.release import stale_months
from orchestration.stages.survey import Surveyed, survey
from orchestration.stages.workbench import today
from tests.faults.growing_log import GrowingLog, new_workspace
from tests.faults.refresh import refresh_and_release


def surveyed(settings: Settings, log: GrowingLog, other: str) -> Surveyed:
    """What a survey of two workspaces finds of this one, after it was compared with the whole."""
    with database.as_system(settings.system_dsn, None) as connection:
        found = survey(connection, [log.workspace.id, other], today())[log.workspace.id]
        whole = read_state(connection, jobs.standing_job(connection, log.workspace.id), today())
    assert stale_months(found.state) == stale_months(whole)
    assert found.state.content_sha256() == whole.content_sha256()
    assert plan_run(found.state, found.released_content) == plan_run(whole, found.released_content)
    return found


def test_an_outline_is_planned_as_the_whole_is(installation: Settings, tmp_path: Path) -> None:
    log = GrowingLog(installation, new_workspace(installation, "surveyed"), tmp_path)
    other = new_workspace(installation, "beside").id
    assert surveyed(installation, log, other).released_content is None
    log.grow()
    assert stale_months(surveyed(installation, log, other).state)
    with open_workspace(installation, log.slug, "run") as opened:
        refresh_and_release(installation, opened, "run")
    found = surveyed(installation, log, other)
    assert stale_months(found.state) == {}
    assert found.released_content == found.state.content_sha256()
    log.grow()
    assert "events" in stale_months(surveyed(installation, log, other).state)


def test_no_workspaces_are_no_queries(installation: Settings) -> None:
    with database.as_system(installation.system_dsn, None) as connection:
        assert survey(connection, [], today()) == {}
