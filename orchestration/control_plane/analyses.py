"""Analyses on demand: asking for one, finding one, and wanting its end.

Not here: how an analysis is started and ended (``jobs``).
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from psycopg import errors
from psycopg.types.json import Jsonb

from orchestration.control_plane import jobs
from orchestration.control_plane.database import Connection, columns, fetch_all, fetch_one
from orchestration.control_plane.errors import NotAllowed
from orchestration.control_plane.jobs import AnalysisJob

CANCELLED_BEFORE_ITS_START = "cancelled before it started"


def enqueue(
    connection: Connection, workspace_id: str, parameters: Mapping[str, Any], base_provenance_id: str
) -> AnalysisJob:
    """Ask for an analysis on demand of a release.

    Raises:
        NotAllowed: the acting user is no analyst of the workspace.
    """
    try:
        job = fetch_one(
            connection,
            AnalysisJob,
            f"""
            insert into analysis_jobs (workspace_id, kind, parameters, base_provenance_id, created_by)
            values (%s, 'on_demand', %s, %s, nullif(current_setting('casetrail.user_id', true), '')::uuid)
            returning {columns(AnalysisJob)}
            """,
            (workspace_id, Jsonb(parameters), base_provenance_id),
        )
    except errors.InsufficientPrivilege:
        raise NotAllowed("Only an analyst or an admin of the workspace can ask for an analysis.") from None
    assert job is not None
    return job


def answered_before(
    connection: Connection, workspace_id: str, parameters: Mapping[str, Any], base_provenance_id: str
) -> AnalysisJob | None:
    """The newest analysis that succeeded with the same parameters on a release of the same content."""
    return fetch_one(
        connection,
        AnalysisJob,
        f"""
        select {", ".join(f"job.{name}" for name in columns(AnalysisJob).split(", "))}
        from analysis_jobs as job
        join provenance as base on base.workspace_id = job.workspace_id and base.id = job.base_provenance_id
        join provenance as asked on asked.workspace_id = job.workspace_id and asked.id = %(base)s
        where job.workspace_id = %(workspace_id)s and job.kind = 'on_demand' and job.status = 'succeeded'
            and job.parameters = %(parameters)s and base.content_sha256 = asked.content_sha256
            and base.as_of = asked.as_of
        order by job.finished_at desc limit 1
        """,
        {"workspace_id": workspace_id, "base": base_provenance_id, "parameters": Jsonb(parameters)},
    )


def find_job(connection: Connection, workspace_id: str, job_id: str) -> AnalysisJob:
    """The one analysis whose id begins so.

    Raises:
        UnknownJob: the workspace has none, or several.
    """
    found = fetch_all(
        connection,
        AnalysisJob,
        f"""
        select {columns(AnalysisJob)} from analysis_jobs
        where workspace_id = %s and starts_with(id::text, %s) order by id
        """,
        (workspace_id, job_id.lower()),
    )
    if len(found) != 1:
        what = "no analysis" if not found else f"{len(found)} analyses"
        raise jobs.UnknownJob(
            f"The workspace has {what} with an id that begins with {job_id!r}. `casetrail analysis list` shows them."
        )
    return found[0]


def newest(
    connection: Connection, workspace_id: str, most: int, before: str | None = None
) -> list[AnalysisJob]:
    """So many analyses on demand, newest first; ``before``: only those that were asked before the one of this id."""
    return fetch_all(
        connection,
        AnalysisJob,
        f"""
        select {columns(AnalysisJob)} from analysis_jobs
        where workspace_id = %(workspace_id)s and kind = 'on_demand'
            and (%(before)s::uuid is null or id < %(before)s)
        order by id desc limit %(most)s
        """,
        {"workspace_id": workspace_id, "before": before, "most": most},
    )


def request_cancellation(connection: Connection, workspace_id: str, job_id: str) -> None:
    """Ask for the end of an analysis, as the acting user; asking twice changes nothing.

    Raises:
        NotAllowed: the acting user is no analyst of the workspace.
    """
    try:
        connection.execute(
            """
            insert into analysis_cancellations (workspace_id, analysis_id, requested_by)
            values (%s, %s, nullif(current_setting('casetrail.user_id', true), '')::uuid)
            on conflict do nothing
            """,
            (workspace_id, job_id),
        )
    except errors.InsufficientPrivilege:
        raise NotAllowed("Only an analyst or an admin of the workspace can cancel an analysis.") from None


def end_cancelled(connection: Connection, workspace_id: str, job_id: str) -> None:
    """An analysis that was cancelled while it waited has failed, and says why; one that a run has started goes on."""
    if claimed := jobs.claim(connection, workspace_id, job_id):
        jobs.fail(connection, workspace_id, job_id, claimed.attempt, CANCELLED_BEFORE_ITS_START)


@dataclass(frozen=True, slots=True)
class QueuedAnalysis:
    """An analysis on demand that waits for its run; ``is_cancelled`` if it is not wanted any more."""

    id: str
    workspace_id: str
    slug: str
    is_cancelled: bool


def queued_analyses(connection: Connection) -> list[QueuedAnalysis]:
    """The analyses that wait, of all workspaces, in the order in which they were asked for."""
    return fetch_all(
        connection,
        QueuedAnalysis,
        """
        select job.id, job.workspace_id, workspaces.slug, cancelled.analysis_id is not null as is_cancelled
        from analysis_jobs as job
        join workspaces on workspaces.id = job.workspace_id
        left join analysis_cancellations as cancelled
            on cancelled.workspace_id = job.workspace_id and cancelled.analysis_id = job.id
        where job.status = 'queued' and job.kind = 'on_demand'
        order by job.created_at, job.id
        """,
        (),
    )


def is_cancelled(connection: Connection, workspace_id: str, job_id: str) -> bool:
    """Whether somebody asked for the end of an analysis."""
    found = connection.execute(
        "select from analysis_cancellations where workspace_id = %s and analysis_id = %s",
        (workspace_id, job_id),
    )
    return found.fetchone() is not None


def failed_with_files(connection: Connection, workspace_id: str, before: datetime) -> list[str]:
    """The analyses on demand that failed (or were cancelled) before a moment (UTC), and have staged files.

    None of them can start again until the end of the transaction.
    """
    rows = connection.execute(
        """
        select id from analysis_jobs as job
        where workspace_id = %s and kind = 'on_demand' and status = 'failed' and finished_at < %s
            and exists (
                select from staged_files as file
                where file.workspace_id = job.workspace_id and file.analysis_id = job.id
            )
        order by id for no key update
        """,
        (workspace_id, before),
    ).fetchall()
    return [row["id"] for row in rows]


def under_way(connection: Connection, workspace_id: str, ids: Collection[str]) -> set[str]:
    """Of these the analyses on demand that wait or run; the others cannot start until the end of the transaction."""
    asked = {"workspace_id": workspace_id, "ids": list(ids)}
    ended = connection.execute(
        """
        select id from analysis_jobs
        where workspace_id = %(workspace_id)s and kind = 'on_demand' and id = any(%(ids)s::uuid[])
            and status in ('failed', 'succeeded')
        order by id for no key update
        """,
        asked,
    ).fetchall()
    others = connection.execute(
        """
        select id from analysis_jobs
        where workspace_id = %(workspace_id)s and kind = 'on_demand' and id = any(%(ids)s::uuid[])
            and id <> all(%(ended)s::uuid[])
        """,
        asked | {"ended": [row["id"] for row in ended]},
    ).fetchall()
    return {row["id"] for row in others}
