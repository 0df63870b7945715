"""What the commands that correct arrivals have in common: acting for a person, and telling errors in one line."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

import typer

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
