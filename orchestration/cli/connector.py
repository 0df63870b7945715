"""``casetrail connector``: where records come from, and reading files with another mapping."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from orchestration.cli.desk import Reason, open_desk
from orchestration.cli.printing import print_json, print_rows
from orchestration.cli.source import named_connector
from orchestration.cli.waiting import Timeout, Wait, wait_and_tell
from orchestration.cli.workspace import ActingUser, AsJson, WorkspaceName, acting
from orchestration.control_plane import arrivals, connectors, jobs, staging, workspaces
from orchestration.control_plane.arrivals import Arrival
from orchestration.control_plane.connectors import Connector
from orchestration.control_plane.database import Connection
from orchestration.control_plane.errors import InvalidInput
from orchestration.control_plane.inbox import CONNECTOR_TYPE
from orchestration.stages.corrections import given_changes, remap_connector
from orchestration.stages.pulled_mappings import remap_pulled

connector_app = typer.Typer(help="See connectors; change how their files are read.", no_args_is_help=True)


@connector_app.command("list")
def list_connectors(
    workspace: WorkspaceName, acting_user: ActingUser = None, as_json: AsJson = False
) -> None:
    """List the connectors: how they are, landed arrivals, and how many of their rows equal a row of another upload."""
    with acting(acting_user) as connection:
        found = workspaces.find_workspace(connection, workspace)
        landed = {a.id: a.connector_id for a in arrivals.list_arrivals(connection, found.id, "landed")}
        overlap = _overlap(connection, found.id, landed)
        rows = [
            asdict(row) | {"arrivals": list(landed.values()).count(row.id), "overlap": overlap[row.id]}
            for row in connectors.list_connectors(connection, found.id)
        ]
    if as_json:
        print_json(rows)
        return
    print_rows(rows, ("type", "name", "status", "last_sync_at", "next_sync_at", "arrivals", "overlap"))
    for row in rows:
        # Below the table: they are too long for a terminal's columns.
        typer.echo(f"{row['type']}/{row['name']}")
        for told in (row["message"], ", ".join(f"{k}={_shown(v)}" for k, v in row["config"].items() if v)):
            if told:
                typer.echo(f"  {told}")


def _shown(value: Any) -> Any:
    """A value of a config; of a secret, that it is set, or where it is."""
    if isinstance(value, Mapping):
        return value.get("$ref", "(set)" if "$secret" in value else f"({len(value)})")
    return f"({len(value)})" if value and isinstance(value, list) and isinstance(value[0], Mapping) else value


def _overlap(connection: Connection, workspace_id: str, connector_of: Mapping[str, str]) -> Counter[str]:
    """By connector, how many rows of its arrivals are equal to a row of another upload."""
    rows = Counter[str]()
    job = jobs.standing_job(connection, workspace_id)
    for file in staging.staged_files(connection, workspace_id, job.id, "events").values():
        for entry in file.stats.get("overlap", ()):
            if entry["arrival_id"] in connector_of:
                rows[connector_of[entry["arrival_id"]]] += entry["rows"]
    return rows


def _remappable(connection: Connection, workspace_id: str, name: str) -> Connector:
    """The connector of uploads of this name, or the one that is pulled from."""
    every = connectors.list_connectors(connection, workspace_id)
    uploads = [c for c in every if (c.type, c.name) == (CONNECTOR_TYPE, name)]
    return uploads[0] if uploads else named_connector(connection, workspace_id, name)


@connector_app.command()
def remap(
    workspace: WorkspaceName,
    connector: Annotated[str, typer.Argument(metavar="NAME", help="The connector, such as uploads.")],
    mapping: Annotated[
        Path | None,
        typer.Option("--mapping", exists=True, dir_okay=False, help="A whole mapping, as JSON."),
    ] = None,
    change: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="FIELD=VALUE",
            help="Change a field; again for more, or for more columns of a key.",
        ),
    ] = None,
    reason: Reason = "another mapping",
    wait: Wait = False,
    timeout: Timeout = 3600,
    acting_user: ActingUser = None,
    as_json: AsJson = False,
) -> None:
    """Read everything that came through a connector with another mapping, and the next files too.

    One that pulls has its mappings in its configuration (`connector set`), and is remapped to those that it has.
    """
    with open_desk(workspace, acting_user, as_json) as (settings, found, desk):
        with desk.transaction() as connection:
            known = _remappable(connection, found.id, connector)
        entered: list[Arrival] = []
        if known.type == CONNECTOR_TYPE:
            changes = given_changes(mapping.read_text() if mapping else None, change or [])
            made = remap_connector(desk, known, changes, reason)
        elif mapping or change:
            raise InvalidInput(
                f"{known.type}/{known.name} has its mappings in its configuration: `connector set`."
            )
        else:
            made, entered = remap_pulled(desk, known, reason)
        present = [*(pair.new for pair in made if pair.new), *entered]
        if not as_json:
            typer.echo(f"Remapped {len(present)} arrival(s) of {connector}.", err=True)
        told: dict[str, Any] = {"connector": known.id, "remapped": [asdict(arrival) for arrival in present]}
        if wait:
            told |= wait_and_tell(
                settings,
                found,
                timeout,
                as_json,
                present=[arrival.id for arrival in present],
                absent=[pair.old.id for pair in made],
            )
    if as_json:
        print_json(told)
