"""``casetrail upload`` and ``query`` as a person types them, without Dagster: what is printed, and the exit codes."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from orchestration.cli import app
from orchestration.settings import Settings

LOG = "case,activity,time\na,order,2024-01-01T00:00:00Z\na,pay,2024-01-05T00:00:00Z\n"


@pytest.fixture(scope="module")
def workspace(installation: Settings) -> str:
    made = run(installation, "workspace", "create", "Typed", "--owner", "ada@typed.example", "--json")
    assert made.exit_code == 0, made.output
    return str(json.loads(made.stdout)["slug"])


def run(installation: Settings, *arguments: str) -> Result:
    return CliRunner().invoke(app, arguments, env={"CASETRAIL_HOME": str(installation.home)})


def write(tmp_path: Path, text: str) -> str:
    path = tmp_path / "log.csv"
    path.write_text(text)
    return str(path)


def test_a_dry_run_shows_the_mapping_and_changes_nothing(
    installation: Settings, workspace: str, tmp_path: Path
) -> None:
    shown = run(installation, "upload", workspace, write(tmp_path, LOG), "--dry-run", "--json")
    assert shown.exit_code == 0, shown.output
    mapping = {s["field"]: s["column"] for s in json.loads(shown.stdout)["suggestions"]}
    assert mapping == {"case_id": "case", "activity": "activity", "timestamp": "time"}
    described = json.loads(run(installation, "workspace", "show", workspace, "--json").stdout)
    assert (described["arrivals_landed"], described["connectors"]) == (0, [])


def test_a_choice_that_the_file_leaves_open_is_an_error_naming_the_option(
    installation: Settings, workspace: str, tmp_path: Path
) -> None:
    naive = write(tmp_path, "case,activity,time\na,order,2024-01-01 00:00:00\n")
    refused = run(installation, "upload", workspace, naive)
    assert refused.exit_code == 2
    assert "--timezone" in refused.output


def test_the_same_bytes_twice_are_one_arrival_and_a_bad_row_does_not_stop_the_rest(
    installation: Settings, workspace: str, tmp_path: Path
) -> None:
    path = write(tmp_path, LOG + "a,,2024-01-06T00:00:00Z\n")
    first, second = (run(installation, "upload", workspace, path, "--json") for _ in range(2))
    assert (first.exit_code, second.exit_code) == (0, 0), first.output
    landed, again = json.loads(first.stdout), json.loads(second.stdout)
    assert (landed["records"], landed["landed"], landed["quarantined"]) == (3, 2, 1)
    assert landed["quarantined_by_reason"] == {"missing_activity": 1}
    assert again["already_here"] is True
    assert again["id"] == landed["id"]


def test_a_query_before_the_first_release_says_what_to_do(installation: Settings, workspace: str) -> None:
    answer = run(installation, "query", workspace, "select 1")
    assert answer.exit_code == 1
    assert f"casetrail upload {workspace} FILE --wait" in answer.output


def test_a_stranger_is_refused(installation: Settings, workspace: str, tmp_path: Path) -> None:
    refused = run(installation, "upload", workspace, write(tmp_path, LOG), "--as", "nobody@example.com")
    assert refused.exit_code == 1
    assert "nobody@example.com" in refused.output
