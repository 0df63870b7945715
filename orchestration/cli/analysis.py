"""``casetrail analysis``: the standing analysis of a workspace, and analyses on demand."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from orchestration.cli.printing import cell, print_json, print_rows
from orchestration.cli.question import question, standing_parameters, wait_for_answer
from orchestration.cli.workspace import ActingUser, AsJson, WorkspaceName, acting, told_problems
from orchestration.control_plane import analyses, jobs, releases, workspaces
from orchestration.control_plane.jobs import AnalysisJob
from orchestration.control_plane.workspaces import Workspace
from orchestration.settings import load_settings
from orchestration.stages.asking import ask
from orchestration.stages.question import parameters_of
from orchestration.stages.workbench import AnalysisParameters

analysis_app = typer.Typer(
    help="Ask for analyses, look at them, and say when a case is completed.", no_args_is_help=True
)

AnalysisId = Annotated[str, typer.Argument(metavar="ID", help="Id of the analysis, or the beginning of it.")]

Wait = Annotated[bool, typer.Option("--wait", help="Wait for the answer.")]
Timeout = Annotated[float, typer.Option(help="Seconds to wait at most.")]


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
    calendar: Annotated[
        Path | None,
        typer.Option(
            help="A JSON file with the working calendar that durations are measured by.", exists=True
        ),
    ] = None,
    explanation: Annotated[
        str | None, typer.Option(help="What is explained, as JSON: 'explanation' of `analysis schema`.")
    ] = None,
    acting_user: ActingUser = None,
    as_json: AsJson = False,
) -> None:
    """Set the completion rule, the happy path, the calendar and what is explained; the next refresh applies them.

    Without a rule every case counts as completed. Without a happy path, each month's is its most frequent path among
    completed cases. Without a calendar durations are elapsed time.
    """
    with told_problems():
        parameters = standing_parameters(end_activity or [], silence_days, happy_path, calendar, explanation)
    with acting(acting_user) as connection:
        found = workspaces.find_workspace(connection, workspace)
        job = jobs.set_parameters(connection, found.id, parameters.model_dump(mode="json"))
    if as_json:
        print_json(asdict(job))
    else:
        typer.echo(f"The standing analysis of {found.slug} will be refreshed with this rule.")


@analysis_app.command()
def run(
    workspace: WorkspaceName,
    first: Annotated[
        str | None, typer.Option("--from", help="Cases that started in this month or later.")
    ] = None,
    last: Annotated[
        str | None, typer.Option("--to", help="Cases that started in this month or before.")
    ] = None,
    parameters_file: Annotated[
        Path | None,
        typer.Option("--parameters", help="A JSON file as `analysis schema` describes.", exists=True),
    ] = None,
    filters: Annotated[
        list[str] | None, typer.Option("--filter", help="One more filter, as JSON. May be given again.")
    ] = None,
    again: Annotated[bool, typer.Option(help="Also if it was answered before.")] = False,
    wait: Wait = False,
    timeout: Timeout = 600,
    acting_user: ActingUser = None,
    as_json: AsJson = False,
) -> None:
    """Ask a question of the current release: an analysis of the cases that the filters select.

    The same question to a release with the same content is recognised: you get the answer that exists.
    """
    with told_problems():
        parameters = question(parameters_file, filters or [], first, last)
    with acting(acting_user) as connection:
        found = workspaces.find_workspace(connection, workspace)
    _ask(found, parameters, again=again, wait=wait, timeout=timeout, acting_user=acting_user, as_json=as_json)


def _ask(
    found: Workspace,
    parameters: AnalysisParameters,
    *,
    again: bool,
    wait: bool,
    timeout: float,
    acting_user: str | None,
    as_json: bool,
) -> None:
    """Ask, wait if that is wanted, and tell; 1 is the exit code of an analysis that failed."""
    with told_problems():
        asked = ask(load_settings(), lambda: acting(acting_user), found, parameters, again=again)
    job = asked.job
    if wait and not asked.is_known:
        job = wait_for_answer(found, job, timeout, acting_user, as_json)
    _print_job(found.slug, job, as_json, "answered before" if asked.is_known else None)
    if job.status == "failed":
        raise typer.Exit(1)


@analysis_app.command("list")
def list_analyses(
    workspace: WorkspaceName,
    limit: Annotated[int, typer.Option(help="So many analyses on demand at most.", min=1)] = 20,
    before: Annotated[
        str | None, typer.Option(metavar="ID", help="Those that were asked before this one.")
    ] = None,
    acting_user: ActingUser = None,
    as_json: AsJson = False,
) -> None:
    """List the analyses of a workspace: the standing one, then those on demand, newest first."""
    with acting(acting_user) as connection:
        found = workspaces.find_workspace(connection, workspace)
        last = analyses.find_job(connection, found.id, before).id if before else None
        asked = analyses.newest(connection, found.id, limit + 1, last)
        first = [] if before else [jobs.standing_job(connection, found.id)]
    rows = [asdict(job) for job in (*first, *asked[:limit])]
    if as_json:
        print_json(rows)
        return
    print_rows(rows, ("id", "kind", "status", "created_at", "finished_at", "error_message"))
    if len(asked) > limit:
        typer.echo(f"There are older ones: --before {asked[limit - 1].id}")


@analysis_app.command()
def cancel(
    workspace: WorkspaceName, analysis: AnalysisId, acting_user: ActingUser = None, as_json: AsJson = False
) -> None:
    """Ask for the end of an analysis that waits or runs."""
    with acting(acting_user) as connection:
        found = workspaces.find_workspace(connection, workspace)
        job = analyses.find_job(connection, found.id, analysis)
        if job.kind == "standing" or job.status not in ("queued", "running"):
            raise jobs.UnknownJob(
                f"Analysis {job.id} is {job.status}: only one that waits or runs can be cancelled."
            )
        analyses.request_cancellation(connection, found.id, job.id)
    _print_job(found.slug, job, as_json, "its end was asked for")


@analysis_app.command()
def rerun(
    workspace: WorkspaceName,
    analysis: AnalysisId,
    wait: Wait = False,
    timeout: Timeout = 600,
    acting_user: ActingUser = None,
    as_json: AsJson = False,
) -> None:
    """Ask the question of an analysis again, of the current release."""
    with acting(acting_user) as connection:
        found = workspaces.find_workspace(connection, workspace)
        before = analyses.find_job(connection, found.id, analysis)
        if before.kind == "standing":
            raise jobs.UnknownJob("The standing analysis is refreshed: `casetrail refresh`.")
    with told_problems():
        parameters = parameters_of(before.parameters)
    _ask(found, parameters, again=True, wait=wait, timeout=timeout, acting_user=acting_user, as_json=as_json)


@analysis_app.command()
def schema() -> None:
    """Print the JSON schema of the parameters of an analysis."""
    print_json(AnalysisParameters.model_json_schema(by_alias=True))


@analysis_app.command()
def show(
    workspace: WorkspaceName,
    analysis: Annotated[
        str | None, typer.Argument(help="Its id or the beginning of it; else the standing one.")
    ] = None,
    acting_user: ActingUser = None,
    as_json: AsJson = False,
) -> None:
    """Show an analysis: its state, parameters and the explanation of the whole analysis."""
    with acting(acting_user) as connection:
        found = workspaces.find_workspace(connection, workspace)
        job = (
            jobs.standing_job(connection, found.id)
            if analysis is None
            else analyses.find_job(connection, found.id, analysis)
        )
        rows = []
        if job.provenance_id is not None:
            rows = releases.explanations(connection, found.id, job.provenance_id, None)
    if as_json:
        print_json({**asdict(job), "explanations": rows})
        return
    _print_job(found.slug, job, as_json=False, remark=None, hint=False)
    _print_facts(job)
    for row in rows:
        typer.echo(f"\n[{row['scope']}] {row['summary']}")


def _print_facts(job: AnalysisJob) -> None:
    """When it was asked and answered, of which release, and with which parameters; nothing for what is not so."""
    times = {"asked": job.created_at, "started": job.started_at, "ended": job.finished_at}
    typer.echo(", ".join(f"{name} {cell(moment)} UTC" for name, moment in times.items() if moment))
    if job.base_provenance_id:
        typer.echo(f"asked of release {job.base_provenance_id}")
    typer.echo(f"parameters {json.dumps(job.parameters, ensure_ascii=False)}")


def _print_job(slug: str, job: AnalysisJob, as_json: bool, remark: str | None, hint: bool = True) -> None:
    if as_json:
        print_json({**asdict(job), "remark": remark})
        return
    typer.echo(f"{slug} {job.id}: {job.status}" + (f", {remark}" if remark else ""))
    if job.error_message:
        typer.echo(job.error_message)
    if job.provenance_id:
        more = f"; `casetrail analysis show {slug} {job.id}` tells what it holds" if hint else ""
        typer.echo(f"release {job.provenance_id}{more}")
