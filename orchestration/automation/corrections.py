"""Corrections from the Dagster UI, and reading quarantined rows again when their reason has ended.

The ops act for the pipeline: the trail names their run. A correction is one transaction of the ledger, so it needs no
turn among the workspace's refreshes; the arrival sensor sees what it changed.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

import dagster as dg
from pydantic import Field

from orchestration.connectors.errors import ConnectorError
from orchestration.control_plane import arrivals, connectors, corrections, database, jobs, workspaces
from orchestration.control_plane.corrections import Cause
from orchestration.control_plane.errors import ControlPlaneError
from orchestration.control_plane.inbox import CONNECTOR_TYPE
from orchestration.control_plane.liveness import prove_alive
from orchestration.lake.credentials import CredentialBroker
from orchestration.lake.objects import ObjectMissing, WorkspaceStore
from orchestration.settings import load_installation, load_settings
from orchestration.stages.corrections import Desk, given_changes, readmit, remap_connector
from orchestration.stages.versions import landing_rules
from orchestration.stages.workbench import digest

CORRECTED_TAG = "casetrail/corrected"
"""The workspace of a correction. Not the tag of refreshes, which gives a turn and lets a failure fail the analysis."""


class Retraction(dg.Config):
    """What ``retract_arrival`` is told."""

    workspace: str = Field(description="Slug of the workspace.")
    arrival: str = Field(description="Id of the arrival, or the beginning of it.")
    reason: str = Field(description="Why, for the trail.")


class Remapping(dg.Config):
    """What ``remap_connector`` is told."""

    workspace: str = Field(description="Slug of the workspace.")
    connector: str = Field(default="uploads", description="Name of the connector.")
    changes: list[str] = Field(description="FIELD=VALUE of the mapping, such as timezone=Europe/Berlin.")
    reason: str = Field(default="another mapping", description="Why, for the trail.")


class Readmission(dg.Config):
    """What ``readmit_quarantine`` is told."""

    workspace: str = Field(description="Slug of the workspace.")
    reason: str = Field(default="asked for", description="Why, for the trail.")


class AskedRefresh(dg.Config):
    """What ``refresh_workspace`` is told."""

    workspace: str = Field(description="Slug of the workspace.")


@contextmanager
def _desk(context: dg.OpExecutionContext, slug: str) -> Iterator[Desk]:
    """The pipeline's desk in a workspace; what is refused fails the run with the message alone."""
    settings = load_settings()
    prove_alive(settings.system_dsn, context.run_id)
    try:
        with database.as_system(settings.system_dsn, None) as connection:
            workspace = workspaces.find_workspace(connection, slug)
        context.instance.add_run_tags(context.run_id, {CORRECTED_TAG: workspace.slug})
        yield Desk(
            transaction=lambda: database.as_system(settings.system_dsn, workspace.id),
            store=WorkspaceStore(CredentialBroker(settings).for_workspace(workspace.id, workspace.region)),
            first_month=settings.first_month,
            run_id=context.run_id,
            progress=context.log.info,
        )
    except (ControlPlaneError, ConnectorError, ObjectMissing) as error:
        raise dg.Failure(str(error), allow_retries=False) from error


@dg.op(name="retract", out=dg.Out(dg.Nothing))
def retract_op(context: dg.OpExecutionContext, config: Retraction) -> None:
    """Take an arrival out of the data."""
    with _desk(context, config.workspace) as desk, desk.transaction() as connection:
        old = corrections.require_landed(connection, desk.workspace_id, config.arrival)
        cause = Cause("retracted", config.reason, context.run_id)
        corrections.retract(connection, desk.workspace_id, old.id, cause)
        context.log.info(f"Retracted {old.file_name} (arrival {old.id}).")


@dg.op(name="remap", out=dg.Out(dg.Nothing))
def remap_op(context: dg.OpExecutionContext, config: Remapping) -> None:
    """Read everything that came through a connector with another mapping, and the next files too."""
    with _desk(context, config.workspace) as desk:
        changes = given_changes(None, config.changes)
        with desk.transaction() as connection:
            known = connectors.find_connector(connection, desk.workspace_id, CONNECTOR_TYPE, config.connector)
        made = remap_connector(desk, known, changes, config.reason)
        context.log.info(f"Remapped {len(made)} arrival(s) of {config.connector}.")


@dg.op(name="readmit", out=dg.Out(dg.Nothing))
def readmit_op(context: dg.OpExecutionContext, config: Readmission) -> None:
    """Read again what could land otherwise today."""
    with _desk(context, config.workspace) as desk:
        made = readmit(desk, config.reason)
        changed = sum(pair.new is not None for pair in made)
        context.log.info(f"{len(made)} arrival(s) read again, {changed} came out differently.")


@dg.op(name="ask_refresh", out=dg.Out(dg.Nothing))
def refresh_op(context: dg.OpExecutionContext, config: AskedRefresh) -> None:
    """Ask for a refresh; the arrival sensor starts the run that is needed, if one is."""
    with _desk(context, config.workspace) as desk, desk.transaction() as connection:
        jobs.ask_refresh(connection, desk.workspace_id)


_JOBS = {
    "retract_arrival": (retract_op, "Takes an arrival out of a workspace's data. Its files stay."),
    "remap_connector": (
        remap_op,
        "Reads all files of a connector with a changed mapping, without an upload.",
    ),
    "readmit_quarantine": (readmit_op, "Reads files again whose quarantined rows could land today."),
    "refresh_workspace": (refresh_op, "Refreshes a workspace now, also after several failures."),
}

JOBS = [
    dg.GraphDefinition(name=name, node_defs=[op]).to_job(
        description=description,
        executor_def=dg.in_process_executor,
        tags={"dagster/max_runtime": str(load_installation().max_run_seconds)},
    )
    for name, (op, description) in _JOBS.items()
]


@dg.sensor(
    job_name="readmit_quarantine", minimum_interval_seconds=300, default_status=dg.DefaultSensorStatus.RUNNING
)
def readmissions(context: dg.SensorEvaluationContext) -> Iterator[dg.RunRequest]:
    """Read again what landed under another first month or contract, or has rows whose date is past by now.

    A run key names exactly these arrivals: what cannot be read again fails once, and is not tried for ever.
    """
    settings, now = load_settings(), datetime.now(UTC)
    with database.as_system(settings.system_dsn, None) as connection:
        due = arrivals.due_again(connection, landing_rules(settings.first_month), now)
    for slug, arrival_ids in due.items():
        told = {"workspace": slug, "reason": "the reason of their quarantine may have ended"}
        yield dg.RunRequest(
            run_key=f"{slug}/readmit/{digest([settings.first_month, arrival_ids])[:16]}",
            run_config={"ops": {"readmit": {"config": told}}},
            tags={CORRECTED_TAG: slug},
        )
