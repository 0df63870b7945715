"""The weekly search for objects that nothing needs any more, in all workspaces."""

from collections.abc import Iterator

import dagster as dg

from orchestration.control_plane import database, workspaces
from orchestration.control_plane.database import WorkspaceBusy
from orchestration.settings import load_installation, load_settings
from orchestration.stages.garbage import collect_garbage

_WAIT_SECONDS = 60
"""For a run of the workspace to end; one that is busy for longer is left to the next week."""


@dg.op(out=dg.Out(dg.Nothing))
def collect_all_garbage(context: dg.OpExecutionContext) -> None:
    """Go through the workspaces; fails at the end if files are lost that the ledgers name."""
    settings, lost = load_settings(), []
    with database.as_system(settings.system_dsn, None) as connection:
        slugs = [workspace.slug for workspace in workspaces.list_workspaces(connection)]
    for slug in slugs:
        try:
            done = collect_garbage(settings, slug, wait_seconds=_WAIT_SECONDS)
        except WorkspaceBusy as busy:
            context.log.warning(f"{slug} is left to the next week. {busy}")
            continue
        context.log.info(f"{slug}: {done.objects} of {done.listed} objects removed, {done.bytes} bytes")
        lost += [f"{slug}: {len(done.missing)}, first {done.missing[0]}"] if done.missing else []
    if lost:
        raise dg.Failure(
            f"Files that the ledgers name are gone from S3; restore them from a backup. {'; '.join(lost)}",
            allow_retries=False,
        )


@dg.job(
    executor_def=dg.in_process_executor,
    tags={"dagster/max_runtime": str(load_installation().max_run_seconds)},
    description="Removes objects that nothing needs any more, in all workspaces.",
)
def garbage_job() -> None:
    """One op: the workspaces are done one after the other, so that S3 is not held up."""
    collect_all_garbage()


@dg.schedule(
    job=garbage_job,
    cron_schedule="41 4 * * 0",
    execution_timezone="UTC",
    default_status=dg.DefaultScheduleStatus.RUNNING,
)
def weekly_garbage(context: dg.ScheduleEvaluationContext) -> Iterator[dg.RunRequest]:
    """Sunday morning, after the daily refresh."""
    yield dg.RunRequest(run_key=context.scheduled_execution_time.strftime("%Y-%m-%d"))
