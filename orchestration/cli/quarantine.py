"""``casetrail quarantine``: the records that did not land, by reason; and letting them land after all."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from orchestration.cli.desk import Reason, open_desk
from orchestration.cli.printing import print_json, print_rows
from orchestration.cli.waiting import Timeout, Wait, wait_and_tell
from orchestration.cli.workspace import ActingUser, AsJson, WorkspaceName
from orchestration.control_plane import arrivals
from orchestration.control_plane.errors import InvalidInput
from orchestration.stages import quarantine
from orchestration.stages.corrections import readmit as read_again

quarantine_app = typer.Typer(
    help="See the records that did not land, and try them again.", no_args_is_help=True
)


@quarantine_app.command("list")
def list_rejected(
    workspace: WorkspaceName,
    rows: Annotated[int, typer.Option(help="So many records of each reason.", min=0)] = 3,
    acting_user: ActingUser = None,
    as_json: AsJson = False,
) -> None:
    """Count the quarantined records by reason, and show the first of each."""
    with open_desk(workspace, acting_user, as_json) as (_settings, found, desk):
        with desk.transaction() as connection:
            landed, files = arrivals.landed(connection, found.id, "quarantine")
        counts = quarantine.reasons(files)
        shown = quarantine.sample(desk.store, landed, files, rows) if rows else []
    if as_json:
        print_json({"reasons": counts, "records": shown})
        return
    print_rows([{"reason": r, "records": n} for r, n in counts.items()], ("reason", "records"))
    for record in shown:
        where = f"{record['file_name']} line {record['line_number'] or '?'}"
        typer.echo(f"{record['reason']}: {where}: {record['message']} {record['raw']}")


@quarantine_app.command()
def export(
    workspace: WorkspaceName,
    to: Annotated[Path, typer.Option(metavar="FILE", help="A .csv or .parquet file that is made.")],
    reason: Annotated[str | None, typer.Option(help="Only records with this reason.")] = None,
    acting_user: ActingUser = None,
    as_json: AsJson = False,
) -> None:
    """Write the quarantined records, each with reason, file, line and the record as it came, to a file."""
    with open_desk(workspace, acting_user, as_json) as (_settings, found, desk):
        if to.suffix not in (".csv", ".parquet") or not to.absolute().parent.is_dir():
            raise InvalidInput(f"{to}: name a .csv or .parquet file in a folder that exists.")
        with desk.transaction() as connection:
            landed, files = arrivals.landed(connection, found.id, "quarantine")
        written = quarantine.export(desk.store, landed, files, to.absolute(), reason)
    if as_json:
        print_json({"file": str(to), "records": written})
    else:
        typer.echo(f"{written:,} records in {to}")


@quarantine_app.command()
def readmit(
    workspace: WorkspaceName,
    reason: Reason = "asked for",
    wait: Wait = False,
    timeout: Timeout = 3600,
    acting_user: ActingUser = None,
    as_json: AsJson = False,
) -> None:
    """Read again what could land otherwise today: another first month or contract, or a date now past."""
    with open_desk(workspace, acting_user, as_json) as (settings, found, desk):
        made = read_again(desk, reason)
        changed = [(pair.old, pair.new) for pair in made if pair.new]
        if not as_json:
            for old, new in changed:
                typer.echo(
                    f"{new.file_name}: {old.landed:,} records had landed, now {new.landed:,}", err=True
                )
            typer.echo(f"{len(made)} arrival(s) read again, {len(changed)} came out differently.", err=True)
        told: dict[str, Any] = {
            "read_again": [pair.old.id for pair in made],
            "readmitted": [asdict(new) for _old, new in changed],
        }
        if wait:
            told |= wait_and_tell(
                settings,
                found,
                timeout,
                as_json,
                present=[new.id for _old, new in changed],
                absent=[old.id for old, _new in changed],
            )
    if as_json:
        print_json(told)
