"""``casetrail gc``: remove the objects that nothing needs any more."""

from dataclasses import asdict
from typing import Annotated

import typer
from rich.table import Table

from orchestration.cli.printing import print_json, print_table
from orchestration.cli.workspace import ActingUser, AsJson, acting
from orchestration.control_plane import members, workspaces
from orchestration.settings import load_settings
from orchestration.stages.garbage import Collected, collect_garbage


def gc(
    workspace: Annotated[
        str | None, typer.Argument(metavar="WORKSPACE", help="Its slug or id; or give --all.")
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="All workspaces that you are an admin of.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only tell what would be removed.")] = False,
    acting_user: ActingUser = None,
    as_json: AsJson = False,
) -> None:
    """Remove superseded files that are no longer kept, and what broken runs left. Exit code 1 if files are lost."""
    if (workspace is None) != every:
        typer.echo("Error: name one workspace, or give --all.", err=True)
        raise typer.Exit(2)
    with acting(acting_user) as connection:
        if workspace is not None:
            found = [workspaces.find_workspace(connection, workspace)]
            members.require_admin(connection, found[0].id)
        else:
            mine = members.administered(connection)
            found = [w for w in workspaces.list_workspaces(connection) if w.id in mine]
    settings = load_settings()
    collected = [collect_garbage(settings, w.slug, dry_run=dry_run) for w in found]
    if as_json:
        print_json([asdict(c) for c in collected])
    else:
        _print(collected, dry_run)
    raise typer.Exit(1 if any(c.missing for c in collected) else 0)


def _print(collected: list[Collected], dry_run: bool) -> None:
    removed = "to remove" if dry_run else "removed"
    table = Table("workspace", "objects", removed, "MB", "releases", "failed analyses", box=None)
    for c in collected:
        counts = f"{c.bytes / 1e6:.1f}", str(c.releases), str(c.failed_analyses)
        table.add_row(c.workspace, f"{c.listed:,}", f"{c.objects:,}", *counts)
    print_table(table)
    for c in collected:
        if c.missing:
            typer.echo(
                f"{c.workspace}: {len(c.missing)} file(s) that the ledgers name are gone from S3, first"
                f" {c.missing[0]}. Restore them from a backup.",
                err=True,
            )
