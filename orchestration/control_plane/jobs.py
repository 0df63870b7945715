"""Analyses and how their last run went: the standing one of each workspace, and those asked for on demand.

Starting a job raises its ``attempt``; a result is taken from the holder of the newest attempt only, so that a
run which was given up for dead cannot overwrite its successor's. Not here: the release that a job points to
(``releases``), and asking for analyses on demand (``analyses``).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from psycopg.types.json import Jsonb

from orchestration.control_plane.database import Connection, columns, fetch_all, fetch_one
from orchestration.control_plane.errors import ControlPlaneError

JobKind = Literal["standing", "on_demand"]
JobStatus = Literal["queued", "running", "succeeded", "failed"]


@dataclass(frozen=True, slots=True)
class AnalysisJob:
    """A row of ``analysis_jobs``; its id is the ``analysis_id`` of everything made for it.

    ``base_provenance_id`` is the release that an analysis on demand is asked of.
    """

    id: str
    workspace_id: str
    kind: JobKind
    status: JobStatus
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    parameters: dict[str, Any]
    error_message: str | None
    provenance_id: str | None
    attempt: int
    base_provenance_id: str | None
    created_by: str | None


class UnknownJob(ControlPlaneError):
    """The workspace has no such analysis, or not in the state that was asked for."""


class AttemptOvertaken(ControlPlaneError):
    """Another run has started the job since; this one's result no longer counts."""


def ensure_standing_job(
    connection: Connection, workspace_id: str, parameters: Mapping[str, Any] | None = None
) -> AnalysisJob:
    """The standing analysis of a workspace; made with these parameters if there is none."""
    connection.execute(
        """
        insert into analysis_jobs (workspace_id, kind, parameters) values (%s, 'standing', %s)
        on conflict (workspace_id) where kind = 'standing' do nothing
        """,
        (workspace_id, Jsonb(parameters or {})),
    )
    return standing_job(connection, workspace_id)


def standing_job(connection: Connection, workspace_id: str) -> AnalysisJob:
    """The standing analysis of a workspace.

    Raises:
        UnknownJob: the workspace is not in sight or has none.
    """
    job = fetch_one(
        connection,
        AnalysisJob,
        f"select {columns(AnalysisJob)} from analysis_jobs where workspace_id = %s and kind = 'standing'",
        (workspace_id,),
    )
    if job is None:
        raise UnknownJob(f"The workspace {workspace_id} has no standing analysis that you can see.")
    return job


def standing_jobs(connection: Connection, workspace_ids: Sequence[str]) -> dict[str, AnalysisJob]:
    """The standing analyses of several workspaces in one query, by workspace."""
    found = fetch_all(
        connection,
        AnalysisJob,
        f"""
        select {columns(AnalysisJob)} from analysis_jobs
        where workspace_id = any(%s::uuid[]) and kind = 'standing'
        """,
        (list(workspace_ids),),
    )
    return {job.workspace_id: job for job in found}


def get_job(connection: Connection, workspace_id: str | None, job_id: str) -> AnalysisJob:
    """One analysis; with no workspace that of whichever has it, as planners need it.

    Raises:
        UnknownJob: there is no such analysis in sight.
    """
    job = fetch_one(
        connection,
        AnalysisJob,
        f"""
        select {columns(AnalysisJob)} from analysis_jobs
        where id = %(id)s and (%(workspace_id)s::uuid is null or workspace_id = %(workspace_id)s)
        """,
        {"workspace_id": workspace_id, "id": job_id},
    )
    if job is None:
        raise UnknownJob(f"The workspace has no analysis {job_id}.")
    return job


def set_parameters(connection: Connection, workspace_id: str, parameters: Mapping[str, Any]) -> AnalysisJob:
    """Replace the parameters of the standing analysis; the next refresh uses them.

    Raises:
        UnknownJob: the workspace is not in sight, or the acting user is no analyst of it.
    """
    job = fetch_one(
        connection,
        AnalysisJob,
        f"""
        update analysis_jobs set parameters = %s where workspace_id = %s and kind = 'standing'
        returning {columns(AnalysisJob)}
        """,
        (Jsonb(parameters), workspace_id),
    )
    if job is None:
        raise UnknownJob("The parameters were not changed: only an analyst or an admin of the workspace may.")
    return job


