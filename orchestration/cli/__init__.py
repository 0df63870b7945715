"""The ``casetrail`` command: one file a group of commands; this one only puts them together."""

import typer

from orchestration.cli import services, source
from orchestration.cli.analysis import analysis_app
from orchestration.cli.arrivals import arrivals_app
from orchestration.cli.connector import connector_app
from orchestration.cli.demo import demo_app
from orchestration.cli.garbage import gc
from orchestration.cli.keys import key_app
from orchestration.cli.link import link_app
from orchestration.cli.notify import notify_app
from orchestration.cli.quarantine import quarantine_app
from orchestration.cli.refresh import refresh
from orchestration.cli.release import provenance_app, query
from orchestration.cli.upload import upload
from orchestration.cli.workspace import member_app, workspace_app

app = typer.Typer(
    help="casetrail: event logs become cases, variants, explanations and provenance.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)

for command in (
    *(services.up, services.down, services.status, services.env),
    *(upload, refresh, query, gc),
):
    app.command()(command)
for name, of_source in source.COMMANDS.items():
    connector_app.command(name)(of_source)
app.add_typer(workspace_app, name="workspace")
app.add_typer(member_app, name="member")
app.add_typer(arrivals_app, name="arrivals")
app.add_typer(connector_app, name="connector")
app.add_typer(link_app, name="link")
app.add_typer(quarantine_app, name="quarantine")
app.add_typer(analysis_app, name="analysis")
app.add_typer(provenance_app, name="provenance")
app.add_typer(notify_app, name="notify")
app.add_typer(key_app, name="key")
app.add_typer(demo_app, name="demo")


def main() -> None:
    """The entry point of the ``casetrail`` script."""
    app()
