"""``casetrail query`` and ``casetrail provenance``: reading the current release, and proving it."""

from dataclasses import asdict
from typing import Annotated, Any, NoReturn

import typer
from rich.table import Table

from orchestration.cli.aliases import tell_aliases
from orchestration.cli.printing import print_json, print_table
from orchestration.cli.workspace import ActingUser, AsJson, WorkspaceName, acting
from orchestration.control_plane import analyses, arrivals, jobs, kept_releases, releases, workspaces
from orchestration.control_plane.database import Connection
from orchestration.lake.credentials import CredentialBroker
from orchestration.lake.query import QueryFailed, QueryLimits, QueryResult, StatementRefused, run_query
from orchestration.lake.views import VIEWS, ViewSource
from orchestration.settings import load_settings
from orchestration.stages.replay import Comparison, NothingReleased, replay, replay_analysis

provenance_app = typer.Typer(
    help="Look at a release's provenance record, and replay it.", no_args_is_help=True
)

Analysis = Annotated[
    str | None,
    typer.Option(
        "--analysis", metavar="ID", help="Its id or the beginning of it; the standing one if not given."
    ),
]
Release = Annotated[
    str | None,
    typer.Option(
        "--release", metavar="ID", help="A release that is still kept; the current one if not given."
    ),
]


def query(
    workspace: WorkspaceName,
    sql: Annotated[
        str, typer.Argument(help="One SELECT over events, cases, variants, process_map, quarantine.")
    ],
    analysis: Analysis = None,
    release: Release = None,
    acting_user: ActingUser = None,
    as_json: AsJson = False,
    rows: Annotated[int, typer.Option(help="The most rows that may come back.")] = 10_000,
) -> None:
    """Run one SELECT over the current release of a workspace, in a process of its own."""
    result = run_sql(workspace, sql, analysis=analysis, release=release, acting_user=acting_user, rows=rows)
    names = [name for name, _kind in result.columns]
    if as_json:
        print_json([dict(zip(names, row, strict=True)) for row in result.rows])
        return
    table = Table(*names, box=None)
    for row in result.rows:
        table.add_row(*("" if value is None else str(value) for value in row))
    print_table(table)


def run_sql(
    workspace: str,
    sql: str,
    *,
    analysis: str | None = None,
    release: str | None = None,
    acting_user: str | None = None,
    rows: int = 10_000,
) -> QueryResult:
    """Run one SELECT over the current release, or another one; what goes wrong is told in one line.

    Raises:
        typer.Exit: with 2 for a statement that is refused, with 1 for anything else.
    """
    with acting(acting_user) as connection:
        found = workspaces.find_workspace(connection, workspace)
        provenance_id = release or _current_release(connection, found, analysis)
        kept_releases.require_kept(connection, found.id, provenance_id)
        sources = _view_sources(connection, found, provenance_id)
        tell_aliases(connection, found.id, sql)
    settings = load_settings()
    credentials = CredentialBroker(settings).for_workspace(found.id, found.region, read_only=True)
    limits = QueryLimits(memory=settings.query_memory, seconds=settings.query_seconds, rows=rows)
    bucket = f"s3://{credentials.bucket}/"
    views = {
        name: ViewSource(
            [bucket + key for key in keys], {bucket + key: origin for key, origin in keys.items() if origin}
        )
        for name, keys in sources.items()
    }
    try:
        return run_query(credentials, views, sql, limits)
    except StatementRefused as error:
        _fail(str(error), 2)
    except QueryFailed as error:
        with acting(
            acting_user
        ) as connection:  # while it ran, its release may have been superseded and collected
            kept_releases.require_kept(connection, found.id, provenance_id)
        _fail(str(error), 1)


def _fail(message: str, code: int) -> NoReturn:
    typer.echo(f"Error: {message}", err=True)
    raise typer.Exit(code)


Keys = dict[str, Any]


def _view_sources(
    connection: Connection, workspace: workspaces.Workspace, provenance_id: str
) -> dict[str, Keys]:
    """View -> the released object keys behind it; quarantine, as it is now, has the arrival of each."""
    sources: dict[str, Keys] = {name: {} for name in VIEWS}
    for file in releases.release_files(connection, workspace.id, provenance_id):
        if file.dataset in sources:
            sources[file.dataset][file.object_key] = None
    names = {a.id: a.file_name for a in arrivals.list_arrivals(connection, workspace.id, "landed")}
    for rejected in arrivals.list_landed_files(connection, workspace.id, "quarantine"):
        sources["quarantine"][rejected.object_key] = (rejected.arrival_id, names[rejected.arrival_id])
    return sources


def _analysis(
    connection: Connection, workspace: workspaces.Workspace, analysis: str | None
) -> jobs.AnalysisJob:
    """The analysis whose id begins so; the standing one if none is named."""
    if analysis:
        return analyses.find_job(connection, workspace.id, analysis)
    return jobs.standing_job(connection, workspace.id)


