"""``casetrail refresh``: ask for a refresh of a workspace by hand."""

from typing import Any

import typer

from orchestration.cli.desk import open_desk
from orchestration.cli.printing import print_json
from orchestration.cli.waiting import Timeout, Wait, wait_and_tell
from orchestration.cli.workspace import ActingUser, AsJson, WorkspaceName
from orchestration.control_plane import jobs


def refresh(
    workspace: WorkspaceName,
    wait: Wait = False,
    timeout: Timeout = 3600,
    acting_user: ActingUser = None,
    as_json: AsJson = False,
) -> None:
    """Refresh what is stale now, also after the sensor gave up. Unchanged months are carried over."""
    with open_desk(workspace, acting_user, as_json) as (settings, found, desk):
        with desk.transaction() as connection:
            jobs.ask_refresh(connection, found.id)
        if not as_json:
            typer.echo(f"A refresh of {found.slug} was asked for.", err=True)
        told: dict[str, Any] = {"workspace": found.slug}
        if wait:
            told |= wait_and_tell(settings, found, timeout, as_json)
    if as_json:
        print_json(told)
