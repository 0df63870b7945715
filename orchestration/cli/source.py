"""``casetrail connector add`` and the like: systems that records are pulled from. No secret is ever an argument."""

import json
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer
from pydantic import SecretStr

from orchestration.cli.printing import print_json, print_rows
from orchestration.cli.progress import ProgressLine
from orchestration.cli.waiting import Timeout, Wait, wait_and_tell
from orchestration.cli.workspace import ActingUser, AsJson, WorkspaceName, acting, told_problems
from orchestration.control_plane import connectors, workspaces
from orchestration.control_plane.connectors import Connector, UnknownConnector
from orchestration.control_plane.database import Connection, SyncUnderWay
from orchestration.control_plane.errors import InvalidInput
from orchestration.control_plane.pulls import list_pulls
from orchestration.control_plane.workspaces import Workspace
from orchestration.settings import Settings, load_settings
from orchestration.sources.credentials import secret_fields
from orchestration.sources.errors import SourceError
from orchestration.sources.personal import Rules
from orchestration.sources.protocol import StreamCheck
from orchestration.sources.registry import source_type, source_types
from orchestration.stages.pull_accounts import pull_accounts
from orchestration.stages.pulls import Synced, take_cadence
from orchestration.stages.pulls import sync as sync_connector
from orchestration.stages.source_access import (
    add_source,
    change_source,
    check_source,
    discover_source,
    shown_personal,
)

ConnectorName = Annotated[str, typer.Argument(metavar="NAME", help="Its name, or TYPE/NAME.")]
ConfigFile = Annotated[
    Path | None,
    typer.Option("--config", exists=True, dir_okay=False, help="The configuration as JSON, without secrets."),
]
Changes = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="FIELD=VALUE", help="A field of it; the value is JSON, or else text."),
]
SecretReferences = Annotated[
    list[str] | None,
    typer.Option("--secret-ref", metavar="FIELD=REF", help="Where the pipeline finds it: env:… or file:…"),
]
SecretsStdin = Annotated[
    bool, typer.Option("--secrets-stdin", help="Read the secrets from standard input, as a JSON object.")
]
Answer = TypeVar("Answer")


def add(
    workspace: WorkspaceName,
    type: Annotated[str, typer.Argument(metavar="TYPE", help=f"One of: {', '.join(source_types())}.")],
    name: Annotated[str | None, typer.Option(help="Its name; the type if not given.")] = None,
    config: ConfigFile = None,
    change: Changes = None,
    secret_ref: SecretReferences = None,
    secrets_stdin: SecretsStdin = False,
    acting_user: ActingUser = None,
    as_json: AsJson = False,
) -> None:
    """Add a connector and check it. Secrets are asked for; they are kept encrypted and shown to nobody."""
    with acting(acting_user) as connection:
        settings, found = load_settings(), workspaces.find_workspace(connection, workspace)
        values = _values(config, change) | _references(secret_ref)
        model = source_type(type).Config
        wanted = {
            name: model.model_fields[name].is_required()
            for name in secret_fields(model)
            if name not in values
        }
        secrets = _secrets(wanted, secrets_stdin)
        name = workspaces.checked_slug(name or type.replace("_", "-"))
        made = add_source(connection, settings, found.id, type, name, values, secrets)
    _check(settings, found, made, acting_user, as_json, enable=True)


def set_(
    workspace: WorkspaceName,
    connector: ConnectorName,
    config: ConfigFile = None,
    change: Changes = None,
    secret_ref: SecretReferences = None,
    secrets_stdin: SecretsStdin = False,
    acting_user: ActingUser = None,
    as_json: AsJson = False,
) -> None:
    """Change fields or secrets of a connector, and check it. What is not named stays."""
    with acting(acting_user) as connection:
        settings, found, known = _known(connection, workspace, connector)
        values = _values(config, change) | _references(secret_ref)
        change_source(connection, settings, known, values, _secrets({}, secrets_stdin))
        changed = connectors.get_connector(connection, found.id, known.id)
    if changed.config["every_minutes"] != known.config["every_minutes"]:
        take_cadence(settings, changed)
    _check(settings, found, changed, acting_user, as_json)


