"""The refresh jobs, how a plan becomes a run request, and the daily catch-up."""

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime

import dagster as dg

from orchestration.automation.looks import Look, look_at_due
from orchestration.automation.planner import RunKind, RunPlan, plan_catch_up
from orchestration.automation.tags import PLAN_TAG, WORKSPACE_TAG
from orchestration.automation.under_way import busy_workspaces, runs_in_progress
from orchestration.control_plane.planner_marks import PlannerMark
from orchestration.partitions import partition_key, workspace_months
from orchestration.resources import LEDGER_TAG
from orchestration.settings import load_installation, load_settings

_CASES = dg.AssetSelection.assets("cases", "variants", "process_map", "explainability", "provenance")
_ARRIVAL = dg.AssetSelection.assets("raw_records", "events")

_SELECTIONS: dict[RunKind, tuple[str, dg.AssetSelection]] = {
    "arrival": ("arrival_job", _ARRIVAL),
    "cases": ("case_job", _CASES),
    "refresh": ("refresh_job", _ARRIVAL | _CASES),
}

JOBS = [
    dg.define_asset_job(
        name,
        selection=selection,
        partitions_def=workspace_months,
        executor_def=dg.in_process_executor,
        description=f"The {kind} run of a workspace over a range of months.",
        tags={"dagster/max_runtime": str(load_installation().max_run_seconds)},
    )
    for kind, (name, selection) in _SELECTIONS.items()
]


def run_request(mark: PlannerMark, plan: RunPlan) -> dg.RunRequest:
    """The ranged run of a plan. Its key counts the workspace's runs, since no key is ever launched twice.

    Months before the first partition hold nothing any more; the stages drop such months whatever the range.
    """
    job_name, _selection = _SELECTIONS[plan.kind]
    first, last = (max(month, load_installation().first_month) for month in (plan.first, plan.last))
    return dg.RunRequest(
        job_name=job_name,
        run_key=f"{mark.slug}/{plan.kind}/{plan.subject}/{mark.requested}",
        tags={
            "dagster/asset_partition_range_start": partition_key(mark.slug, first),
            "dagster/asset_partition_range_end": partition_key(mark.slug, last),
            WORKSPACE_TAG: mark.slug,
            PLAN_TAG: plan.subject,
            LEDGER_TAG: str(mark.ledger),
        },
    )


def requests_of(looks: Iterable[Look]) -> Iterator[dg.RunRequest]:
    """The runs that were decided on."""
    for look in looks:
        if look.requested and look.plan is not None:
            yield run_request(look.mark, look.plan)


@dg.schedule(
    job_name="refresh_job",
    cron_schedule="17 3 * * *",
    execution_timezone="UTC",
    default_status=dg.DefaultScheduleStatus.RUNNING,
)
def daily_refresh(context: dg.ScheduleEvaluationContext) -> Iterator[dg.RunRequest]:
    """Once a day: refresh what is stale, also what waits for its next attempt after several failures."""
    busy = busy_workspaces(context.instance, runs_in_progress(context.instance))
    now = datetime.now(UTC)
    yield from requests_of(look_at_due(load_settings(), plan_catch_up, now, busy=busy, at_once=True))
