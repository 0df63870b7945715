"""Intake of dropped files: which workspaces have some, and the job that takes them in.

The sensor asks the ledger alone: `orchestration.feed` enters what is dropped, so that a workspace at rest costs no
listing.
"""

from collections.abc import Collection, Iterator
from datetime import datetime, timedelta
from itertools import groupby

import dagster as dg

from orchestration.control_plane import database, inbox, workspaces
from orchestration.control_plane.liveness import prove_alive
from orchestration.settings import load_installation, load_settings
from orchestration.stages.inbox import take_in_dropped
from orchestration.stages.workbench import digest

WORKSPACE_TAG = "casetrail/workspace"
PLAN_TAG = "casetrail/plan"

MOST_A_DAY = 3
"""Runs for the same files: those that wait after a run were in it when it was killed, or before it could begin."""


def inbox_requests(
    instance: dg.DagsterInstance, busy: Collection[str], now: datetime
) -> Iterator[dg.RunRequest]:
    """One intake run for each workspace with waiting files, in one query; the run key names these files.

    A workspace that is ``busy`` (its slug) waits for the end of its run. ``now`` is UTC.
    """
    with database.as_system(load_settings().system_dsn, None) as connection:
        waiting = inbox.waiting_files(connection)
        slugs = {w.id: w.slug for w in workspaces.list_workspaces(connection)} if waiting else {}
    for workspace_id, files in groupby(waiting, lambda file: file.workspace_id):
        subject = digest(sorted((file.object_key, file.etag) for file in files))[:16]
        tags = {WORKSPACE_TAG: slugs[workspace_id], PLAN_TAG: subject}
        if tags[WORKSPACE_TAG] not in busy:
            tried = instance.get_runs_count(dg.RunsFilter(tags=tags))
            today = dg.RunsFilter(tags=tags, created_after=now - timedelta(days=1))
            if tried < MOST_A_DAY or instance.get_runs_count(today) < MOST_A_DAY:
                run_key = f"{tags[WORKSPACE_TAG]}/intake/{subject}/{tried}"
                yield dg.RunRequest(job_name="intake_job", run_key=run_key, tags=tags)


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
