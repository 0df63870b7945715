"""``casetrail upload``: a file becomes an arrival of a workspace's csv_upload connector."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, get_args

import typer
from rich.table import Table

from orchestration.cli.printing import print_json, print_table
from orchestration.cli.progress import ProgressLine
from orchestration.cli.waiting import wait_and_tell
from orchestration.cli.workspace import ActingUser, AsJson, WorkspaceName, acting
from orchestration.connectors.errors import AmbiguousMapping, ConnectorError
from orchestration.connectors.mapping import Hints
from orchestration.connectors.personal import Personal
from orchestration.connectors.probe import Probe, probe
from orchestration.control_plane import connectors, database, workspaces
from orchestration.control_plane.connectors import Connector
from orchestration.control_plane.inbox import CONNECTOR_TYPE
from orchestration.control_plane.workspaces import Workspace
from orchestration.lake.credentials import CredentialBroker
from orchestration.lake.objects import WorkspaceStore
from orchestration.settings import Settings, load_settings
from orchestration.stages.at_the_door import without_personal
from orchestration.stages.intake import Intake, take_in

CONNECTOR_NAME = "uploads"
PROBED_RECORDS = 20_000

Column = Annotated[str | None, typer.Option(metavar="COL")]


def upload(
    workspace: WorkspaceName,
    file: Annotated[
        Path,
        typer.Argument(
            exists=True,
            dir_okay=False,
            readable=True,
            help="CSV, Excel, JSON lines, XES, OCEL or Parquet; also .gz, .zip.",
        ),
    ],
    system: Annotated[
        str | None, typer.Option(metavar="NAME", help="The system that the records come from.")
    ] = None,
    case_id: Column = None,
    activity: Column = None,
    timestamp: Column = None,
    start_timestamp: Column = None,
    resource: Column = None,
    role: Column = None,
    org_unit: Column = None,
    lifecycle: Column = None,
    record_key: Annotated[
        list[str] | None,
        typer.Option(
            metavar="COL", help="Identifies a record; may be given again. A new version replaces the old."
        ),
    ] = None,
    order: Annotated[
        str | None, typer.Option(metavar="COL", help="Orders events of a case that have the same time.")
    ] = None,
    timestamp_format: Annotated[
        str | None,
        typer.Option(
            metavar="FMT", help="iso, day-first, month-first, epoch-s, epoch-ms or a strptime pattern."
        ),
    ] = None,
    timezone: Annotated[
        str | None, typer.Option(metavar="TZ", help="Zone of times without an offset, such as Europe/Berlin.")
    ] = None,
    delimiter: Annotated[str | None, typer.Option(metavar="C")] = None,
    encoding: Annotated[str | None, typer.Option(metavar="E")] = None,
    null: Annotated[
        list[str] | None, typer.Option(metavar="TEXT", help="A value that means nothing; may be given again.")
    ] = None,
    object_type: Annotated[
        str | None, typer.Option(metavar="TYPE", help="Whose objects are the cases of an OCEL log.")
    ] = None,
    sheet: Annotated[
        str | None, typer.Option(metavar="NAME", help="Which sheet of a workbook is the log.")
    ] = None,
    personal: Annotated[
        list[str] | None,
        typer.Option(
            metavar="COL=RULE",
            help="drop, pseudonym or email: before anything is stored; keep ends a rule. May be given again.",
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what would be done, and do nothing.")
    ] = False,
    wait: Annotated[bool, typer.Option("--wait", help="Wait until a release holds the file.")] = False,
    timeout: Annotated[float, typer.Option(help="Seconds to wait at most.")] = 3600,
    acting_user: ActingUser = None,
    as_json: AsJson = False,
) -> None:
    """Upload an event log. Columns are suggested from header and content where they are not given."""
    given = {
        "system": system, "case_id": case_id, "activity": activity, "timestamp": timestamp,
        "start_timestamp": start_timestamp, "resource": resource, "role": role, "org_unit": org_unit,
        "lifecycle": lifecycle, "record_key": tuple(record_key or ()), "order": order,
        "timestamp_format": timestamp_format, "timezone": timezone, "delimiter": delimiter, "encoding": encoding,
        "null": tuple(null or ()), "object_type": object_type, "sheet": sheet,
        "personal": _rules(personal or []),
    }  # fmt: skip
    settings = load_settings()
    with acting(acting_user) as connection:
        found = workspaces.find_workspace(connection, workspace)
        known = [c for c in connectors.list_connectors(connection, found.id) if c.type == CONNECTOR_TYPE]
    hints = _hints(known[0].config if known else {}, {name: value for name, value in given.items() if value})
    with _clear_errors():
        looked = probe(
            file, hints, first_month=settings.first_month, now=datetime.now(UTC), max_records=PROBED_RECORDS
        )
        if dry_run:
            _show_probe(looked, as_json)
            return
        taken = _take_in(settings, found, file, looked, acting_user, None if as_json else ProgressLine())
    _show_intake(taken, as_json and not wait)
    if wait:
        _wait(settings, found, taken, timeout, as_json)


def _hints(remembered: dict[str, Any], given: dict[str, Any]) -> Hints:
    """What the connector remembers of earlier uploads, and over it what was said now."""
    personal = remembered.get("personal", {}) | given.get("personal", {})
    return Hints.model_validate(remembered | given | {"personal": personal})


def _rules(given: list[str]) -> dict[str, str]:
    """What is to become of personal columns, by column."""
    rules = {}
    for pair in given:
        column, equals, rule = pair.rpartition("=")
        if not equals or rule not in get_args(Personal):
            raise typer.BadParameter(
                f"{pair}: give COLUMN=RULE, where RULE is one of {', '.join(get_args(Personal))}."
            )
        rules[column] = rule
    return rules


@contextmanager
def _clear_errors() -> Iterator[None]:
    try:
        yield
    except AmbiguousMapping as error:
        typer.echo(f"Error: the file can be read in more than one way.\n{error}", err=True)
        raise typer.Exit(2) from None
    except ConnectorError as error:
        typer.echo(f"Error: {error}", err=True)
        raise typer.Exit(1) from None


def _take_in(
    settings: Settings,
    workspace: Workspace,
    file: Path,
    looked: Probe,
    acting_user: str | None,
    line: ProgressLine | None,
) -> Intake:
    def progress(done: int, total: int) -> None:
        if line is not None and total:
            line.tell(f"{file.name}: {100 * done // total} % read")

    mapping = looked.mapping
    with acting(acting_user) as connection:
        connector = _remember(connection, workspace.id, mapping.model_dump(mode="json"))
    store = WorkspaceStore(CredentialBroker(settings).for_workspace(workspace.id, workspace.region))
    with without_personal(settings, workspace.id, connector.id, file, mapping, progress) as kept:
        return take_in(
            lambda: database.as_user(settings.app_dsn, acting_user or settings.operator),
            store,
            kept,
            mapping,
            connector_id=connector.id,
            file_name=file.name,
            first_month=settings.first_month,
            progress=progress,
        )


def _remember(connection: database.Connection, workspace_id: str, config: dict[str, Any]) -> Connector:
    """The workspace's upload connector, its ``config`` holding this mapping for the next file."""
    connector = connectors.ensure_connector(connection, workspace_id, CONNECTOR_TYPE, CONNECTOR_NAME, config)
    if connector.config != config:
        connectors.set_config(connection, workspace_id, connector.id, config)
    return connector