def check(
    workspace: WorkspaceName,
    connector: ConnectorName,
    acting_user: ActingUser = None,
    as_json: AsJson = False,
) -> None:
    """Try a connector: whether it can log in, and each of its streams. Exit code 1 if a person must act."""
    with acting(acting_user) as connection:
        settings, found, known = _known(connection, workspace, connector)
    _check(settings, found, known, acting_user, as_json)


def enable(
    workspace: WorkspaceName,
    connector: ConnectorName,
    acting_user: ActingUser = None,
    as_json: AsJson = False,
) -> None:
    """Check a disabled connector, and let it be synced again."""
    with acting(acting_user) as connection:
        settings, found, known = _known(connection, workspace, connector)
    _check(settings, found, known, acting_user, as_json, enable=True)


def disable(
    workspace: WorkspaceName,
    connector: ConnectorName,
    acting_user: ActingUser = None,
    as_json: AsJson = False,
) -> None:
    """Let a connector rest until somebody enables it. What it brought stays."""
    with acting(acting_user) as connection:
        _settings, found, known = _known(connection, workspace, connector)
        connectors.set_status(connection, found.id, known.id, "disabled")
        changed = connectors.get_connector(connection, found.id, known.id)
    _tell(changed, [], as_json)


def discover(
    workspace: WorkspaceName,
    connector: ConnectorName,
    acting_user: ActingUser = None,
    as_json: AsJson = False,
) -> None:
    """List what a connector's source has: streams, their keys, and what could tell what is new."""
    with acting(acting_user) as connection:
        settings, found, known = _known(connection, workspace, connector)
    with told_problems(), told_sources():
        personal = shown_personal(known)
        streams = discover_source(settings, found, known)
    rows = [asdict(stream) | {"personal": personal.get(stream.name, {})} for stream in streams]
    if as_json:
        print_json(rows)
        return
    shown = [
        {
            "stream": stream.name,
            "columns": len(stream.columns) or None,
            "key": ", ".join(stream.key),
            "cursors": ", ".join(stream.cursors),
            "personal": _ruled(personal.get(stream.name, {}), [column for column, _type in stream.columns]),
        }
        for stream in streams
    ]
    print_rows(shown, ("stream", "columns", "key", "cursors", "personal"))


def sync(
    workspace: WorkspaceName,
    connector: ConnectorName,
    wait: Wait = False,
    timeout: Timeout = 3600,
    acting_user: ActingUser = None,
    as_json: AsJson = False,
) -> None:
    """Pull what is new, now and in this process; if a scheduled sync is at it, behind that one.

    Exit code 1 if it did not come to the source's end for an error.
    """
    with acting(acting_user) as connection:
        settings, found, known = _known(connection, workspace, connector)
    line = ProgressLine()
    tell: Callable[[str], None] = (lambda _text: None) if as_json else line.tell
    with told_problems(), told_sources():
        done = _sync_in_turn(lambda: sync_connector(settings, found, known, progress=tell), tell)
    if not as_json:
        _tell_sync(done, line, workspace, connector)
    told = asdict(done) | {count: done.total(count) for count in _COUNTS}
    if wait:
        entered = [part["arrival_id"] for pull in done.pulls for part in pull.parts if part["arrival_id"]]
        told |= wait_and_tell(settings, found, timeout, as_json, present=entered)
    if as_json:
        print_json(told)


def _tell_sync(done: Synced, line: ProgressLine, workspace: str, connector: str) -> None:
    if done.pulls or done.stopped:
        counts = ", ".join(f"{done.total(count):,} {count.replace('_', '-')}" for count in _COUNTS[1:])
        line.done(f"{done.total('records'):,} records in {len(done.pulls)} pull(s): {counts}.")
    else:
        line.done(
            f"Nothing is new. `casetrail connector pulls {workspace} {connector}` shows what came before."
        )
    for change in (change for pull in done.pulls for change in pull.schema_changes):
        typer.echo(f"{change['stream']}.{change['column']}: {_change(change)}", err=True)
    if done.stopped:
        typer.echo(done.stopped, err=True)


