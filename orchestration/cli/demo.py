"""``casetrail demo``: a company with two years of lead to cash in three systems, from records to the explanation."""

import tempfile
import time
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from orchestration.cli import services
from orchestration.cli.analysis import configure
from orchestration.cli.demo_serve import serve
from orchestration.cli.demo_sources import pull_all, upload_erp
from orchestration.cli.partitions import ensure_workspace_partition
from orchestration.cli.printing import print_table
from orchestration.cli.release import run_sql
from orchestration.cli.waiting import wait_and_tell
from orchestration.cli.workspace import acting
from orchestration.control_plane import jobs, releases, workspaces
from orchestration.demo.lead_to_cash import write_lead_to_cash
from orchestration.services.demo_servers import demo_servers
from orchestration.settings import load_installation, load_settings

SLUG = "acme-lead-to-cash"
LAST_ACTIVITY = "Receive payment"
WAIT_SECONDS = 3_600

demo_app = typer.Typer(invoke_without_command=True)
demo_app.command("serve")(serve)


@demo_app.callback()
def demo(
    context: typer.Context,
    once: Annotated[bool, typer.Option("--once", help="Stop the services at the end.")] = False,
    cases: Annotated[int, typer.Option(help="Cases in the sample.", min=100)] = 20_000,
) -> None:
    """Start everything, pull a sample company's records from its systems, and show what came of them."""
    if context.invoked_subcommand is not None:
        return
    began = time.monotonic()
    servers = demo_servers(load_installation().home)
    try:
        for server in servers:
            server.spawn(cases)
        # Dagster comes when all is there: else it would refresh after each of the three systems.
        services.up(storage_only=True)
        _make_workspace()
        with tempfile.TemporaryDirectory(prefix="casetrail-demo-") as folder:
            log = Path(folder) / "lead_to_cash.csv"
            truth = write_lead_to_cash(log, cases=cases, cut_at_end=True)
            typer.echo(
                f"\n{truth.cases:,} cases with planted causes of delay, in a made-up Salesforce, a made-up Marketo and"
                " the CSV of an ERP:"
            )
            pull_all(SLUG, servers)
            upload_erp(SLUG, log)
        services.up()
        _wait()
        _show_result()
        typer.echo(f"\nDone in {time.monotonic() - began:.0f} s.")
    finally:
        if once:
            services.down()
    if not once:
        settings = load_settings()
        typer.echo(f"The Dagster UI is at http://{settings.webserver_host}:{settings.webserver_port}")
        typer.echo("Stop everything with: .venv/bin/casetrail down")


def _wait() -> None:
    settings = load_settings()
    with acting(None) as connection:
        workspace = workspaces.find_workspace(connection, SLUG)
    wait_and_tell(settings, workspace, WAIT_SECONDS, as_json=False)


def _make_workspace() -> None:
    settings = load_settings()
    with acting(None) as connection:
        if any(workspace.slug == SLUG for workspace in workspaces.list_workspaces(connection)):
            return
        workspaces.create_workspace(connection, "Acme, lead to cash", "EU", "pro", settings.operator, SLUG)
    ensure_workspace_partition(SLUG)
    configure(SLUG, end_activity=[LAST_ACTIVITY])


def _show_result() -> None:
    with acting(None) as connection:
        workspace = workspaces.find_workspace(connection, SLUG)
        job = jobs.standing_job(connection, workspace.id)
        assert job.provenance_id is not None, "upload waits for a release"
        explanations = releases.explanations(connection, workspace.id, job.provenance_id, None)
    _show(
        "Counts",
        """
        select count(*) as cases, sum(event_count)::bigint as events, count(*) filter (state = 'open') as open_cases
        from cases
        """,
    )
    _show(
        "Systems",
        """
        select systems, count(*) as cases from (
            select list_sort(list(distinct system)) as systems from events group by global_case_id
        ) group by systems order by cases desc
        """,
    )
    _show(
        "Top variants",
        """
        select frequency, round(avg_cycle_time_seconds / 86400, 1) as avg_days, is_happy_path as happy_path,
               array_to_string(activities, ' > ') as activities
        from variants order by frequency desc, variant_id limit 3
        """,
    )
    for scope, title in (("bottleneck", "Bottleneck"), ("global", "Why some cases are slow")):
        summary = next((row["summary"] for row in explanations if row["scope"] == scope), "nothing to tell")
        typer.echo(f"\n{title}\n  {summary}")


def _show(title: str, sql: str) -> None:
    result = run_sql(SLUG, sql)
    table = Table(*(name for name, _kind in result.columns), box=None, title=title, title_justify="left")
    for row in result.rows:
        table.add_row(*map(_cell, row))
    typer.echo("")
    print_table(table)


def _cell(value: Any) -> str:
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)
