"""What a look at a workspace leads to: a run now, a later attempt, or rest. Pure functions over its planner mark."""

from dataclasses import replace
from datetime import datetime, timedelta

from orchestration.automation.planner import RunPlan
from orchestration.control_plane.planner_marks import PlannerMark

DELAYS = (
    timedelta(0),
    timedelta(minutes=1),
    timedelta(minutes=5),
    timedelta(minutes=30),
    timedelta(hours=2),
)
"""From the end of an attempt without a result to the next one. The first is at once: often a process was killed."""

LONGEST_DELAY = timedelta(days=1)
"""After the last of the delays; the daily refresh is about as often."""


def delay_after(attempts: int) -> timedelta:
    """How long a plan waits after so many attempts without a result."""
    return DELAYS[attempts - 1] if attempts <= len(DELAYS) else LONGEST_DELAY


def decide(
    mark: PlannerMark,
    plan: RunPlan | None,
    *,
    now: datetime,
    look_at: datetime | None,
    code_version: str,
    at_once: bool = False,
) -> tuple[PlannerMark, bool]:
    """The mark after this look, and whether a run of the plan is to be requested.

    The workspace has no run under way. So a plan with the subject of the last attempt means that this attempt ended
    without a result: it is tried again, later each time. Another subject is another plan, and starts anew.

    Args:
        mark: of the workspace, read before the ledgers that ``plan`` comes from.
        plan: what the workspace needs; None if nothing.
        now: UTC.
        look_at: when the clock alone will make something stale.
        code_version: of the stages.
        at_once: do not wait for the time of the next attempt.
    """
    looked = replace(mark, planned=mark.changed, code_version=code_version, looked_at=now, look_at=look_at)
    if plan is None:
        return replace(looked, plan_subject=None, attempts=0, not_before=None, stale_since=None), False
    looked = replace(looked, stale_since=mark.stale_since or now)
    if plan.subject != mark.plan_subject:
        looked = replace(looked, plan_subject=plan.subject, attempts=0)
        return _requested(looked), True
    due = mark.not_before or now + delay_after(mark.attempts)
    if at_once or due <= now:
        return _requested(looked), True
    return replace(looked, not_before=due), False


def _requested(mark: PlannerMark) -> PlannerMark:
    return replace(mark, attempts=mark.attempts + 1, requested=mark.requested + 1, not_before=None)
