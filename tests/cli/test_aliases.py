"""Who holds the id of a case that was merged away is told which id it is now, and only in its own workspace."""

import re
from pathlib import Path
from uuid import uuid4

import pytest
from typer.testing import CliRunner, Result

from orchestration.cli import app
from orchestration.control_plane import database, workspaces
from orchestration.identity import born_id
from orchestration.settings import Settings
from orchestration.stages.opening import open_workspace
from orchestration.stages.stitching import stitch_workspace
from tests.cli.test_correction_commands import told, upload
from tests.faults.refresh import refresh_and_release
from tests.identity.worlds import keys_table, links_table

LEAD, PROSPECT, ORDER = ("crm", "00Q1"), ("mail", "7"), ("erp", "K1")
OLDEST, MERGED, MERGED_FIRST = (born_id(*record) for record in (LEAD, PROSPECT, ORDER))
TODAY = r"\d{4}-\d\d-\d\d"


def run(settings: Settings, *arguments: str) -> Result:
    return CliRunner().invoke(app, arguments, env={"CASETRAIL_HOME": str(settings.home)})


def workspace(settings: Settings) -> workspaces.Workspace:
    slug = f"aliases-{uuid4().hex[:8]}"
    with database.as_user(settings.app_dsn, settings.operator) as connection:
        return workspaces.create_workspace(connection, slug, "EU", "pro", settings.operator, slug)


def merge(settings: Settings, workspace_id: str) -> None:
    """The order's case goes into the prospect's, and that one into the lead's."""
    seen = {LEAD: 1, PROSPECT: 2, ORDER: 3}
    links = [(PROSPECT, ORDER, "strong"), (LEAD, PROSPECT, "strong")]
    for known in (1, 2):
        stitch_workspace(
            settings.system_dsn, workspace_id, links_table(links[:known]), keys_table([]), first_seen=seen
        )


@pytest.fixture(scope="module")
def acme(installation: Settings) -> workspaces.Workspace:
    """A workspace with three records of two systems that became one case."""
    made = workspace(installation)
    merge(installation, made.id)
    return made


@pytest.mark.parametrize("case", ["mail:7", OLDEST, MERGED, MERGED_FIRST.upper()])
def test_a_case_is_shown_by_a_record_by_its_id_and_by_each_id_that_it_has_had(
    installation: Settings, acme: workspaces.Workspace, case: str
) -> None:
    shown = told(installation, "link", "show", acme.slug, case)
    assert shown["global_case_id"] == OLDEST
    assert sorted(shown["records"]) == sorted(map(list, (LEAD, PROSPECT, ORDER)))
    merges = {merge["global_case_id"]: merge["merged_into"] for merge in shown["merges"]}
    assert merges == {MERGED: OLDEST, MERGED_FIRST: MERGED}
    assert all(merge["evidence"] for merge in shown["merges"])


def test_each_merge_on_the_way_from_an_alias_is_told_with_its_links(
    installation: Settings, acme: workspaces.Workspace
) -> None:
    ended = run(installation, "link", "show", acme.slug, MERGED_FIRST)
    assert ended.stdout.splitlines()[0] == OLDEST
    first, second = ended.stderr.splitlines()
    assert re.fullmatch(f"case {MERGED_FIRST} was merged into {MERGED} on {TODAY}: erp:K1 \\(id\\)", first)
    assert re.fullmatch(f"case {MERGED} was merged into {OLDEST} on {TODAY}: mail:7 \\(id\\)", second)
    assert run(installation, "link", "show", acme.slug, OLDEST).stderr == ""


def test_what_names_no_case_is_refused(installation: Settings, acme: workspaces.Workspace) -> None:
    ended = run(installation, "link", "show", acme.slug, "7")
    assert (ended.exit_code, ended.stdout) == (2, "")
    assert "'7' is neither a record nor a case" in ended.stderr


def test_in_another_workspace_an_alias_stands_for_nothing(
    installation: Settings, acme: workspaces.Workspace
) -> None:
    ended = run(installation, "link", "show", workspace(installation).slug, MERGED)
    assert (ended.exit_code, ended.stdout) == (1, "")
    assert ended.stderr.startswith(f"Error: No link names a record of case {MERGED}: ")


def test_a_query_is_run_as_it_stands_and_told_of_the_aliases_that_it_names(
    installation: Settings, tmp_path: Path
) -> None:
    mine, rival = workspace(installation), workspace(installation)
    (tmp_path / "log.csv").write_text("case,activity,time,who\na,order,2024-01-01 00:00:00,Ann\n")
    for tenant in (mine, rival):
        upload(installation, tenant.slug, str(tmp_path / "log.csv"))
        with open_workspace(installation, tenant.slug, "refresh") as opened:
            refresh_and_release(installation, opened, "refresh")
    merge(installation, mine.id)
    sql = f"select case_id from (values ('{MERGED}'), ('{MERGED_FIRST}'), ('{OLDEST}')) as asked (case_id)"
    ended = run(installation, "query", mine.slug, sql, "--json")
    merges = set(re.findall(r"case (\S+) was merged into (\S+) on", ended.stderr))
    assert merges == {(MERGED, OLDEST), (MERGED_FIRST, MERGED)}
    assert len(ended.stderr.splitlines()) == 2
    other = run(installation, "query", rival.slug, sql, "--json")
    assert other.stderr == ""
    assert other.stdout == ended.stdout
