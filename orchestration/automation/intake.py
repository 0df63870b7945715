"""Intake of dropped files: which workspaces have some, and the job that takes them in."""

from collections.abc import Collection, Iterator

import dagster as dg

from orchestration.control_plane import database, workspaces
from orchestration.control_plane.liveness import prove_alive
from orchestration.settings import load_installation, load_settings
from orchestration.stages.inbox import new_objects, take_in_dropped
from orchestration.stages.workbench import digest

WORKSPACE_TAG = "casetrail/workspace"


def inbox_requests(busy: Collection[str]) -> Iterator[dg.RunRequest]:
    """One intake run for each workspace with new files in an inbox; the run key names exactly those files.

    A workspace that is ``busy`` (its slug) waits for the end of its run.
    """
    settings = load_settings()
    with database.as_system(settings.system_dsn, None) as connection:
        slugs = [workspace.slug for workspace in workspaces.list_workspaces(connection)]
    for slug in slugs:
        if slug not in busy and (found := new_objects(settings, slug)):
            yield dg.RunRequest(
                job_name="intake_job",
                run_key=f"{slug}/intake/{digest(sorted(found))[:16]}",
                tags={WORKSPACE_TAG: slug},
            )


@dg.op(out=dg.Out(dg.Nothing))
def take_in_dropped_files(context: dg.OpExecutionContext) -> None:
    """Take in what lies in the inboxes of the run's workspace (its `casetrail/workspace` tag)."""
    settings, slug, failed = load_settings(), context.run.tags[WORKSPACE_TAG], []
    prove_alive(settings.system_dsn, context.run_id)
    for dropped in take_in_dropped(settings, slug):
        context.log.info(f"{dropped.object_key}: {dropped.status}. {dropped.message}")
        if dropped.status == "failed":
            failed.append(dropped)
    if failed:
        named = "; ".join(f"{dropped.object_key}: {dropped.message}" for dropped in failed)
        raise dg.Failure(
            f"{len(failed)} dropped file(s) could not be read, the others landed. {named}",
            allow_retries=False,
        )


@dg.job(
    executor_def=dg.in_process_executor,
    tags={"dagster/max_runtime": str(load_installation().max_run_seconds)},
    description="Takes in files that were dropped into a workspace's inbox.",
)
def intake_job() -> None:
    """One op: there is nothing to run in parallel in one workspace."""
    take_in_dropped_files()
