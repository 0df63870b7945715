"""The sensor that keeps every workspace true: it starts the runs that workspaces need, one at a time for each."""

from collections.abc import Sequence
from datetime import UTC, datetime

import dagster as dg

from orchestration.automation import corrections, freshness
from orchestration.automation.analyses import analysis_job
from orchestration.automation.asking import asking_job
from orchestration.automation.dead_runs import fail_dead_runs
from orchestration.automation.delivery import delivery_job
from orchestration.automation.intake import inbox_requests
from orchestration.automation.looks import Look, look_at_due, settle
from orchestration.automation.planner import plan_run
from orchestration.automation.refresh import JOBS, requests_of
from orchestration.automation.syncing import sync_connector
from orchestration.automation.tags import WORKSPACE_TAG
from orchestration.automation.under_way import busy_workspaces, failed_since, runs_in_progress
from orchestration.partitions import WORKSPACE_PARTITIONS_NAME, workspace_partitions
from orchestration.settings import load_settings

_JOB_NAMES = {
    *(job.name for job in JOBS),
    *(job.name for job in corrections.JOBS),
    delivery_job.name,
    analysis_job.name,
    asking_job.name,
    sync_connector.name,
}


@dg.sensor(
    jobs=[*JOBS, delivery_job],
    minimum_interval_seconds=5,
    default_status=dg.DefaultSensorStatus.RUNNING,
)
def arrival_sensor(context: dg.SensorEvaluationContext) -> dg.SensorResult:
    """Start what workspaces need: a delivery of dropped files, arrival run, case run, or another attempt at one."""
    settings, now = load_settings(), datetime.now(UTC)
    records = runs_in_progress(context.instance)
    for run_id in fail_dead_runs(context.instance, records, _JOB_NAMES, now):
        context.log.warning(f"run {run_id} is dead: its process was killed")
    busy = busy_workspaces(context.instance, records)
    deliveries = list(inbox_requests(context.instance, busy, now))
    busy |= {request.tags[WORKSPACE_TAG] for request in deliveries}
    looks = look_at_due(settings, plan_run, now, busy=busy)
    settle(settings, [look for look in looks if look.has_ended and not _ended_badly(context.instance, look)])
    for line in told(looks):
        context.log.info(line)
    report_is_due = freshness.is_due(context.cursor, now)
    requests = [*deliveries, *requests_of(looks)]
    return dg.SensorResult(
        run_requests=requests,
        dynamic_partitions_requests=_new_partitions(context.instance, looks),
        skip_reason=None if requests else "No workspace needs a run now.",
        asset_events=[freshness.report(settings, now)] if report_is_due else [],
        cursor=now.isoformat() if report_is_due else context.cursor,
    )


def _ended_badly(instance: dg.DagsterInstance, look: Look) -> bool:
    """Whether a run of the job failed since the job began: then its failure is told, though nothing is stale."""
    return look.job.started_at is not None and look.mark.slug in failed_since(instance, look.job.started_at)


def _new_partitions(
    instance: dg.DagsterInstance, looks: Sequence[Look]
) -> list[dg.AddDynamicPartitionsRequest]:
    """The partitions of workspaces that were made while Dagster was down; only a first look asks for them."""
    slugs = {look.mark.slug for look in looks if look.first}
    if not slugs:
        return []
    missing = slugs - set(instance.get_dynamic_partitions(WORKSPACE_PARTITIONS_NAME))
    return [workspace_partitions.build_add_request(sorted(missing))] if missing else []


def told(looks: Sequence[Look]) -> list[str]:
    """What was found, a line for each workspace that is stale."""
    lines = []
    for look in looks:
        if look.plan is None:
            continue
        months = f"{look.plan.kind} run over {look.plan.first} to {look.plan.last}"
        since = f"stale since {look.mark.stale_since:%Y-%m-%d %H:%M} UTC"
        if look.requested:
            lines.append(f"{look.mark.slug}: {months}, attempt {look.mark.attempts}; {since}")
        else:
            when = f"the next attempt is at {look.mark.not_before:%H:%M:%S} UTC"
            lines.append(f"{look.mark.slug}: {months} failed {look.mark.attempts} time(s), {when}; {since}")
    return lines
