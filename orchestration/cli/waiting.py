"""Waiting for a release, with a line that tells what is being done."""

import time
from collections import Counter
from collections.abc import Callable, Collection
from typing import Annotated

import typer

from orchestration.cli.progress import ProgressLine
from orchestration.control_plane import database, jobs, releases, staging
from orchestration.control_plane.jobs import AnalysisJob
from orchestration.control_plane.workspaces import Workspace
from orchestration.settings import Settings
from orchestration.stages.publish import read_state
from orchestration.stages.release import stale_months
from orchestration.stages.workbench import today


class RefreshFailed(Exception):
    """The refresh that was waited for failed; the message is the job's."""


class StillRunning(Exception):
    """The release did not come in time."""


Wait = Annotated[bool, typer.Option("--wait", help="Wait until a release holds the change.")]
Timeout = Annotated[float, typer.Option(help="Seconds to wait at most.")]


def wait_and_tell(
    settings: Settings,
    workspace: Workspace,
    timeout_seconds: float,
    as_json: bool,
    *,
    present: Collection[str] = (),
    absent: Collection[str] = (),
) -> dict[str, str | None]:
    """Wait as ``wait_for_release`` does, with a line on standard error; returns what to add to the command's JSON.

    Raises:
        typer.Exit: with 1 if the refresh failed or took too long.
    """
    line = ProgressLine()

    def tell(text: str) -> None:
        if not as_json:
            line.tell(f"{workspace.slug}: {text}")

    try:
        job = wait_for_release(
            settings,
            workspace.id,
            present=present,
            absent=absent,
            timeout_seconds=timeout_seconds,
            tell=tell,
        )
    except (RefreshFailed, StillRunning) as error:
        line.done(f"Error: {error}")
        raise typer.Exit(1) from None
    if not as_json:
        released = f"released as {job.provenance_id}" if job.provenance_id else "no record landed yet"
        line.done(f"{workspace.slug}: {released}")
    return {"provenance_id": job.provenance_id, "status": job.status}


def wait_for_release(
    settings: Settings,
    workspace_id: str,
    *,
    present: Collection[str] = (),
    absent: Collection[str] = (),
    timeout_seconds: float,
    tell: Callable[[str], None],
) -> AnalysisJob:
    """Wait until the current release holds the arrivals ``present`` and none of ``absent``, or all is up to date.

    The latter happens without a new release where the content stays the same. Returns the job with its release.

    Raises:
        RefreshFailed: the standing job failed while we waited.
        StillRunning: nothing after ``timeout_seconds``.
    """
    began, attempts = time.monotonic(), None
    while time.monotonic() - began < timeout_seconds:
        with database.as_system(settings.system_dsn, workspace_id) as connection:
            job = jobs.standing_job(connection, workspace_id)
            if _is_released(connection, job, set(present), set(absent)):
                return job
            files = staging.count_by_dataset(connection, workspace_id, job.id)
        attempts = job.attempt if attempts is None else attempts
        if job.status == "failed" and job.attempt > attempts:
            raise RefreshFailed(job.error_message or "the refresh failed without a message")
        tell(f"{_stage(job, files)}, {time.monotonic() - began:.0f} s")
        time.sleep(0.5)
    raise StillRunning(
        f"no release after {timeout_seconds:.0f} s; look at the runs in the Dagster UI"
        " (casetrail status names its address)"
    )


def _stage(job: AnalysisJob, files: Counter[str]) -> str:
    """What is being done, in words; the staged files tell how far a run has come."""
    if job.status != "running":
        return "waiting for the run to start" if job.status == "queued" else job.status
    made = ", ".join(f"{name} {files[name]}" for name in ("events", "cases", "explanations") if files[name])
    return f"running, months made: {made or 'none yet'}"


def _is_released(
    connection: database.Connection, job: AnalysisJob, present: set[str], absent: set[str]
) -> bool:
    content = None
    if job.provenance_id is not None:
        head = releases.release_head(connection, job.workspace_id, job.provenance_id)
        held = set(head.arrival_ids)
        if (present or absent) and present <= held and not absent & held:
            return True
        content = head.content_sha256
    state = read_state(connection, job, today())
    if not state.raw_parts and not state.files and content is None:
        return True
    return not stale_months(state) and state.content_sha256() == content