def ask_refresh(connection: Connection, workspace_id: str) -> None:
    """Ask for a refresh of the standing analysis now, also where the sensor has given up.

    Raises:
        UnknownJob: the workspace is not in sight, or the acting user is no analyst of it.
    """
    asked = connection.execute(
        "update analysis_jobs set refresh_asked_at = now() where workspace_id = %s and kind = 'standing'",
        (workspace_id,),
    )
    if not asked.rowcount:
        raise UnknownJob("No refresh was asked for: only an analyst or an admin of the workspace may.")


def refreshes_asked_since(connection: Connection, moment: datetime) -> list[tuple[str, datetime]]:
    """(slug, when) of the workspaces that were asked to refresh after a moment, oldest first."""
    rows = connection.execute(
        """
        select workspaces.slug, job.refresh_asked_at from analysis_jobs as job
        join workspaces on workspaces.id = job.workspace_id
        where job.kind = 'standing' and job.refresh_asked_at > %s order by 2, 1
        """,
        (moment,),
    ).fetchall()
    return [(row["slug"], row["refresh_asked_at"]) for row in rows]


def claim(connection: Connection, workspace_id: str, job_id: str) -> AnalysisJob | None:
    """Start a queued job; None if another run was quicker. Of several at once, one gets it and none waits."""
    return fetch_one(
        connection,
        AnalysisJob,
        _START.format(
            which="""
            (select job.id from analysis_jobs as job
            where job.workspace_id = %(workspace_id)s and job.id = %(id)s and job.status = 'queued'
            for update skip locked)
            """
        ),
        {"workspace_id": workspace_id, "id": job_id},
    )


def start(connection: Connection, workspace_id: str, job_id: str) -> AnalysisJob:
    """Start a job whatever its state; for the holder of the workspace's lock, who keeps the ``attempt``.

    Raises:
        UnknownJob: the workspace has no such analysis.
    """
    job = fetch_one(
        connection, AnalysisJob, _START.format(which="%(id)s"), {"workspace_id": workspace_id, "id": job_id}
    )
    if job is None:
        raise UnknownJob(f"The workspace has no analysis {job_id}.")
    return job


def succeed(connection: Connection, workspace_id: str, job_id: str, attempt: int) -> None:
    """Note that the attempt succeeded.

    Raises:
        AttemptOvertaken: it is not the newest, or was ended by somebody else.
    """
    _finish(connection, workspace_id, job_id, attempt, "succeeded", None)


def fail(connection: Connection, workspace_id: str, job_id: str, attempt: int, error_message: str) -> None:
    """Note that the attempt failed, and why. The message is shown to the workspace: no secret belongs in it.

    Raises:
        AttemptOvertaken: it is not the newest, or was ended by somebody else.
    """
    _finish(connection, workspace_id, job_id, attempt, "failed", error_message)


_START = f"""
update analysis_jobs
set status = 'running', started_at = now(), finished_at = null, error_message = null, attempt = attempt + 1
where workspace_id = %(workspace_id)s and id = {{which}}
returning {columns(AnalysisJob)}
"""


def _finish(
    connection: Connection,
    workspace_id: str,
    job_id: str,
    attempt: int,
    status: JobStatus,
    error_message: str | None,
) -> None:
    finished = connection.execute(
        """
        update analysis_jobs set status = %s, finished_at = now(), error_message = %s
        where workspace_id = %s and id = %s and attempt = %s and status = 'running'
        """,
        (status, error_message, workspace_id, job_id, attempt),
    )
    if not finished.rowcount:
        raise AttemptOvertaken(f"Attempt {attempt} of analysis {job_id} is over: another run took its place.")
