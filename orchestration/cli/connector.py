"""``casetrail connector``: where records come from, and reading them with another mapping."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from orchestration.cli.desk import Reason, open_desk, print_json, print_rows
from orchestration.cli.waiting import Timeout, Wait, wait_and_tell
from orchestration.cli.workspace import ActingUser, AsJson, WorkspaceName, acting
from orchestration.connectors.mapping import Mapping
from orchestration.control_plane import arrivals, connectors, workspaces
from orchestration.control_plane.errors import InvalidInput
from orchestration.control_plane.inbox import CONNECTOR_TYPE
from orchestration.stages.corrections import changed_mapping, remap_connector

connector_app = typer.Typer(help="See connectors; change how their files are read.", no_args_is_help=True)

_LISTS = ("record_key", "null")


@connector_app.command("list")
def list_connectors(
    workspace: WorkspaceName, acting_user: ActingUser = None, as_json: AsJson = False
) -> None:
    """List the connectors with their mapping and how many of their arrivals are landed."""
    with acting(acting_user) as connection:
        found = workspaces.find_workspace(connection, workspace)
        landed = [a.connector_id for a in arrivals.list_arrivals(connection, found.id, "landed")]
        rows = [
            asdict(row) | {"arrivals": landed.count(row.id)}
            for row in connectors.list_connectors(connection, found.id)
        ]
    if as_json:
        print_json(rows)
        return
    for row in rows:
        row["mapping"] = ", ".join(f"{k}={v}" for k, v in row["config"].items() if v)
    print_rows(rows, ("type", "name", "status", "arrivals", "mapping"))


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
    """Read everything that came through a connector with another mapping, and the next files too."""
    with open_desk(workspace, acting_user, as_json) as (settings, found, desk):
        changes = given_changes(mapping.read_text() if mapping else None, change or [])
        with desk.transaction() as connection:
            known = connectors.find_connector(connection, found.id, CONNECTOR_TYPE, connector)
        made = remap_connector(desk, known, changes, reason)
        if not as_json:
            typer.echo(f"Remapped {len(made)} arrival(s) of {connector}.", err=True)
        told: dict[str, Any] = {
            "connector": known.id,
            "remapped": [asdict(pair.new) for pair in made if pair.new],
        }
        if wait:
            told |= wait_and_tell(
                settings,
                found,
                timeout,
                as_json,
                present=[pair.new.id for pair in made if pair.new],
                absent=[pair.old.id for pair in made],
            )
    if as_json:
        print_json(told)


def given_changes(whole: str | None, pairs: Sequence[str]) -> dict[str, Any]:
    """Fields of a mapping and their new values, from a whole mapping as JSON and ``field=value`` pairs over it.

    Raises:
        InvalidInput: nothing was given, or not in this form.
    """
    changes: dict[str, Any] = {}
    if whole is not None:
        try:
            changes = changed_mapping({}, json.loads(whole)).model_dump(mode="json")
        except (json.JSONDecodeError, TypeError) as error:
            raise InvalidInput(f"--mapping is not a JSON object: {error}") from None
    said: dict[str, list[str]] = {}
    for pair in pairs:
        field, equals, value = pair.partition("=")
        if not equals or field not in Mapping.model_fields:
            raise InvalidInput(
                f"--set {pair}: give FIELD=VALUE, where FIELD is one of {', '.join(Mapping.model_fields)}."
            )
        said.setdefault(field, []).extend([value] if value else [])
    for field, values in said.items():
        if field not in _LISTS and len(values) > 1:
            raise InvalidInput(f"--set {field} was given more than once.")
        changes[field] = values if field in _LISTS else values[0] if values else None
    if not changes:
        raise InvalidInput("Say what to change: --set FIELD=VALUE or --mapping FILE.json.")
    return changes
