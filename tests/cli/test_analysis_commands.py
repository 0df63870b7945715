"""``casetrail analysis`` as a person types it, without Dagster: what is queued, what is refused, and the exit codes."""

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from orchestration.cli import app
from orchestration.control_plane import database, jobs, workspaces
from orchestration.control_plane.jobs import AnalysisJob
from orchestration.settings import Settings
from orchestration.stages.answer import answer
from orchestration.stages.opening import open_analysis, open_workspace
from orchestration.stages.replay import replay_analysis
from orchestration.stages.selection import NothingSelected
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


def started(settings: Settings, job_id: str) -> AnalysisJob:
    """The analysis, claimed by a run."""
    with database.as_system(settings.system_dsn, None) as connection:
        workspace_id = workspaces.find_workspace(connection, SLUG).id
    with database.as_system(settings.system_dsn, workspace_id) as connection:
        return jobs.start(connection, workspace_id, job_id)


def answered(settings: Settings, job: AnalysisJob) -> AnalysisJob:
    """The analysis as its run answers it."""
    with open_analysis(settings, job, "answer") as opened:
        for _made in answer(settings, opened, "answer", lambda: False):
            pass
    return now(settings, job)


def now(settings: Settings, job: AnalysisJob) -> AnalysisJob:
    """The analysis as it is now."""
    with database.as_system(settings.system_dsn, job.workspace_id) as connection:
        return jobs.get_job(connection, job.workspace_id, job.id)


def ended(settings: Settings, job: AnalysisJob, reason: str) -> None:
    """Somebody else notes the failure of a run."""
    with database.as_system(settings.system_dsn, job.workspace_id) as connection:
        jobs.fail(connection, job.workspace_id, job.id, job.attempt, reason)


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


def test_an_unknown_name_in_a_comparison_is_refused_and_nothing_is_queued(
    released: Settings, tmp_path: Path
) -> None:
    before = queued(released)
    northern = {"kind": "attribute", "name": "regoin", "in": ["north"]}
    sides = {"reference": {"to": "2024-01"}, "compared": {"name": "north", "filters": [northern]}}
    (tmp_path / "question.json").write_text(json.dumps({"comparison": sides}))
    refused = run(released, "analysis", "run", SLUG, "--parameters", str(tmp_path / "question.json"))
    assert refused.exit_code == 2
    assert refused.stderr == (
        "Error: comparison.compared.filters[0].name: there is no attribute 'regoin'; there are 'region'\n"
    )
    assert queued(released) == before


def test_a_workspace_without_a_release_has_nothing_to_ask(released: Settings) -> None:
    new_workspace(released, "unasked")
    refused = run(released, "analysis", "run", "unasked")
    assert refused.exit_code == 1
    assert "has no release yet" in refused.stderr


def test_an_answer_is_verified_by_a_replay_of_its_question(released: Settings) -> None:
    job = json.loads(ask(released, {"kind": "attribute", "name": "region", "in": "north"}).stdout)
    unanswered = run(released, "provenance", "verify", SLUG, "--analysis", job["id"])
    assert unanswered.exit_code == 1
    assert "is queued and has no release" in unanswered.stderr
    finished = answered(released, started(released, job["id"]))
    verified = told(released, "provenance", "verify", SLUG, "--analysis", job["id"])
    assert verified["agrees"]
    assert {"events", "cases", "variants", "explanations"} <= {file["dataset"] for file in verified["files"]}
    assert all(file["released"] == file["replayed"] for file in verified["files"])
    of_another = replace(finished, parameters={})
    differing = {c.dataset for c in replay_analysis(released, of_another) if not c.agrees}
    assert {"events", "cases"} <= differing


def test_a_run_that_was_given_up_releases_nothing(released: Settings) -> None:
    job = started(released, json.loads(ask(released, {"kind": "case_size", "min": 1}).stdout)["id"])
    ended(released, job, "cancelled from outside, though its process went on")
    with pytest.raises(jobs.AttemptOvertaken):
        answered(released, job)
    after = now(released, job)
    assert (after.status, after.provenance_id) == ("failed", None)
    assert after.error_message == "cancelled from outside, though its process went on"


def test_the_list_shows_the_standing_analysis_and_the_newest_ones_in_pages(released: Settings) -> None:
    asked = [json.loads(ask(released, {"kind": "case_size", "min": n}).stdout)["id"] for n in range(1, 4)]
    first = told(released, "analysis", "list", SLUG, "--limit", "2")
    assert [job["kind"] for job in first] == ["standing", "on_demand", "on_demand"]
    assert [job["id"] for job in first[1:]] == asked[:0:-1]
    older = told(released, "analysis", "list", SLUG, "--before", asked[1])
    assert older[0]["id"] == asked[0]
    assert "standing" not in {job["kind"] for job in older}
    shown = run(released, "analysis", "list", SLUG, "--limit", "2")
    assert f"There are older ones: --before {asked[1]}" in shown.stdout


def test_a_failed_analysis_shows_its_reason_its_times_and_what_was_asked(released: Settings) -> None:
    job = json.loads(ask(released, {"kind": "case_size", "min": 99}).stdout)
    run_of_it = started(released, job["id"])
    with pytest.raises(NothingSelected) as error:
        answered(released, run_of_it)
    ended(released, run_of_it, str(error.value))
    shown = run(released, "analysis", "show", SLUG, job["id"])
    assert shown.exit_code == 0, "that it failed was shown"
    assert "failed" in shown.stdout
    assert "None of the 2 cases passes the filters" in shown.stdout
    assert '"min": 99' in shown.stdout
    assert re.search(r"asked [-0-9]{10} [:0-9]{5} UTC, started .* UTC, ended .* UTC", shown.stdout)


def test_an_id_of_no_analysis_is_told_and_which_there_are(released: Settings) -> None:
    for command in (("show",), ("cancel",), ("rerun",)):
        refused = run(released, "analysis", *command, SLUG, "nothing")
        assert refused.exit_code == 1
        assert "no analysis with an id that begins with 'nothing'" in refused.stderr
    standing = told(released, "analysis", "list", SLUG)[0]["id"]
    assert "casetrail refresh" in run(released, "analysis", "rerun", SLUG, standing).stderr