def _show_probe(looked: Probe, as_json: bool) -> None:
    if as_json:
        print_json(asdict(looked))
        raise typer.Exit(2 if looked.questions else 0)
    typer.echo(f"{looked.format}, {len(looked.columns)} columns, {looked.records:,} records looked at")
    table = Table("part", "column", "confidence", "why", box=None)
    for suggestion in looked.suggestions:
        table.add_row(suggestion.field, suggestion.column, f"{suggestion.confidence:.0%}", suggestion.reason)
    print_table(table)
    for row in looked.first_rows:
        typer.echo(
            json.dumps({k: v for k, v in row.items() if v is not None}, default=str, ensure_ascii=False)
        )
    for rejected in looked.quarantine:
        typer.echo(
            f"would be quarantined: {rejected.count:,} {rejected.reason}: {rejected.examples[0]['message']}"
        )
    for warning in looked.warnings:
        typer.echo(f"warning: {warning}")
    for question in looked.questions:
        typer.echo(f"open: {question}")
    raise typer.Exit(2 if looked.questions else 0)


def _show_intake(taken: Intake, as_json: bool) -> None:
    arrival, landing = taken.arrival, taken.landing
    if as_json:
        print_json(_intake_json(taken))
        return
    if landing is None:
        typer.echo(f"{arrival.file_name} is here already (arrival {arrival.id}); nothing was done.", err=True)
        return
    typer.echo(
        f"arrival {arrival.id}: {landing.records:,} records = {landing.landed:,} landed in"
        f" {len(landing.months)} month(s) + {landing.non_event:,} non-event + {landing.quarantined:,} quarantined",
        err=True,
    )
    for reason, count in landing.reasons.items():
        typer.echo(f"quarantined: {count:,} {reason}", err=True)
    for warning in landing.warnings:
        typer.echo(f"warning: {warning}", err=True)


def _intake_json(taken: Intake) -> dict[str, Any]:
    landing = taken.landing
    return {
        **asdict(taken.arrival),
        "already_here": landing is None,
        "months": {month: landed.rows for month, landed in landing.months.items()} if landing else None,
        "quarantined_by_reason": landing.reasons if landing else None,
        "warnings": list(landing.warnings) if landing else [],
    }


def _wait(settings: Settings, workspace: Workspace, taken: Intake, timeout: float, as_json: bool) -> None:
    released = wait_and_tell(settings, workspace, timeout, as_json, present=[taken.arrival.id])
    if as_json:
        print_json(_intake_json(taken) | released)
