"""One look at every workspace that needs one: marks, ledgers, plans, and the marks again. Knows nothing of Dagster."""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import datetime

from orchestration.automation.attempts import decide
from orchestration.automation.planner import RunPlan, next_look
from orchestration.control_plane import database, jobs, planner_marks
from orchestration.control_plane.jobs import AnalysisJob
from orchestration.control_plane.planner_marks import PlannerMark
from orchestration.settings import Settings
from orchestration.stages.release import WorkingTreeState
from orchestration.stages.staleness import CODE_VERSION
from orchestration.stages.survey import survey
from orchestration.stages.workbench import midnight_before

MOST_WORKSPACES = 100
"""So many are looked at in one tick, which Dagster gives 60 seconds: a new code version makes all of them due."""

Planner = Callable[[WorkingTreeState, str | None], RunPlan | None]


@dataclass(frozen=True)
class Look:
    """What a look at a workspace found: a plan to be run now if ``requested``, else one that waits."""

    mark: PlannerMark
    job: AnalysisJob
    plan: RunPlan | None
    requested: bool
    first: bool

    @property
    def has_ended(self) -> bool:
        """Whether the job is still called running though nothing is stale: its run had nothing to release."""
        return self.plan is None and self.job.status == "running" and self.job.provenance_id is not None


def look_at_due(
    settings: Settings,
    planner: Planner,
    now: datetime,
    *,
    busy: Collection[str] = (),
    at_once: bool = False,
    most: int | None = MOST_WORKSPACES,
) -> list[Look]:
    """Plan for the workspaces that need a look and have no run under way; their marks are written.

    A workspace at rest is not in the answer, and costs nothing but its row in the one query that finds the others.

    Args:
        settings: the installation's.
        planner: makes a plan of a workspace's ledgers.
        now: UTC.
        busy: slugs of workspaces with a run under way.
        at_once: also plans that wait for their next attempt.
        most: so many workspaces at most; None means all.
    """
    with database.as_planner(settings.system_dsn) as connection:
        marks = planner_marks.due_marks(
            connection, code_version=CODE_VERSION, now=now, busy=busy, waiting_too=at_once, most=most
        )
        surveyed = survey(connection, [mark.workspace_id for mark in marks], midnight_before(now))
        looks = []
        for mark in marks:
            found = surveyed[mark.workspace_id]
            plan = planner(found.state, found.released_content)
            after, requested = decide(
                mark,
                plan,
                now=now,
                look_at=next_look(found.state),
                code_version=CODE_VERSION,
                at_once=at_once,
            )
            looks.append(Look(after, found.job, plan, requested, first=mark.looked_at is None))
        planner_marks.record(connection, [look.mark for look in looks])
    return looks


def settle(settings: Settings, looks: Collection[Look]) -> None:
    """The jobs whose runs have ended with nothing to release have reached their end."""
    for look in looks:
        job = look.job
        if look.has_ended:
            with database.as_system(settings.system_dsn, job.workspace_id) as connection:
                jobs.succeed(connection, job.workspace_id, job.id, job.attempt)
