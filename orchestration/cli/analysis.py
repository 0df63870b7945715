"""``casetrail analysis``: the standing analysis of a workspace and its explanations."""

import json
from dataclasses import asdict
from typing import Annotated

import typer
from pydantic import ValidationError

from orchestration.cli.workspace import ActingUser, AsJson, WorkspaceName, acting
from orchestration.control_plane import jobs, releases, workspaces
from orchestration.stages.workbench import AnalysisParameters

analysis_app = typer.Typer(
    help="Look at the standing analysis, and say when a case is completed.", no_args_is_help=True
)


@analysis_app.command()
def configure(
    workspace: WorkspaceName,
    end_activity: Annotated[
        list[str] | None, typer.Option(help="A case that ends with it is completed. May be given again.")
    ] = None,
    silence_days: Annotated[
        int | None, typer.Option(help="A case without events for so many days is completed.", min=1)
    ] = None,
    happy_path: Annotated[
        list[str] | None,
        typer.Option(help="The next activity of the happy path; give it once for each, in their order."),
    ] = None,
    acting_user: ActingUser = None,
    as_json: AsJson = False,
) -> None:
    """Set the completion rule and the happy path; the next refresh applies them.

    Without a rule every case counts as completed. Without a happy path, each month's is its most frequent path among
    completed cases.
    """
    completion = {"end_activities": end_activity or [], "silence_days": silence_days}
    try:
        parameters = AnalysisParameters.model_validate({"completion": completion, "happy_path": happy_path})
    except ValidationError as error:
        typer.echo(f"Error: {error.errors()[0]['msg']}", err=True)
        raise typer.Exit(2) from None
    with acting(acting_user) as connection:
        found = workspaces.find_workspace(connection, workspace)
        job = jobs.set_parameters(connection, found.id, parameters.model_dump(mode="json"))
    if as_json:
        typer.echo(json.dumps(asdict(job), default=str, indent=2))
    else:
        typer.echo(f"The standing analysis of {found.slug} will be refreshed with this rule.")


@analysis_app.command()
def show(workspace: WorkspaceName, acting_user: ActingUser = None, as_json: AsJson = False) -> None:
    """Show the standing analysis: its state, parameters and the explanation of the whole analysis."""
    with acting(acting_user) as connection:
        found = workspaces.find_workspace(connection, workspace)
        job = jobs.standing_job(connection, found.id)
        rows = []
        if job.provenance_id is not None:
            rows = releases.explanations(connection, found.id, job.provenance_id, None)
    if as_json:
        typer.echo(
            json.dumps({**asdict(job), "explanations": rows}, default=str, indent=2, ensure_ascii=False)
        )
        return
    typer.echo(f"{job.id}: {job.status}, release {job.provenance_id or 'none yet'}")
    if job.error_message:
        typer.echo(job.error_message)
    for row in rows:
        typer.echo(f"\n[{row['scope']}] {row['summary']}")
