"""``casetrail workspace`` and ``casetrail member``."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from pydantic import SecretStr
from typer.testing import CliRunner

from orchestration.cli import partitions, workspace
from orchestration.cli.workspace import member_app, workspace_app
from orchestration.control_plane import database, planner_marks
from orchestration.control_plane.workspaces import Workspace
from orchestration.settings import ServicesNotRunning, Settings

PROJECT = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def partitioned(monkeypatch: pytest.MonkeyPatch, control_plane: Settings) -> list[str]:
    """The commands use this module's database; Dagster's part is only noted."""
    slugs: list[str] = []
    monkeypatch.setattr(workspace, "load_settings", lambda: control_plane)
    monkeypatch.setattr(partitions, "ensure_workspace_partition", slugs.append)
    return slugs


def run(app: Any, *arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments), env={"COLUMNS": "200"})


def printed(result: Result) -> Any:
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def test_create_show_and_list(partitioned: list[str]) -> None:
    arguments = ("Globex [EU]", "--region", "EU", "--plan", "pro", "--owner", "hank@globex.test")
    made = printed(run(workspace_app, "create", *arguments, "--json"))
    assert made["slug"] == "globex-eu"
    assert partitioned == ["globex-eu"]
    shown = printed(run(workspace_app, "show", "globex-eu", "--json"))
    assert shown["members"][0]["email"] == "hank@globex.test"
    assert shown["standing_analysis"]["status"] == "queued"
    assert shown == printed(run(workspace_app, "show", made["id"], "--json"))
    text = run(workspace_app, "show", "globex-eu").output
    assert "Globex [EU]" in text
    assert "not looked at yet" in text
    assert "hank@globex.test (admin)" in text
    assert "globex-eu" in [row["slug"] for row in printed(run(workspace_app, "list", "--json"))]
    assert "Globex [EU]" in run(workspace_app, "list").output


def test_show_tells_since_when_a_workspace_is_stale_and_when_it_is_tried_again(
    control_plane: Settings, acme: Workspace
) -> None:
    since = datetime(2026, 1, 1, 12, tzinfo=UTC)
    with database.as_planner(control_plane.system_dsn) as connection:
        mark = planner_marks.find_mark(connection, acme.id)
        later = since + timedelta(minutes=5)
        stale = {"plan_subject": "p", "attempts": 2, "stale_since": since, "not_before": later}
        planner_marks.record(connection, [replace(mark, looked_at=since, **stale)])
    told = run(workspace_app, "show", acme.slug).output
    assert "stale since 2026-01-01 12:00, attempt 2, the next at 2026-01-01 12:05" in told


def test_without_dagster_a_workspace_is_made_all_the_same(
    monkeypatch: pytest.MonkeyPatch, control_plane: Settings, tmp_path: Path
) -> None:
    monkeypatch.undo()
    unreachable = SecretStr("postgresql://nobody@127.0.0.1:9/dagster")
    settings = control_plane.model_copy(update={"home": tmp_path, "dagster_dsn": unreachable})
    monkeypatch.setattr(workspace, "load_settings", lambda: settings)
    monkeypatch.setattr(partitions, "load_settings", lambda: settings)
    home = tmp_path / "dagster"
    home.mkdir()
    (home / "dagster.yaml").write_text((PROJECT / "dagster.yaml").read_text())
    # The command sets these for Dagster; afterwards they are to be as before.
    for name in ("CASETRAIL_HOME", "DAGSTER_HOME", "CASETRAIL_DAGSTER_URL"):
        monkeypatch.setenv(name, "")
    result = run(workspace_app, "create", "Lonely", "--owner", "lee@lonely.test")
    assert result.exit_code == 0, result.output
    assert "Dagster's database does not answer" in result.output
    assert "lonely" in [row["slug"] for row in printed(run(workspace_app, "list", "--json"))]


def test_members(acme: Workspace) -> None:
    added = run(member_app, "add", "acme", "Lea@acme.test", "--role", "analyst")
    assert added.exit_code == 0, added.output
    rows = printed(run(member_app, "list", "acme", "--json", "--as", "lea@acme.test"))
    assert {row["email"]: row["role"] for row in rows} == {
        "ann@acme.test": "admin",
        "lea@acme.test": "analyst",
    }
    assert "analyst" in run(member_app, "list", "acme").output


def test_a_user_sees_only_their_own(acme: Workspace, rival: Workspace) -> None:
    assert [
        row["slug"] for row in printed(run(workspace_app, "list", "--json", "--as", "rob@rival.test"))
    ] == ["rival"]
    refused = run(workspace_app, "show", "acme", "--as", "rob@rival.test")
    assert refused.exit_code == 1
    assert refused.stderr == "Error: There is no workspace acme. You can see: rival.\n"


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("create", "X Y", "--owner", "a@x.test", "--slug", "No Slug"), 2, "is no slug"),
        (("create", "X Y", "--owner", "nobody"), 2, "is no e-mail address"),
        (("create", "X Y", "--owner", "a@x.test", "--region", "CH"), 2, "'CH' is not one of"),
        (("create", "X Y", "--owner", "a@x.test", "--as", "ann@acme.test"), 1, "only a platform admin can"),
        (("create", "X Y", "--owner", "ann@acme.test", "--as", "ann@acme.test"), 1, "may not do this"),
        (("create", "Acme", "--owner", "ann@acme.test"), 1, "exists already"),
        (("show", "nothing"), 1, "There is no workspace nothing"),
        (("list", "--as", "ghost@x.test"), 1, "There is no user ghost@x.test"),
        (("create",), 2, "Missing argument"),
    ],
)
def test_errors_are_one_clear_line(
    acme: Workspace, partitioned: list[str], arguments: tuple[str, ...], code: int, message: str
) -> None:
    result = run(workspace_app, *arguments)
    assert message in result.stderr
    assert result.exit_code == code
    assert partitioned == []


def test_stopped_services_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def stopped() -> Settings:
        raise ServicesNotRunning("The services are not running: run `casetrail up`.")

    monkeypatch.setattr(workspace, "load_settings", stopped)
    result = run(workspace_app, "list")
    assert (result.exit_code, result.stderr) == (
        1,
        "Error: The services are not running: run `casetrail up`.\n",
    )
