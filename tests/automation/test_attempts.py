"""When a plan is run, tried again, or given time: decided from a planner mark alone."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from orchestration.automation.attempts import DELAYS, LONGEST_DELAY, decide, delay_after
from orchestration.automation.planner import RunPlan
from orchestration.control_plane.planner_marks import PlannerMark

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
PLAN = RunPlan("arrival", "2024-01", "2024-02", "subject")
FRESH = PlannerMark(
    workspace_id="w", slug="acme", changed=7, ledger=3, planned=0, code_version=None, looked_at=None, look_at=None,
    plan_subject=None, attempts=0, not_before=None, stale_since=None, requested=4,
)  # fmt: skip


def look(
    mark: PlannerMark, plan: RunPlan | None, now: datetime = NOW, **more: bool
) -> tuple[PlannerMark, bool]:
    return decide(mark, plan, now=now, look_at=None, code_version="v", **more)


def test_a_look_notes_what_it_has_seen() -> None:
    mark, requested = look(FRESH, None)
    assert not requested
    assert (mark.planned, mark.code_version, mark.looked_at) == (7, "v", NOW)
    assert (mark.plan_subject, mark.stale_since) == (None, None)


def test_a_new_plan_is_run_at_once_and_makes_the_workspace_stale_since_now() -> None:
    mark, requested = look(FRESH, PLAN)
    assert requested
    assert (mark.plan_subject, mark.attempts, mark.requested) == ("subject", 1, 5)
    assert (mark.stale_since, mark.not_before) == (NOW, None)


def test_a_workspace_is_stale_from_the_first_plan_until_none_is_left() -> None:
    mark, _ = look(FRESH, PLAN)
    mark, _ = look(mark, replace(PLAN, subject="cases"), NOW + timedelta(minutes=3))
    assert mark.stale_since == NOW
    mark, _ = look(mark, None, NOW + timedelta(minutes=4))
    assert (mark.stale_since, mark.plan_subject, mark.attempts) == (None, None, 0)


def test_the_second_attempt_is_at_once_and_the_later_ones_wait_longer_each_time() -> None:
    mark, now, waited = look(FRESH, PLAN)[0], NOW, []
    for _ in range(len(DELAYS) + 2):
        ended = now
        mark, requested = look(mark, PLAN, ended)
        if not requested:
            assert mark.not_before is not None
            assert not look(mark, PLAN, mark.not_before - timedelta(seconds=1))[1]
            now = mark.not_before
            mark, requested = look(mark, PLAN, now)
        assert requested
        waited.append(now - ended)
    assert waited == [*DELAYS, LONGEST_DELAY, LONGEST_DELAY]
    assert waited[0] == timedelta(0)


def test_looking_again_does_not_put_the_next_attempt_off() -> None:
    waiting = replace(FRESH, plan_subject="subject", attempts=2, not_before=NOW + timedelta(seconds=30))
    mark, requested = look(waiting, PLAN)
    assert not requested
    assert mark.not_before == waiting.not_before


def test_another_subject_starts_anew() -> None:
    waiting = replace(FRESH, plan_subject="other", attempts=5, not_before=NOW + timedelta(hours=1))
    mark, requested = look(waiting, PLAN)
    assert requested
    assert (mark.attempts, mark.not_before) == (1, None)


def test_the_daily_refresh_does_not_wait() -> None:
    waiting = replace(FRESH, plan_subject="subject", attempts=9, not_before=NOW + timedelta(hours=1))
    mark, requested = look(waiting, PLAN, at_once=True)
    assert requested
    assert mark.attempts == 10


def test_the_number_of_runs_never_falls() -> None:
    mark, numbers = FRESH, []
    for plan in (PLAN, PLAN, None, PLAN, replace(PLAN, subject="other"), PLAN):
        mark, requested = look(mark, plan)
        numbers += [mark.requested] if requested else []
    assert numbers == sorted(set(numbers))
    assert len(numbers) == 5


def test_delays_never_shrink() -> None:
    delays = [delay_after(attempts) for attempts in range(1, 12)]
    assert delays == sorted(delays)