def _current_release(connection: Connection, workspace: workspaces.Workspace, analysis: str | None) -> str:
    job = _analysis(connection, workspace, analysis)
    if job.provenance_id is None and job.kind == "on_demand":
        _fail(f"The analysis {job.id} is {job.status} and has no release.", 1)
    if job.provenance_id is None:
        _fail(
            f"{workspace.slug} has no release yet: upload a log (casetrail upload {workspace.slug} FILE --wait)",
            1,
        )
    return job.provenance_id


@provenance_app.command("list")
def list_releases(workspace: WorkspaceName, acting_user: ActingUser = None, as_json: AsJson = False) -> None:
    """List the releases that can still be read, newest first."""
    with acting(acting_user) as connection:
        found = workspaces.find_workspace(connection, workspace)
        ages = kept_releases.release_ages(connection, found.id)
    if as_json:
        print_json([asdict(age) for age in ages])
        return
    table = Table("release", "made", "superseded", box=None)
    for age in ages:
        table.add_row(
            age.id,
            f"{age.created_at:%Y-%m-%d %H:%M:%S}",
            f"{age.superseded_at:%Y-%m-%d %H:%M:%S}" if age.superseded_at else "current",
        )
    print_table(table)


@provenance_app.command()
def show(
    workspace: WorkspaceName,
    analysis: Analysis = None,
    release: Annotated[
        str | None, typer.Option(metavar="ID", help="An older release's provenance id.")
    ] = None,
    acting_user: ActingUser = None,
    as_json: AsJson = False,
) -> None:
    """Show the provenance record of the current release: steps, inputs, outputs, versions."""
    with acting(acting_user) as connection:
        found = workspaces.find_workspace(connection, workspace)
        provenance_id = release or _current_release(connection, found, analysis)
        try:
            record = releases.provenance(connection, found.id, provenance_id)
        except LookupError as error:
            _fail(str(error), 1)
    if as_json:
        print_json(record)
        return
    typer.echo(
        f"release {record['id']}, made {record['created_at']:%Y-%m-%d %H:%M} UTC, as of {record['as_of']:%Y-%m-%d}"
    )
    typer.echo(f"content {record['content_sha256']}")
    if record["superseded_at"]:
        kept = f"its files are gone since {record['collected_at']:%Y-%m-%d %H:%M} UTC"
        typer.echo(
            f"superseded {record['superseded_at']:%Y-%m-%d %H:%M} UTC,"
            f" {kept if record['collected_at'] else 'its files are kept'}"
        )
    table = Table("step", "name", "months", "rows", "seconds", "code", box=None)
    for step in record["etl_steps"]:
        rows = sum(output["rows"] for output in step["outputs"])
        code = ", ".join(version[:12] for version in step.get("code_versions", ()))
        months = len({output["month"] for output in step["outputs"]})
        table.add_row(
            str(step["step"]), step["name"], str(months), f"{rows:,}", str(step.get("seconds", "")), code
        )
    print_table(table)
    failed = [a for a in record["audits"] if not a["passed"]]
    typer.echo(f"{len(record['audits'])} audits, {len(failed)} failed")


@provenance_app.command()
def verify(
    workspace: WorkspaceName,
    analysis: Analysis = None,
    acting_user: ActingUser = None,
    as_json: AsJson = False,
    threads: Annotated[
        int, typer.Option(help="DuckDB threads of the replay; the result does not depend on it.")
    ] = 2,
) -> None:
    """Make the current release again and compare every content hash. Exit code 1 if one differs.

    That of the standing analysis is made from raw, that of an analysis on demand from the release that it was asked of.
    """
    with acting(acting_user) as connection:  # only who may read the workspace may have it replayed
        found = workspaces.find_workspace(connection, workspace)
        job = _analysis(connection, found, analysis)
    progress = None if as_json else lambda line: typer.echo(line, err=True)
    try:
        if job.kind == "standing":
            compared = replay(load_settings(), found.slug, threads=threads, progress=progress)
        else:
            compared = replay_analysis(load_settings(), job, threads=threads, progress=progress)
    except (kept_releases.ReleaseCollected, NothingReleased) as error:
        _fail(str(error), 1)
    differing = [c for c in compared if not c.agrees]
    if as_json:
        print_json({"agrees": not differing, "files": [asdict(c) for c in compared]})
    else:
        _print_comparison(compared)
    raise typer.Exit(1 if differing else 0)


def _print_comparison(compared: list[Comparison]) -> None:
    table = Table("dataset", "files", "agree", "differ", box=None)
    for dataset in dict.fromkeys(c.dataset for c in compared):
        mine = [c for c in compared if c.dataset == dataset]
        agree = sum(c.agrees for c in mine)
        table.add_row(dataset, str(len(mine)), str(agree), str(len(mine) - agree))
    print_table(table)
    for c in compared:
        if not c.agrees:
            typer.echo(f"differs: {c.dataset} {c.month}: released {c.released}, replayed {c.replayed}")
