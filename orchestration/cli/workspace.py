"""``casetrail workspace`` and ``casetrail member``: tenants and their members, as far as the user may."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from typing import Annotated, Any

import typer
from rich.table import Table

from orchestration.cli.printing import cell, print_json, print_rows, print_table
from orchestration.control_plane import arrivals, connectors, jobs, members, planner_marks, workspaces
from orchestration.control_plane.database import Connection, as_user
from orchestration.control_plane.errors import ControlPlaneError, InvalidInput
from orchestration.control_plane.members import MemberRole
from orchestration.control_plane.workspaces import Plan, Region
from orchestration.settings import ServicesNotRunning, SettingsError, load_settings

workspace_app = typer.Typer(help="Make and look at workspaces.", no_args_is_help=True)
member_app = typer.Typer(help="Say who belongs to a workspace.", no_args_is_help=True)

ActingUser = Annotated[
    str | None, typer.Option("--as", metavar="EMAIL", help="Act as this user; the operator if not given.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
WorkspaceName = Annotated[str, typer.Argument(metavar="WORKSPACE", help="Its slug or id.")]


@workspace_app.command()
def create(
    name: Annotated[str, typer.Argument(help="What people call it.")],
    owner: Annotated[str, typer.Option(metavar="EMAIL", help="Its first admin, made if unknown.")],
    region: Annotated[Region, typer.Option(help="Where its data is kept, for good.")] = "EU",
    plan: Annotated[Plan, typer.Option(help="What it pays for.")] = "free",
    slug: Annotated[
        str | None, typer.Option(help="Its name in commands; made from NAME if not given.")
    ] = None,
    acting_user: ActingUser = None,
    as_json: AsJson = False,
) -> None:
    """Make a workspace with its owner and its standing analysis."""
    # Only this command needs Dagster, which takes long to import.
    from orchestration.cli.partitions import ensure_workspace_partition

    with acting(acting_user) as connection:
        made = workspaces.create_workspace(connection, name, region, plan, owner, slug)
    ensure_workspace_partition(made.slug)
    if as_json:
        print_json(asdict(made))
    else:
        typer.echo(f"Made workspace {made.slug} ({made.region}, {made.plan}).")


@workspace_app.command("list")
def list_workspaces(acting_user: ActingUser = None, as_json: AsJson = False) -> None:
    """List the workspaces that you can see."""
    with acting(acting_user) as connection:
        found = [asdict(workspace) for workspace in workspaces.list_workspaces(connection)]
    _print(found, ("slug", "name", "region", "plan", "created_at"), as_json)


@workspace_app.command()
def show(workspace: WorkspaceName, acting_user: ActingUser = None, as_json: AsJson = False) -> None:
    """Show a workspace: its members, its connectors, what arrived and how its analysis is."""
    with acting(acting_user) as connection:
        found = workspaces.find_workspace(connection, workspace)
        description = {
            **asdict(found),
            "members": [asdict(member) for member in members.list_members(connection, found.id)],
            "connectors": [asdict(row) for row in connectors.list_connectors(connection, found.id)],
            "arrivals_landed": len(arrivals.list_arrivals(connection, found.id, "landed")),
            "standing_analysis": asdict(jobs.standing_job(connection, found.id)),
            "freshness": asdict(planner_marks.find_mark(connection, found.id)),
        }
    if as_json:
        print_json(description)
    else:
        _print_description(description)


@member_app.command()
def add(
    workspace: WorkspaceName,
    email: Annotated[
        str, typer.Argument(metavar="EMAIL", help="Made if unknown and you are a platform admin.")
    ],
    role: Annotated[MemberRole, typer.Option(help="What the member may do.")],
    acting_user: ActingUser = None,
    as_json: AsJson = False,
) -> None:
    """Add a member, or change a member's role."""
    with acting(acting_user) as connection:
        found = workspaces.find_workspace(connection, workspace)
        members.set_member(connection, found.id, email, role)
    if as_json:
        print_json({"workspace": found.slug, "email": email, "role": role})
    else:
        typer.echo(f"{email} is {role} of {found.slug}.")


@member_app.command("list")
def list_members(workspace: WorkspaceName, acting_user: ActingUser = None, as_json: AsJson = False) -> None:
    """List the members of a workspace."""
    with acting(acting_user) as connection:
        found = workspaces.find_workspace(connection, workspace)
        rows = [asdict(member) for member in members.list_members(connection, found.id)]
    _print(rows, ("email", "name", "role"), as_json)


@contextmanager
def told_problems() -> Iterator[None]:
    """What goes wrong is told in one line on standard error.

    Raises:
        typer.Exit: with 2 for unusable input, with 1 for what is refused, unknown or out of reach.
    """
    try:
        yield
    except (ControlPlaneError, ServicesNotRunning, SettingsError) as error:
        typer.echo(f"Error: {error}", err=True)
        raise typer.Exit(2 if isinstance(error, InvalidInput) else 1) from None


@contextmanager
def acting(email: str | None) -> Iterator[Connection]:
    """A transaction as this user (None: the operator).

    Raises:
        typer.Exit: as ``told_problems``.
    """
    with told_problems():
        settings = load_settings()
        with as_user(settings.app_dsn, email or settings.operator) as connection:
            yield connection


def _print(rows: Sequence[Mapping[str, Any]], shown: Sequence[str], as_json: bool) -> None:
    if as_json:
        print_json(rows)
    else:
        print_rows(rows, shown)


def _print_description(workspace: Mapping[str, Any]) -> None:
    job = workspace["standing_analysis"]
    table = Table(box=None, show_header=False)
    table.add_row("workspace", f"{workspace['slug']} ({workspace['name']})")
    table.add_row("id", cell(workspace["id"]))
    table.add_row("region, plan", f"{workspace['region']}, {workspace['plan']}")
    table.add_row("members", ", ".join(f"{m['email']} ({m['role']})" for m in workspace["members"]))
    table.add_row(
        "connectors", ", ".join(f"{c['type']} {c['name']}" for c in workspace["connectors"]) or "none"
    )
    table.add_row("arrivals", str(workspace["arrivals_landed"]))
    table.add_row("analysis", f"{job['id']}, {job['status']}")
    table.add_row("release", cell(job["provenance_id"] or "none yet"))
    table.add_row("freshness", _freshness(workspace["freshness"]))
    if job["error_message"]:
        table.add_row("error", job["error_message"])
    print_table(table)


def _freshness(mark: Mapping[str, Any]) -> str:
    """Whether the release is what arrived, and if not, what is done about it."""
    if mark["stale_since"] is None:
        return f"fresh, looked at {cell(mark['looked_at'])}" if mark["looked_at"] else "not looked at yet"
    told = f"stale since {cell(mark['stale_since'])}, attempt {mark['attempts']}"
    return f"{told}, the next at {cell(mark['not_before'])}" if mark["not_before"] else told
