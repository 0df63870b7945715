"""``casetrail gc`` and the reading of kept and collected releases as a person types them."""

import json
from dataclasses import dataclass
from time import sleep
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from orchestration.cli import app, release
from orchestration.control_plane import database, members
from orchestration.settings import Settings
from orchestration.stages.opening import open_workspace
from tests.faults.growing_log import GrowingLog, new_workspace
from tests.faults.refresh import refresh_and_release

COUNT = "select count(*) as n from events"
KEEP_TWO = {
    "CASETRAIL_RELEASE_GRACE_SECONDS": "1",
    "CASETRAIL_KEEP_RELEASE_DAYS": "0",
    "CASETRAIL_KEEP_RELEASES": "2",
}


@dataclass
class Console:
    """Runs commands on an installation that keeps two releases."""

    settings: Settings
    log: GrowingLog

    def run(self, *arguments: str) -> Result:
        return CliRunner().invoke(app, arguments, env={"CASETRAIL_HOME": str(self.settings.home), **KEEP_TWO})

    def json(self, *arguments: str) -> Any:
        ended = self.run(*arguments, "--json")
        assert ended.exit_code == 0, ended.output
        return json.loads(ended.stdout)

    def refresh(self) -> None:
        self.log.grow()
        keep_two = self.settings.model_copy(
            update={name.removeprefix("CASETRAIL_").lower(): int(value) for name, value in KEEP_TWO.items()}
        )
        with open_workspace(keep_two, "readers", "run") as opened:
            refresh_and_release(keep_two, opened, "run")
        sleep(1.1)


@pytest.fixture(scope="module")
def console(installation: Settings, tmp_path_factory: pytest.TempPathFactory) -> Console:
    """Four releases, of which the newest two are kept."""
    log = GrowingLog(installation, new_workspace(installation, "readers"), tmp_path_factory.mktemp("log"))
    made = Console(installation, log)
    for _ in range(4):
        made.refresh()
    return made


def lineage(console: Console) -> list[str]:
    with database.as_system(console.settings.system_dsn, console.log.workspace.id) as connection:
        return [
            str(row["id"]) for row in connection.execute("select id from provenance order by id").fetchall()
        ]


def test_a_kept_release_is_read_as_it_was(console: Console) -> None:
    kept = [age["id"] for age in console.json("provenance", "list", "readers")]
    assert kept == lineage(console)[-2:][::-1]
    (now,) = console.json("query", "readers", COUNT)
    (before,) = console.json("query", "readers", COUNT, "--release", kept[1])
    assert before["n"] < now["n"]


def test_a_collected_release_says_when_and_which_one_is_current(console: Console) -> None:
    first, *_, last = lineage(console)
    refused = console.run("query", "readers", COUNT, "--release", first)
    assert refused.exit_code == 1
    assert f"release {first} was superseded at" in refused.output
    assert f"the current one is {last}" in refused.output
    shown = console.run("provenance", "show", "readers", "--release", first)
    assert "its files are gone since" in shown.output
    unknown = console.run("query", "readers", COUNT, "--release", "0")
    assert "see `casetrail provenance list`" in unknown.output


def test_a_query_whose_files_vanish_under_it_is_told_why(
    console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    running, run_query = lineage(console)[-1], release.run_query

    def late(*arguments: Any) -> Any:
        for _ in range(3):
            console.refresh()
        return run_query(*arguments)

    monkeypatch.setattr(release, "run_query", late)
    failed = console.run("query", "readers", COUNT)
    assert failed.exit_code == 1
    assert f"release {running} was superseded at" in failed.output
    assert "404" not in failed.output


def test_gc_tells_what_it_removes(console: Console) -> None:
    assert console.json("gc", "readers")[0]["missing"] == []
    # Other tests' workspaces may have lost files.
    every = json.loads(console.run("gc", "--all", "--dry-run", "--json").stdout)
    assert {c["workspace"] for c in every} >= {"readers"}
    assert "to remove" in console.run("gc", "readers", "--dry-run").output
    assert console.run("gc").exit_code == 2


def test_gc_is_for_admins_of_the_workspace(console: Console) -> None:
    with database.as_user(console.settings.app_dsn, console.settings.operator) as connection:
        members.set_member(connection, console.log.workspace.id, "ann@readers.test", "analyst")
    refused = console.run("gc", "readers", "--as", "ann@readers.test")
    assert refused.exit_code == 1
    assert "Only an admin" in refused.output
    assert console.json("gc", "--all", "--as", "ann@readers.test") == []
