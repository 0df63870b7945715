"""The ledgers of many workspaces at once, as a planner reads them: one query for each ledger, not for each workspace.

Not here: what is planned from them (``automation.planner``), and the ledger of one workspace that is about to be
released, with its lineage (``publish.read_state``).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from orchestration.control_plane import arrivals, jobs, releases, staging
from orchestration.control_plane.database import Connection
from orchestration.control_plane.jobs import AnalysisJob
from orchestration.stages.opening import raw_parts
from orchestration.stages.release import WorkingTreeState
from orchestration.stages.speakers import fingerprints
from orchestration.stages.workbench import AnalysisParameters


@dataclass(frozen=True)
class Surveyed:
    """A workspace's standing job, its working tree in outline, and the content hash of its current release."""

    job: AnalysisJob
    state: WorkingTreeState
    released_content: str | None


def survey(connection: Connection, workspace_ids: Sequence[str], as_of: datetime) -> dict[str, Surveyed]:
    """By workspace, what decides about its next run. The files are outlines: they carry no inputs and no audits."""
    if not workspace_ids:
        return {}
    standing = jobs.standing_jobs(connection, workspace_ids)
    arrived: dict[str, list[arrivals.Arrival]] = {workspace_id: [] for workspace_id in standing}
    owners = {}
    for arrival in arrivals.arrivals_of(connection, workspace_ids, "landed"):
        arrived[arrival.workspace_id].append(arrival)
        owners[arrival.id] = arrival.workspace_id
    raw_files: dict[str, list[arrivals.ArrivalFile]] = {workspace_id: [] for workspace_id in standing}
    for file in arrivals.landed_files_of(connection, workspace_ids, "raw"):
        # One that landed between the two queries has raised the workspace's mark again.
        if file.arrival_id in owners:
            raw_files[owners[file.arrival_id]].append(file)
    staged = staging.staged_outlines(connection, workspace_ids)
    released = releases.released_contents(connection, workspace_ids)
    identity = fingerprints(connection, workspace_ids)
    return {
        workspace_id: Surveyed(
            job,
            WorkingTreeState(
                raw_parts=raw_parts(arrived[workspace_id], raw_files[workspace_id], lambda key: key),
                arrivals=arrived[workspace_id],
                files=staged[workspace_id],
                parameters=AnalysisParameters.model_validate(job.parameters),
                as_of=as_of,
                identity=identity.get(workspace_id),
            ),
            released.get(workspace_id),
        )
        for workspace_id, job in standing.items()
    }
