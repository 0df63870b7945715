"""Waiting for a release, with a line that tells what is being done."""

import time
from collections import Counter
from collections.abc import Callable

from orchestration.control_plane import database, jobs, releases, staging
from orchestration.control_plane.jobs import AnalysisJob
from orchestration.settings import Settings


class RefreshFailed(Exception):
    """The refresh that was waited for failed; the message is the job's."""


class StillRunning(Exception):
    """The release did not come in time."""


def wait_for_release(
    settings: Settings,
    workspace_id: str,
    arrival_id: str,
    *,
    timeout_seconds: float,
    tell: Callable[[str], None],
) -> AnalysisJob:
    """Wait until the current release holds an arrival; returns the job that points to it.

    Raises:
        RefreshFailed: the standing job failed while we waited.
        StillRunning: nothing after ``timeout_seconds``.
    """
    began, attempts = time.monotonic(), None
    while time.monotonic() - began < timeout_seconds:
        with database.as_system(settings.system_dsn, workspace_id) as connection:
            job = jobs.standing_job(connection, workspace_id)
            if job.provenance_id and _holds(
                releases.provenance(connection, workspace_id, job.provenance_id), arrival_id
            ):
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


def _holds(record: dict[str, object], arrival_id: str) -> bool:
    steps: list[dict[str, list[dict[str, str]]]] = record["etl_steps"]  # type: ignore[assignment]
    return any(arrival["arrival_id"] == arrival_id for arrival in steps[0]["arrivals"])
