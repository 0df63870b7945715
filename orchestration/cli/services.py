"""`casetrail up`, `down`, `status` and `env`: the services of this installation."""

import json
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import Annotated

import typer

from orchestration.control_plane.errors import ControlPlaneError
from orchestration.control_plane.migrate import migrate
from orchestration.control_plane.users import ensure_operator
from orchestration.services.dagster_processes import dagster_environment
from orchestration.services.stack import ServiceStatus, Stack
from orchestration.settings import Settings, SettingsError, load_installation, load_settings

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
StorageOnly = Annotated[bool, typer.Option("--storage-only", help="PostgreSQL and S3 only, not Dagster.")]


def up(storage_only: StorageOnly = False, as_json: AsJson = False) -> None:
    """Start what is down, apply migrations, and return when everything can be used."""
    with _clear_failures():
        stack = Stack(load_installation())
        _show(stack.up(prepare=prepare_control_plane, storage_only=storage_only), as_json)


def down(as_json: AsJson = False) -> None:
    """Stop every service of this installation. Its data stays."""
    with _clear_failures():
        _show(Stack(load_installation()).down(), as_json)


def status(as_json: AsJson = False) -> None:
    """Show the services and their endpoints. Exit code 1 if one is stopped."""
    with _clear_failures():
        services = Stack(load_installation()).status()
    _show(services, as_json)
    if any(service.state == "stopped" for service in services):
        raise typer.Exit(1)


def env(as_json: AsJson = False) -> None:
    """Print what `dagster` commands need in their environment: `eval "$(casetrail env)"`.

    The output holds the password of Dagster's database.
    """
    with _clear_failures():
        variables = dagster_environment(load_settings())
    if as_json:
        typer.echo(json.dumps(variables, indent=2))
        return
    for name, value in variables.items():
        typer.echo(f"export {name}={shlex.quote(value)}")


def prepare_control_plane(settings: Settings) -> None:
    """Apply the migrations that are missing, and make the operator of the installation known."""
    migrate(settings.owner_dsn)
    ensure_operator(settings.owner_dsn, settings.operator)


def _show(services: list[ServiceStatus], as_json: bool) -> None:
    if as_json:
        rows = [asdict(service) for service in services]
        typer.echo(json.dumps({"services": rows}, indent=2, default=lambda moment: moment.isoformat()))
        return
    for service in services:
        since = f"since {service.since:%Y-%m-%d %H:%M:%S} UTC" if service.since else ""
        pid = f"pid {service.pid}" if service.pid else ""
        line = f"{service.name:<12} {service.state:<9} {pid:<12} {service.endpoint or '':<44} {since}"
        typer.echo(line.rstrip())


@contextmanager
def _clear_failures() -> Iterator[None]:
    """Print an expected failure as one message: exit code 2 for a bad setting, 1 for anything else."""
    try:
        yield
    except SettingsError as error:
        typer.echo(f"casetrail: {error}", err=True)
        raise typer.Exit(2) from None
    except (ControlPlaneError, RuntimeError, OSError) as error:
        typer.echo(f"casetrail: {error}", err=True)
        raise typer.Exit(1) from None