def pulls(
    workspace: WorkspaceName,
    connector: ConnectorName,
    limit: Annotated[int, typer.Option(min=1, help="So many, newest first.")] = 20,
    acting_user: ActingUser = None,
    as_json: AsJson = False,
) -> None:
    """List the pulls of a connector: what became of the records of each, and which columns changed."""
    with acting(acting_user) as connection:
        found = workspaces.find_workspace(connection, workspace)
        known = named_connector(connection, found.id, connector)
        made = list_pulls(connection, found.id, known.id, limit)
        rows = [asdict(account) for account in pull_accounts(connection, found.id, made)]
    if as_json:
        print_json([asdict(pull) | row for pull, row in zip(made, rows, strict=True)])
        return
    for row in rows:
        row["schema changes"] = "; ".join(
            f"{c['stream']}.{c['column']}: {_change(c)}" for c in row["schema_changes"]
        )
    counts = ("records", "mapped", "non_event", "superseded", "duplicate", "quarantined")
    print_rows(rows, ("number", "committed_at", *counts, "schema changes"))


def _sync_in_turn(sync_once: Callable[[], Synced], tell: Callable[[str], None]) -> Synced:
    """Sync as soon as nobody else does: the schedule takes up a new connector by itself."""
    while True:
        try:
            return sync_once()
        except SyncUnderWay:
            tell("The schedule syncs it already: waiting for that to end. Ctrl-C stops the waiting.")
            time.sleep(_TURN_SECONDS)


def _change(change: Mapping[str, Any]) -> str:
    kind = str(change["change"])
    return f"{change['before']} became {change['after']}" if kind == "type" else kind


_TURN_SECONDS = 2.0
"""Between two looks whether a sync that is under way has ended."""

_COUNTS = ("records", "landed", "non_event", "duplicate", "quarantined")

COMMANDS: dict[str, Callable[..., None]] = {
    "add": add,
    "set": set_,
    "check": check,
    "discover": discover,
    "sync": sync,
    "pulls": pulls,
    "enable": enable,
    "disable": disable,
}
"""By name, for the group ``casetrail connector``."""


@contextmanager
def told_sources() -> Iterator[None]:
    """What is wrong with a source is told in one line.

    Raises:
        typer.Exit: with 1.
    """
    try:
        yield
    except SourceError as error:
        typer.echo(f"Error: {error}", err=True)
        raise typer.Exit(1) from None


def named_connector(connection: Connection, workspace_id: str, name: str) -> Connector:
    """The connector of this name that is pulled from, or of TYPE/NAME.

    Raises:
        UnknownConnector: there is none, or more than one.
    """
    every = [c for c in connectors.list_connectors(connection, workspace_id) if c.type in source_types()]
    found = [c for c in every if name in (c.name, f"{c.type}/{c.name}")]
    if len(found) == 1:
        return found[0]
    named = ", ".join(f"{c.type}/{c.name}" for c in found or every) or "none"
    what = "There is more than one connector" if found else "There is no connector to be pulled from called"
    raise UnknownConnector(f"{what} {name}. There are: {named}.")


def _known(connection: Connection, workspace: str, name: str) -> tuple[Settings, Workspace, Connector]:
    """The connector, if the acting user is an admin of its workspace."""
    found = workspaces.find_workspace(connection, workspace)
    known = named_connector(connection, found.id, name)
    connectors.require_admin(connection, found.id, known.id)
    return load_settings(), found, known


