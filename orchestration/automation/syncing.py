"""Syncs of connectors: the launchpad job, and the sensor that starts it when a connector's time has come.

A sync lands arrivals, each in a transaction of the ledger, so it needs no turn among the workspace's refreshes; the
arrival sensor sees what it brought. A run is told which connector, and nothing of its configuration.
"""

from collections.abc import Iterator
from datetime import UTC, datetime

import dagster as dg
from pydantic import Field

from orchestration.automation.under_way import runs_in_progress
from orchestration.control_plane import connectors, database, workspaces
from orchestration.control_plane.errors import ControlPlaneError
from orchestration.control_plane.liveness import prove_alive
from orchestration.settings import load_installation, load_settings
from orchestration.sources.errors import SourceError
from orchestration.sources.registry import source_types
from orchestration.stages.pulls import Synced, sync

CONNECTOR_TAG = "casetrail/connector"
"""The connector that a run syncs, so that it is not started twice."""


class Sync(dg.Config):
    """What ``sync_connector`` is told."""

    workspace: str = Field(description="Slug of the workspace.")
    connector: str = Field(description="Id of the connector: `casetrail connector list --json` tells it.")


@dg.op(name="sync")
def sync_op(context: dg.OpExecutionContext, config: Sync) -> dg.Output[None]:
    """Pull what is new at a connector's source."""
    settings = load_settings()
    prove_alive(settings.system_dsn, context.run_id)
    try:
        with database.as_system(settings.system_dsn, None) as connection:
            workspace = workspaces.find_workspace(connection, config.workspace)
            connector = connectors.get_connector(connection, workspace.id, config.connector)
        context.instance.add_run_tags(context.run_id, {CONNECTOR_TAG: connector.id})
        done = sync(settings, workspace, connector, run_id=context.run_id, progress=context.log.info)
    except (ControlPlaneError, SourceError) as error:
        # What is chained to it could show what a source was given.
        raise dg.Failure(str(error), allow_retries=False) from None
    if done.stopped:
        context.log.warning(done.stopped)
    return dg.Output(None, metadata=_told(done))


def _told(done: Synced) -> dict[str, dg.MetadataValue]:
    counts = ("records", "landed", "non_event", "duplicate", "quarantined")
    changes = [change for pull in done.pulls for change in pull.schema_changes]
    told: dict[str, dg.MetadataValue] = {name: dg.MetadataValue.int(done.total(name)) for name in counts}
    told["pulls"] = dg.MetadataValue.int(len(done.pulls))
    if changes:
        rows = [
            f"| {c['stream']} | {c['column']} | {c['change']} | {c['before']} | {c['after']} |"
            for c in changes
        ]
        head = "| stream | column | change | before | after |\n|---|---|---|---|---|\n"
        told["schema_changes"] = dg.MetadataValue.md(head + "\n".join(rows))
    return told


@dg.job(
    executor_def=dg.in_process_executor,
    tags={"dagster/max_runtime": str(load_installation().max_run_seconds)},
    description="Pulls what is new at the source of a connector.",
)
def sync_connector() -> None:
    """One op: the streams of a source are read in one snapshot."""
    sync_op()


@dg.sensor(job=sync_connector, minimum_interval_seconds=30, default_status=dg.DefaultSensorStatus.RUNNING)
def connector_syncs(context: dg.SensorEvaluationContext) -> Iterator[dg.RunRequest]:
    """Sync each connector whose time has come: its own cadence, a pause after a failure, or a quota that is over."""
    with database.as_system(load_settings().system_dsn, None) as connection:
        due = connectors.due_for_sync(connection, source_types(), datetime.now(UTC))
    if not due:
        return
    busy = {run.dagster_run.tags.get(CONNECTOR_TAG) for run in runs_in_progress(context.instance)}
    for connector_id, slug in due.items():
        # Without a run key: which one would never be used again, though its run be lost before it began.
        if connector_id not in busy:
            yield dg.RunRequest(
                run_config={"ops": {"sync": {"config": {"workspace": slug, "connector": connector_id}}}},
                tags={CONNECTOR_TAG: connector_id},
            )
