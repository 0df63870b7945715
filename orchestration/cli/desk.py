"""What the commands that correct arrivals have in common: acting for a person, and telling errors in one line."""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from orchestration.cli.progress import ProgressLine
from orchestration.cli.workspace import acting
from orchestration.connectors.errors import AmbiguousMapping, ConnectorError
from orchestration.control_plane import database, workspaces
from orchestration.control_plane.errors import ControlPlaneError, InvalidInput
from orchestration.control_plane.workspaces import Workspace
from orchestration.lake.credentials import CredentialBroker
from orchestration.lake.objects import ObjectMissing, WorkspaceStore
from orchestration.settings import Settings, load_settings
from orchestration.stages.corrections import Desk

Reason = Annotated[str, typer.Option(help="Why, for the trail.")]


@contextmanager
def open_desk(
    workspace: str, acting_user: str | None, as_json: bool
) -> Iterator[tuple[Settings, Workspace, Desk]]:
    """The settings, the workspace, and the desk of a user in it; what goes wrong is told in one line.

    Raises:
        typer.Exit: with 2 for unusable or ambiguous input, with 1 for what is refused, unknown or cannot be read.
    """
    with acting(acting_user) as connection:
        settings = load_settings()
        found = workspaces.find_workspace(connection, workspace)
    line = ProgressLine()
    desk = Desk(
        transaction=lambda: database.as_user(settings.app_dsn, acting_user or settings.operator),
        store=WorkspaceStore(CredentialBroker(settings).for_workspace(found.id, found.region)),
        first_month=settings.first_month,
        progress=(lambda _text: None) if as_json else line.tell,
    )
    try:
        yield settings, found, desk
    except (ControlPlaneError, ConnectorError, ObjectMissing) as error:
        typer.echo(f"Error: {error}", err=True)
        raise typer.Exit(2 if isinstance(error, InvalidInput | AmbiguousMapping) else 1) from None


def print_json(value: Any) -> None:
    """As other commands print JSON: times as text, letters as they are."""
    typer.echo(json.dumps(value, default=str, indent=2, ensure_ascii=False))


def print_rows(rows: Sequence[Mapping[str, Any]], shown: Sequence[str]) -> None:
    """A table of some columns. Names are people's text: brackets in them are no markup."""
    table = Table(*(name.replace("_", " ") for name in shown), box=None)
    for row in rows:
        table.add_row(*(_cell(row[name]) for name in shown))
    Console(markup=False, highlight=False).print(table)


def _cell(value: Any) -> str:
    if hasattr(value, "strftime"):
        return f"{value:%Y-%m-%d %H:%M}"
    return "" if value is None else f"{value:,}" if isinstance(value, int) else str(value)
