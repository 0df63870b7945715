"""The sensor on arrivals: uploads in the ledger and files dropped in an inbox."""

from collections.abc import Iterator
from datetime import UTC, datetime

import dagster as dg

from orchestration.automation.dead_runs import fail_dead_runs
from orchestration.automation.intake import WORKSPACE_TAG, inbox_requests, intake_job
from orchestration.automation.job_status import settle
from orchestration.automation.planner import plan_run
from orchestration.automation.refresh import JOBS, PLAN_TAG, plans, run_request
from orchestration.control_plane import database, workspaces
from orchestration.partitions import WORKSPACE_PARTITIONS_NAME, workspace_partitions
from orchestration.settings import load_settings

MOST_ATTEMPTS = 3
"""A plan that failed so often waits for the daily refresh, or for something to change."""

_JOB_NAMES = [*(job.name for job in JOBS), intake_job.name]

_IN_PROGRESS = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]


@dg.sensor(
    jobs=[*JOBS, intake_job],
    minimum_interval_seconds=5,
    default_status=dg.DefaultSensorStatus.RUNNING,
)
def arrival_sensor(context: dg.SensorEvaluationContext) -> dg.SensorResult:
    """Start the runs that workspaces need, one at a time for each: intake of dropped files, arrival run, case run."""
    for run_id in fail_dead_runs(context.instance, _JOB_NAMES, datetime.now(UTC)):
        context.log.warning(f"run {run_id} is dead: its process was killed")
    known = {w.slug for w in _workspaces()}
    missing = known - set(context.instance.get_dynamic_partitions(WORKSPACE_PARTITIONS_NAME))
    additions = [workspace_partitions.build_add_request(sorted(missing))] if missing else []
    busy = _busy_workspaces(context.instance)
    free = known - busy - missing
    requests = list(inbox_requests(free))
    free -= {request.tags[WORKSPACE_TAG] for request in requests}
    requests += _refresh_requests(context, free)
    return dg.SensorResult(run_requests=requests, dynamic_partitions_requests=additions)


def _workspaces() -> list[workspaces.Workspace]:
    with database.as_system(load_settings().system_dsn, None) as connection:
        return workspaces.list_workspaces(connection)


def _busy_workspaces(instance: dg.DagsterInstance) -> set[str]:
    runs = instance.get_runs(dg.RunsFilter(statuses=_IN_PROGRESS))
    return {run.tags[WORKSPACE_TAG] for run in runs if WORKSPACE_TAG in run.tags}


def _refresh_requests(context: dg.SensorEvaluationContext, free: set[str]) -> Iterator[dg.RunRequest]:
    planned = set()
    for slug, plan in plans(plan_run, free):
        planned.add(slug)
        tried = context.instance.get_runs_count(
            dg.RunsFilter(tags={PLAN_TAG: plan.subject, WORKSPACE_TAG: slug})
        )
        if tried >= MOST_ATTEMPTS:
            context.log.warning(
                f"{slug}: gave up on the {plan.kind} run after {tried} attempts; see its last run"
            )
            continue
        yield run_request(slug, plan, str(tried))
    settle(free - planned)
