"""The ``casetrail`` command: one file a group of commands; this one only puts them together."""

import typer

from orchestration.cli import services
from orchestration.cli.analysis import analysis_app
from orchestration.cli.demo import demo
from orchestration.cli.release import provenance_app, query
from orchestration.cli.upload import upload
from orchestration.cli.workspace import member_app, workspace_app

app = typer.Typer(
    help="casetrail: event logs become cases, variants, explanations and provenance.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)

for command in (services.up, services.down, services.status, services.env, upload, query, demo):
    app.command()(command)
app.add_typer(workspace_app, name="workspace")
app.add_typer(member_app, name="member")
app.add_typer(analysis_app, name="analysis")
app.add_typer(provenance_app, name="provenance")


def main() -> None:
    """The entry point of the ``casetrail`` script."""
    app()
