"""Asking a question of a workspace's current release: it is recognised, or checked and queued.

From the command line for a person, from Dagster for the pipeline. Not here: answering it (``answer``).
"""

import tempfile
from collections.abc import Callable, Collection
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from orchestration.control_plane import analyses, arrivals, jobs, releases
from orchestration.control_plane.database import Connection
from orchestration.control_plane.jobs import AnalysisJob
from orchestration.control_plane.workspaces import Workspace
from orchestration.lake.credentials import CredentialBroker
from orchestration.lake.session import open_session
from orchestration.settings import Settings
from orchestration.stages.names import Upload, check_names
from orchestration.stages.opening import base_of
from orchestration.stages.workbench import AnalysisParameters

Transaction = Callable[[], AbstractContextManager[Connection]]


@dataclass(frozen=True)
class Asked:
    """The analysis that answers a question, or will; ``is_known`` if it was asked before."""

    job: AnalysisJob
    is_known: bool


def ask(
    settings: Settings,
    transaction: Transaction,
    workspace: Workspace,
    parameters: AnalysisParameters,
    *,
    again: bool = False,
) -> Asked:
    """Queue an analysis of the current release, unless the same question to the same content was answered.

    Args:
        settings: The installation's.
        transaction: Opens a transaction of whoever asks.
        workspace: The workspace.
        parameters: The question.
        again: Queue it also if it was answered before.

    Raises:
        UnknownJob: There is no release yet, or it is empty.
        UnusableQuestion: The question names what the log does not have.
        NotAllowed: Who asks is no analyst of the workspace.
    """
    given = parameters.model_dump(mode="json", by_alias=True)
    with transaction() as connection:
        release = jobs.standing_job(connection, workspace.id).provenance_id
        if release is None:
            raise jobs.UnknownJob(
                f"{workspace.slug} has no release yet: upload a log and wait for its refresh."
            )
        known = analyses.answered_before(connection, workspace.id, given, release)
        if known is not None and not again:
            return Asked(known, is_known=True)
        head = releases.release_head(connection, workspace.id, release)
        files = releases.release_files(connection, workspace.id, release)
        uploads = _uploads(connection, workspace.id, head.arrival_ids)
    credentials = CredentialBroker(settings).for_workspace(workspace.id, workspace.region, read_only=True)
    base = base_of(head, files, lambda key: f"s3://{credentials.bucket}/{key}")
    if not base.files.get("events"):
        raise jobs.UnknownJob(f"The release of {workspace.slug} holds no events: upload a log.")
    with tempfile.TemporaryDirectory(prefix="casetrail-") as scratch:
        check_names(
            parameters,
            base,
            uploads,
            lambda: open_session(
                credentials,
                threads=2,
                memory_limit=settings.query_memory,
                temp_directory=Path(scratch),
            ),
        )
    with transaction() as connection:
        return Asked(analyses.enqueue(connection, workspace.id, given, release), is_known=False)


def _uploads(connection: Connection, workspace_id: str, arrival_ids: Collection[str]) -> list[Upload]:
    """What a release was made from, with the mappings of then."""
    return [
        Upload([column["name"] for column in arrival.columns], arrival.mapping)
        for arrival in arrivals.list_arrivals(connection, workspace_id)
        if arrival.id in arrival_ids
    ]
