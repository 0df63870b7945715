"""``casetrail analysis`` as a person types it, without Dagster: what is queued, what is refused, and the exit codes."""

import json
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from orchestration.cli import app
from orchestration.control_plane import database, workspaces
from orchestration.settings import Settings
from orchestration.stages.opening import open_workspace
from tests.faults.refresh import refresh_and_release

SLUG = "asking"
LOG = (
    "case,activity,time,who,region\n"
    "a,order,2024-01-01T00:00:00Z,Ann,north\na,pay,2024-02-05T00:00:00Z,Bob,north\n"
    "b,order,2024-02-01T00:00:00Z,Ann,south\n"
)


def run(settings: Settings, *arguments: str) -> Result:
    return CliRunner().invoke(app, arguments, env={"CASETRAIL_HOME": str(settings.home)})


def told(settings: Settings, *arguments: str) -> Any:
    ended = run(settings, *arguments, "--json")
    assert ended.exit_code == 0, ended.output
    return json.loads(ended.stdout)


def new_workspace(settings: Settings, slug: str) -> None:
    with database.as_user(settings.app_dsn, settings.operator) as connection:
        workspaces.create_workspace(connection, slug, "EU", "pro", settings.operator, slug)


@pytest.fixture(scope="module")
def released(installation: Settings, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """An installation with a released log."""
    new_workspace(installation, SLUG)
    log = tmp_path_factory.mktemp("log") / "log.csv"
    log.write_text(LOG)
    told(installation, "upload", SLUG, str(log), "--case-id", "case", "--resource", "who")
    with open_workspace(installation, SLUG, "refresh") as opened:
        refresh_and_release(installation, opened, "refresh")
    return installation


def ask(settings: Settings, *filters: dict[str, Any]) -> Result:
    options = [option for item in filters for option in ("--filter", json.dumps(item))]
    return run(settings, "analysis", "run", SLUG, *options, "--json")


def queued(settings: Settings) -> list[str]:
    jobs = told(settings, "analysis", "list", SLUG)
    return [job["id"] for job in jobs if job["kind"] == "on_demand"]


def test_a_question_of_known_names_is_queued(released: Settings) -> None:
    asked = ask(
        released,
        {"kind": "follows", "mode": "eventually", "from": "order", "to": "pay"},
        {"kind": "attribute", "name": "region", "in": "north"},
        {"kind": "resource", "in": ["Ann", "Bob"]},
    )
    assert asked.exit_code == 0, asked.output
    job = json.loads(asked.stdout)
    assert job["status"] == "queued"
    assert job["id"] in queued(released)


def test_unknown_names_are_refused_and_nothing_is_queued(released: Settings) -> None:
    before = queued(released)
    refused = ask(
        released,
        {"kind": "any", "of": [{"kind": "follows", "mode": "directly", "from": "ordr", "to": "pay"}]},
        {"kind": "attribute", "name": "Region", "in": "north"},
        {"kind": "resource", "in": ["Bo"]},
    )
    assert refused.exit_code == 2
    assert refused.stderr.splitlines() == [
        "Error: filters[0].of[0].from: there is no activity 'ordr'; there are 'order', 'pay'",
        "filters[1].name: there is no attribute 'Region'; there are 'region'",
        "filters[2].in: there is no resource 'Bo'; there are 'Ann', 'Bob'",
    ]
    assert queued(released) == before


def test_a_workspace_without_a_release_has_nothing_to_ask(released: Settings) -> None:
    new_workspace(released, "unasked")
    refused = run(released, "analysis", "run", "unasked")
    assert refused.exit_code == 1
    assert "has no release yet" in refused.stderr