def _check(
    settings: Settings,
    workspace: Workspace,
    connector: Connector,
    acting_user: str | None,
    as_json: bool,
    *,
    enable: bool = False,
) -> None:
    checks, failed = list[StreamCheck](), None
    try:
        checks = check_source(settings, workspace, connector, enable=enable)
    except SourceError as error:
        failed = error
    with acting(acting_user) as connection:
        changed = connectors.get_connector(connection, workspace.id, connector.id)
        personal = shown_personal(changed)
    _tell(changed, checks, as_json, personal)
    if failed is not None:
        typer.echo(f"Error: {failed}", err=True)
        if changed.status in _REMEDIES:
            typer.echo(_REMEDIES[changed.status].format(f"{workspace.slug} {connector.name}"), err=True)
        raise typer.Exit(1)


_REMEDIES = {
    "error": "The connector is kept. Once that is put right, there or with `casetrail connector set {0}`, "
    "`casetrail connector check {0}` lets it be synced again.",
    "disabled": "The connector is kept and rests. Once that is put right, there or with "
    "`casetrail connector set {0}`, `casetrail connector enable {0}` lets it be synced.",
}
"""By the status that a failed check leaves, what to do."""


def _tell(
    connector: Connector, checks: list[StreamCheck], as_json: bool, personal: Rules | None = None
) -> None:
    if as_json:
        print_json(asdict(connector) | ({} if personal is None else {"personal": personal}))
        return
    usable = f" Streams: {', '.join(check.stream for check in checks)}." if checks else ""
    typer.echo(f"{connector.type}/{connector.name} is {connector.status}.{usable}")
    for check in checks:
        if told := _ruled((personal or {}).get(check.stream, {}), check.columns):
            typer.echo(f"Personal fields of {check.stream}: {told}.")


def _ruled(rules: Mapping[str, str], columns: Sequence[str] | None) -> str:
    """The rules of those columns that a stream has, if that is known: a type has rules of many more."""
    return ", ".join(
        f"{column} ({rule})" for column, rule in rules.items() if not columns or column in columns
    )


def _values(file: Path | None, change: list[str] | None) -> dict[str, Any]:
    """The fields that were given, those of ``--set`` over those of the file."""
    values = _object(file.read_text(encoding="utf-8"), f"{file}") if file else {}
    return values | dict(_pairs(change, "--set", _json_or_text))


def _references(given: list[str] | None) -> dict[str, Any]:
    return dict(_pairs(given, "--secret-ref", lambda text: {"$ref": text}))


def _pairs(
    given: list[str] | None, option: str, read: Callable[[str], Answer]
) -> Iterator[tuple[str, Answer]]:
    for text in given or ():
        field, equals, value = text.partition("=")
        if not equals:
            # What is behind a forgotten name may be a secret: it is not repeated.
            raise InvalidInput(f"{option} takes FIELD=VALUE.")
        yield field, read(value)


def _secrets(wanted: Mapping[str, bool], from_stdin: bool) -> Mapping[str, SecretStr]:
    """Secrets from standard input, or from whoever sits at the terminal: never shown.

    Args:
        wanted: What to ask for, and whether it is needed: of two ways in, each has its own secret.
        from_stdin: Nothing is asked.
    """
    if from_stdin:
        given = _object(sys.stdin.read(), "standard input")
        return {name: SecretStr(str(value)) for name, value in given.items()}
    asked = {name: _asked(name, is_needed) for name, is_needed in wanted.items()}
    return {name: SecretStr(value) for name, value in asked.items() if value}


def _asked(name: str, is_needed: bool) -> str:
    if is_needed:
        return str(typer.prompt(name, hide_input=True, err=True))
    text = f"{name} (Enter: none)"
    return str(typer.prompt(text, default="", show_default=False, hide_input=True, err=True))


def _object(text: str, where: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except json.JSONDecodeError as error:
        raise InvalidInput(f"{where} is no JSON (line {error.lineno}).") from None
    if not isinstance(value, dict):
        raise InvalidInput(f"{where} is no JSON object.")
    return value


def _json_or_text(value: str) -> Any:
    try:
        return json.loads(value)
    except json.JSONDecodeError:
        return value
