"""The refresh jobs, how a plan becomes a run request, and the daily catch-up."""

from collections.abc import Callable, Iterator

import dagster as dg

from orchestration.automation.intake import WORKSPACE_TAG
from orchestration.automation.planner import RunKind, RunPlan, plan_catch_up
from orchestration.control_plane import database, jobs, releases, workspaces
from orchestration.partitions import partition_key, workspace_months
from orchestration.settings import load_installation, load_settings
from orchestration.stages.publish import read_state
from orchestration.stages.release import WorkingTreeState
from orchestration.stages.workbench import today

PLAN_TAG = "casetrail/plan"

Planner = Callable[[WorkingTreeState, str | None], RunPlan | None]

_CASES = dg.AssetSelection.assets("cases", "variants", "process_map", "explainability", "provenance")
_ARRIVAL = dg.AssetSelection.assets("raw_csv_upload", "events")

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


def plans(planner: Planner, slugs: set[str] | None = None) -> Iterator[tuple[str, RunPlan]]:
    """What the planner wants for each workspace (of the named ones only, if given)."""
    with database.as_system(load_settings().system_dsn, None) as connection:
        for workspace in workspaces.list_workspaces(connection):
            if slugs is not None and workspace.slug not in slugs:
                continue
            job = jobs.standing_job(connection, workspace.id)
            released = None
            if job.provenance_id is not None:
                released = releases.provenance(connection, workspace.id, job.provenance_id)["content_sha256"]
            plan = planner(read_state(connection, job, today()), released)
            if plan is not None:
                yield workspace.slug, plan


def run_request(slug: str, plan: RunPlan, attempt: str) -> dg.RunRequest:
    """The ranged run of a plan. ``attempt`` is part of the run key: a key that was used is never launched again."""
    job_name, _selection = _SELECTIONS[plan.kind]
    return dg.RunRequest(
        job_name=job_name,
        run_key=f"{slug}/{plan.kind}/{plan.subject}/{attempt}",
        tags={
            "dagster/asset_partition_range_start": partition_key(slug, plan.first),
            "dagster/asset_partition_range_end": partition_key(slug, plan.last),
            WORKSPACE_TAG: slug,
            PLAN_TAG: plan.subject,
        },
    )


@dg.schedule(
    job_name="refresh_job",
    cron_schedule="17 3 * * *",
    execution_timezone="UTC",
    default_status=dg.DefaultScheduleStatus.RUNNING,
)
def daily_refresh(context: dg.ScheduleEvaluationContext) -> Iterator[dg.RunRequest]:
    """Once a day: refresh what is stale, also what the sensor has given up after several failures."""
    day = context.scheduled_execution_time.strftime("%Y-%m-%d")
    for slug, plan in plans(plan_catch_up):
        yield run_request(slug, plan, day)
