"""``casetrail link``: who is who across systems, why, what was not joined, and what people say of it."""

from collections.abc import Callable
from dataclasses import asdict
from typing import Annotated
from uuid import UUID

import typer

from orchestration.cli.aliases import evidence_path, surviving_case
from orchestration.cli.printing import print_json, print_rows
from orchestration.cli.workspace import ActingUser, AsJson, WorkspaceName, acting
from orchestration.control_plane import case_registry, workspaces
from orchestration.control_plane.case_registry import Verdict
from orchestration.control_plane.errors import InvalidInput

link_app = typer.Typer(help="See and say who is who across systems.", no_args_is_help=True)

RecordName = Annotated[str, typer.Argument(metavar="SYSTEM:ID", help="A record, such as salesforce:003….")]
Why = Annotated[str, typer.Option("--reason", help="Why; others will ask.", show_default=False)]


def _saying(verdict: Verdict) -> Callable[..., None]:
    """A command that says this of two records."""

    def say(
        workspace: WorkspaceName,
        left: RecordName,
        right: RecordName,
        reason: Why,
        acting_user: ActingUser = None,
        as_json: AsJson = False,
    ) -> None:
        with acting(acting_user) as connection:
            found = workspaces.find_workspace(connection, workspace)
            case_registry.say(connection, found.id, (_record(left), _record(right)), verdict, reason)
        if as_json:
            print_json({"left": left, "right": right, "verdict": verdict, "reason": reason})
        else:
            typer.echo(f"Noted: {verdict} {left} {right}. The next refresh goes by it.")

    return say


_NEXT = "The next refresh goes by it."
link_app.command("allow", help=f"Say that two records are one person or thing. {_NEXT}")(_saying("allow"))
link_app.command("deny", help=f"Say that two records are not one, whatever links them. {_NEXT}")(
    _saying("deny")
)
link_app.command("withdraw", help="Take back what was said of two records.")(_saying("withdrawn"))


@link_app.command("list")
def list_words(workspace: WorkspaceName, acting_user: ActingUser = None, as_json: AsJson = False) -> None:
    """List what people say of two records, the last word on each pair."""
    with acting(acting_user) as connection:
        found = workspaces.find_workspace(connection, workspace)
        words = [asdict(word) for word in case_registry.manual_links(connection, found.id)]
    if as_json:
        print_json(words)
        return
    shown = [
        {
            "left": f"{word['left_system']}:{word['left_id']}",
            "right": f"{word['right_system']}:{word['right_id']}",
            **{name: word[name] for name in ("verdict", "reason", "created_at")},
        }
        for word in words
    ]
    print_rows(shown, ("left", "right", "verdict", "reason", "created_at"))


@link_app.command()
def refused(workspace: WorkspaceName, acting_user: ActingUser = None, as_json: AsJson = False) -> None:
    """List what the last refresh did not join: keys that too many share, persons too large, denied pairs."""
    with acting(acting_user) as connection:
        found = workspaces.find_workspace(connection, workspace)
        joins = case_registry.refused_joins(connection, found.id)
    if as_json:
        print_json(joins)
        return
    shown = [
        {**join, "examples": ", ".join(":".join(record) for record in join["examples"])} for join in joins
    ]
    print_rows(shown, ("reason", "tier", "rule", "persons", "records", "examples"))


@link_app.command()
def show(
    workspace: WorkspaceName,
    case: Annotated[
        str,
        typer.Argument(
            metavar="SYSTEM:ID|CASE", help="A record, or a global_case_id, which may have been merged away."
        ),
    ],
    acting_user: ActingUser = None,
    as_json: AsJson = False,
) -> None:
    """Show under which id a record's events are, which records are with it, and by which links each id was merged."""
    with acting(acting_user) as connection:
        found = workspaces.find_workspace(connection, workspace)
        if ":" in case:
            global_case_id = case_registry.case_of(connection, found.id, *_record(case))
        else:
            global_case_id = surviving_case(connection, found.id, _case_id(case))
        entity = case_registry.entity_of(connection, found.id, global_case_id)
    if as_json:
        print_json(asdict(entity))
        return
    typer.echo(entity.global_case_id)
    for member in entity.records:
        typer.echo(f"  {':'.join(member)}")
    for merge in entity.merges:
        typer.echo(f"  merged {merge.global_case_id} on {merge.merged_at:%Y-%m-%d}: {evidence_path(merge)}")


def _case_id(text: str) -> str:
    try:
        return str(UUID(text))
    except ValueError:
        raise InvalidInput(
            f"{text!r} is neither a record nor a case: give SYSTEM:ID, such as salesforce:003…, or a global_case_id."
        ) from None


def _record(text: str) -> tuple[str, str]:
    system, colon, native_id = text.partition(":")
    if not (system and colon and native_id):
        raise InvalidInput(f"{text!r} is no record: give SYSTEM:ID, such as salesforce:003….")
    return system, native_id
