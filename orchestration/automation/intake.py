"""Dropped files: which workspaces have some that wait.

The sensor asks the ledger alone: `orchestration.feed` enters what is dropped, so that a workspace at rest costs no
listing.
"""

from collections.abc import Collection, Iterator
from datetime import datetime, timedelta
from itertools import groupby

import dagster as dg

from orchestration.automation.tags import EXPECTED_SECONDS_TAG, PLAN_TAG, WORKSPACE_TAG
from orchestration.control_plane import database, inbox, workspaces
from orchestration.settings import load_settings
from orchestration.stages.workbench import digest

LEAST_SECONDS, BYTES_A_SECOND = 5, 4_000_000
"""What a delivery is expected to take, from the benchmark of the pipeline: 143 MB of CSV in 29 s."""

MOST_A_DAY = 3
"""Runs for the same files: those that wait after a run were in it when it was killed, or before it could begin."""


def inbox_requests(
    instance: dg.DagsterInstance, busy: Collection[str], now: datetime
) -> Iterator[dg.RunRequest]:
    """One delivery run for each workspace with waiting files, in one query; the run key names these files.

    A workspace that is ``busy`` (its slug) waits for the end of its run. ``now`` is UTC.
    """
    with database.as_system(load_settings().system_dsn, None) as connection:
        waiting = inbox.waiting_files(connection)
        slugs = {w.id: w.slug for w in workspaces.list_workspaces(connection)} if waiting else {}
    for workspace_id, of_workspace in groupby(waiting, lambda file: file.workspace_id):
        files = list(of_workspace)
        subject = digest(sorted((file.object_key, file.etag) for file in files))[:16]
        tags = {WORKSPACE_TAG: slugs[workspace_id], PLAN_TAG: subject}
        if tags[WORKSPACE_TAG] not in busy:
            tried = instance.get_runs_count(dg.RunsFilter(tags=tags))
            today = dg.RunsFilter(tags=tags, created_after=now - timedelta(days=1))
            if tried < MOST_A_DAY or instance.get_runs_count(today) < MOST_A_DAY:
                run_key = f"{tags[WORKSPACE_TAG]}/delivery/{subject}/{tried}"
                seconds = LEAST_SECONDS + sum(file.bytes for file in files) // BYTES_A_SECOND
                expected = {EXPECTED_SECONDS_TAG: str(seconds)}
                yield dg.RunRequest(job_name="delivery_job", run_key=run_key, tags=tags | expected)
