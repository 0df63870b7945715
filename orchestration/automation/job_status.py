"""The status of jobs follows their runs: set inside a run, and here for runs that died or released nothing."""

import dagster as dg

from orchestration.automation.analyses import note_analysis_failure
from orchestration.automation.dead_runs import KILLED
from orchestration.automation.tags import ANALYSIS_TAG
from orchestration.automation.under_way import only_workspace
from orchestration.control_plane import database, jobs, workspaces
from orchestration.notify.rounds import report_failure
from orchestration.settings import load_settings


def note_failure(slug: str, message: str) -> None:
    """The standing job of a workspace failed with this message, unless a newer attempt has already ended it.

    Its channels are told, though a round may find the next attempt under way already. A run that did not touch the
    job, such as a delivery of unreadable files, is no failed refresh.
    """
    settings = load_settings()
    dsn = settings.system_dsn
    with database.as_system(dsn, None) as connection:
        workspace = workspaces.find_workspace(connection, slug)
    with database.as_system(dsn, workspace.id) as connection:
        job = jobs.standing_job(connection, workspace.id)
        if job.status == "running":
            jobs.fail(connection, workspace.id, job.id, job.attempt, message)
    if job.status in ("running", "failed"):
        report_failure(settings, workspace.id, message)


@dg.run_failure_sensor(
    name="failed_runs", default_status=dg.DefaultSensorStatus.RUNNING, minimum_interval_seconds=5
)
def failed_runs(context: dg.RunFailureSensorContext) -> None:
    """A failed or crashed run makes its workspace's standing job failed, if that was running.

    A delivery that found only unreadable files has not started it: what became of each is in the ledger of the inbox.
    """
    run, cause = context.dagster_run, _cause(context)
    if cause == INTERRUPTED and _was_to_be_cancelled(context):
        _note(run, _cancelled(run))
    else:
        _note(run, f"{cause} (run {run.run_id})"[:2000])


def _note(run: dg.DagsterRun, message: str) -> None:
    if ANALYSIS_TAG in run.tags:
        note_analysis_failure(run.tags[ANALYSIS_TAG], message)
    elif slug := only_workspace(run):
        note_failure(slug, message)


_FROM_OUTSIDE = "marked as failed from outside"
_UNEXPECTEDLY = "Execution was interrupted unexpectedly"
_INTERRUPTIONS = (dg.DagsterExecutionInterruptedError.__name__, KeyboardInterrupt.__name__)
INTERRUPTED = "The process of the run was interrupted."


def _cause(context: dg.RunFailureSensorContext) -> str:
    """The error that a stage raised; where no step failed, what that means or else Dagster's own words."""
    for event in context.get_step_failure_events():
        error = event.step_failure_data.error
        while error and error.cause:
            error = error.cause
        if error:
            return INTERRUPTED if error.cls_name in _INTERRUPTIONS else error.message.strip()
    told = context.failure_event.message or "the run ended without a message"
    if _UNEXPECTEDLY in told:
        return INTERRUPTED
    return KILLED if _FROM_OUTSIDE in told else told


def _was_to_be_cancelled(context: dg.RunFailureSensorContext) -> bool:
    """Whether somebody cancelled the run.

    Of one that is just starting Dagster forgets it: the run's start makes its status another, and then its
    interruption counts as a failure.
    """
    asked = dg.DagsterEventType.RUN_CANCELING
    return bool(context.instance.all_logs(context.dagster_run.run_id, of_type=asked))


def _cancelled(run: dg.DagsterRun) -> str:
    return f"The run {run.run_id} was cancelled."


@dg.run_status_sensor(
    name="canceled_runs",
    run_status=dg.DagsterRunStatus.CANCELED,
    default_status=dg.DefaultSensorStatus.RUNNING,
    minimum_interval_seconds=5,
)
def canceled_runs(context: dg.RunStatusSensorContext) -> None:
    """A cancelled run makes its workspace's standing job failed, and says so."""
    _note(context.dagster_run, _cancelled(context.dagster_run))


SENSORS = [failed_runs, canceled_runs]
