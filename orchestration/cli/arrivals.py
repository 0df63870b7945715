"""``casetrail arrivals``: what came in, and undoing it."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from orchestration.cli.desk import Reason, open_desk
from orchestration.cli.printing import print_json, print_rows
from orchestration.cli.waiting import Timeout, Wait, wait_and_tell
from orchestration.cli.workspace import ActingUser, AsJson, WorkspaceName, acting
from orchestration.control_plane import arrivals, connectors, corrections, jobs, staging, workspaces
from orchestration.control_plane.arrivals import Arrival, ArrivalStatus
from orchestration.control_plane.corrections import Cause
from orchestration.control_plane.database import Connection
from orchestration.stages.corrections import replace_file
from orchestration.stages.quarantine import reasons

arrivals_app = typer.Typer(help="See what arrived; retract or replace it.", no_args_is_help=True)

ArrivalId = Annotated[str, typer.Argument(metavar="ID", help="Its id, or the beginning of it.")]


@arrivals_app.command("list")
def list_arrivals(
    workspace: WorkspaceName,
    status: Annotated[ArrivalStatus | None, typer.Option(help="Only those.")] = None,
    acting_user: ActingUser = None,
    as_json: AsJson = False,
) -> None:
    """List what arrived, in the order of arrival; a newer version stands after those that it replaced."""
    with acting(acting_user) as connection:
        found = workspaces.find_workspace(connection, workspace)
        names = {c.id: c.name for c in connectors.list_connectors(connection, found.id)}
        every = arrivals.list_arrivals(connection, found.id, status)
    rows = [
        asdict(a) | {"connector": names[a.connector_id], "arrived": a.created_at}
        for a in sorted(every, key=lambda a: (a.rank, a.created_at))
    ]
    if as_json:
        print_json(rows)
    else:
        shown = ("id", "file_name", "connector", "status", "records", "landed", "quarantined", "arrived")
        print_rows(rows, shown)


@arrivals_app.command()
def show(
    workspace: WorkspaceName, arrival: ArrivalId, acting_user: ActingUser = None, as_json: AsJson = False
) -> None:
    """Show an arrival: its account, its months, its rejects by reason, overlap with others, and its trail."""
    with acting(acting_user) as connection:
        found = workspaces.find_workspace(connection, workspace)
        told = _description(connection, arrivals.find_arrival(connection, found.id, arrival))
    if as_json:
        print_json(told)
        return
    for name in ("id", "file_name", "status", "message", "records", "landed", "non_event", "quarantined"):
        typer.echo(f"{name.replace('_', ' ')}: {told[name]}")
    typer.echo(f"months: {', '.join(told['months']) or 'none'}")
    for reason, count in told["quarantined_by_reason"].items():
        typer.echo(f"quarantined: {count:,} {reason}")
    typer.echo(f"rows equal to a row of another upload: {told['overlap']:,}")
    for change in told["changes"]:
        after = f", newer version {change['successor_id']}" if change["successor_id"] else ""
        typer.echo(f"{change['changed_at']:%Y-%m-%d %H:%M} {change['kind']}: {change['reason']}{after}")


def _description(connection: Connection, arrival: Arrival) -> dict[str, Any]:
    job = jobs.standing_job(connection, arrival.workspace_id)
    raw = arrivals.files_of(connection, arrival.workspace_id, [arrival.id], "raw")
    rejected = arrivals.files_of(connection, arrival.workspace_id, [arrival.id], "quarantine")
    events = staging.staged_files(connection, arrival.workspace_id, job.id, "events").values()
    overlap = [entry for file in events for entry in file.stats.get("overlap", ())]
    return {
        **asdict(arrival),
        "months": {file.month: file.rows for file in raw},
        "quarantined_by_reason": reasons(rejected),
        "overlap": sum(entry["rows"] for entry in overlap if entry["arrival_id"] == arrival.id),
        "changes": [asdict(c) for c in corrections.changes(connection, arrival.workspace_id, arrival.id)],
    }


@arrivals_app.command()
def retract(
    workspace: WorkspaceName,
    arrival: ArrivalId,
    reason: Reason,
    wait: Wait = False,
    timeout: Timeout = 3600,
    acting_user: ActingUser = None,
    as_json: AsJson = False,
) -> None:
    """Take an arrival out of the data. Its files stay; to have it back, upload the file again."""
    with open_desk(workspace, acting_user, as_json) as (settings, found, desk):
        with desk.transaction() as connection:
            old = corrections.require_landed(connection, found.id, arrival)
            corrections.retract(connection, found.id, old.id, Cause("retracted", reason))
        if not as_json:
            typer.echo(f"Retracted {old.file_name} (arrival {old.id}).", err=True)
        told: dict[str, Any] = {"retracted": old.id}
        if wait:
            told |= wait_and_tell(settings, found, timeout, as_json, absent=[old.id])
    if as_json:
        print_json(told)


@arrivals_app.command()
def replace(
    workspace: WorkspaceName,
    arrival: ArrivalId,
    file: Annotated[Path, typer.Argument(exists=True, dir_okay=False, readable=True)],
    reason: Reason = "a corrected file",
    wait: Wait = False,
    timeout: Timeout = 3600,
    acting_user: ActingUser = None,
    as_json: AsJson = False,
) -> None:
    """Put a corrected file in the place of an arrival, read with the same mapping."""
    with open_desk(workspace, acting_user, as_json) as (settings, found, desk):
        made = replace_file(desk, settings, arrival, file, file.name, reason).arrival
        assert made.replaces is not None
        if not as_json:
            typer.echo(
                f"arrival {made.id} replaces {made.replaces}: {made.records:,} records, {made.landed:,} landed,"
                f" {made.quarantined:,} quarantined",
                err=True,
            )
        told: dict[str, Any] = asdict(made)
        if wait:
            told |= wait_and_tell(
                settings, found, timeout, as_json, present=[made.id], absent=[made.replaces]
            )
    if as_json:
        print_json(told)
