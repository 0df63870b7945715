"""The queue of analyses on demand: a run for each that waits, and the truth about those whose run died.

Not here: noticing that the process of a run is gone, which the arrival sensor does for all runs (``dead_runs``).
"""

import dagster as dg

from orchestration.automation.tags import ANALYSIS_TAG
from orchestration.control_plane import analyses, database, jobs
from orchestration.control_plane.analyses import QueuedAnalysis
from orchestration.partitions import (
    analysis_key,
    analysis_partitions,
    workspace_analyses,
)
from orchestration.settings import load_installation, load_settings

analysis_job = dg.define_asset_job(
    "analysis_job",
    selection=dg.AssetSelection.groups("analysis_on_demand"),
    partitions_def=workspace_analyses,
    executor_def=dg.in_process_executor,
    description="Answers one analysis on demand.",
    # A run that died is not tried again by itself: its analysis has failed by then, and may be asked for again.
    tags={"dagster/max_runtime": str(load_installation().max_run_seconds), "dagster/max_retries": "0"},
)


@dg.sensor(job=analysis_job, minimum_interval_seconds=2, default_status=dg.DefaultSensorStatus.RUNNING)
def analysis_queue(context: dg.SensorEvaluationContext) -> dg.SensorResult | dg.SkipReason:
    """Start a run for each analysis that waits. At rest it is one query."""
    settings = load_settings()
    with database.as_system(settings.system_dsn, None) as connection:
        waiting = analyses.queued_analyses(connection)
    for job in waiting:
        if job.is_cancelled:
            with database.as_system(settings.system_dsn, job.workspace_id) as connection:
                analyses.end_cancelled(connection, job.workspace_id, job.id)
    requests = [run_request(job) for job in waiting if not job.is_cancelled]
    if not requests:
        return dg.SkipReason("No analysis waits for a run.")
    keys = [job.id for job in waiting if not job.is_cancelled]
    return dg.SensorResult(
        run_requests=requests,
        dynamic_partitions_requests=[analysis_partitions.build_add_request(keys)],
    )


def run_request(job: QueuedAnalysis) -> dg.RunRequest:
    """The run of an analysis. Its key is the analysis: however often the sensor sees it wait, it gets one run."""
    return dg.RunRequest(
        run_key=job.id, partition_key=analysis_key(job.slug, job.id), tags={ANALYSIS_TAG: job.id}
    )


def note_analysis_failure(analysis_id: str, message: str) -> None:
    """The run of an analysis ended without an answer; nothing happens if the run has said so itself."""
    dsn = load_settings().system_dsn
    with database.as_system(dsn, None) as connection:
        try:
            job = jobs.get_job(connection, None, analysis_id)
        except jobs.UnknownJob:
            return
    with database.as_system(dsn, job.workspace_id) as connection:
        if job.status == "queued":
            job = jobs.claim(connection, job.workspace_id, job.id) or job
        if job.status == "running":
            jobs.fail(connection, job.workspace_id, job.id, job.attempt, message)
