"""Questions to a release, through the real daemon: asked, answered, recognised, cancelled, and true about failures."""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from orchestration.automation.tags import ANALYSIS_TAG
from orchestration.demo.lead_to_cash import write_lead_to_cash
from orchestration.services.dagster_processes import DagsterProcesses
from tests.e2e import plain_comparison as plain
from tests.e2e.conftest import Casetrail
from tests.e2e.ui import ENDED, DagsterUi

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]

SLUG = "asked"
SOUTH = {"kind": "attribute", "level": "case", "name": "region", "in": ["South"]}


@pytest.fixture(scope="module")
def released(casetrail: Casetrail, tmp_path_factory: pytest.TempPathFactory) -> Casetrail:
    log = tmp_path_factory.mktemp("logs") / "lead_to_cash.csv"
    write_lead_to_cash(log, cases=1_500, months=4)
    casetrail.json("workspace", "create", SLUG, "--slug", SLUG, "--owner", f"ada@{SLUG}.example")
    casetrail.json("upload", SLUG, str(log), "--wait")
    return casetrail


def ask(casetrail: Casetrail, *options: str) -> Any:
    return casetrail.json("analysis", "run", SLUG, *options)


def until(casetrail: Casetrail, analysis: str, holds: Callable[[Any], bool]) -> Any:
    deadline = time.monotonic() + 90
    while True:
        job = casetrail.json("analysis", "show", SLUG, analysis)
        if holds(job):
            return job
        assert time.monotonic() < deadline, job
        time.sleep(0.3)


def kill_runs(casetrail: Casetrail) -> None:
    """End the processes of all runs as an operator or the kernel would: they are the forks of the fork server."""
    server = DagsterProcesses(casetrail.home).code_server.process()
    assert server is not None
    runs = [run for fork_server in server.children() for run in fork_server.children()]
    assert runs
    for run in runs:
        run.kill()


def test_a_filtered_analysis_holds_the_selected_cases_and_leaves_the_standing_one_alone(
    released: Casetrail,
) -> None:
    before = released.json("analysis", "show", SLUG)
    (wanted,) = released.query(
        SLUG,
        "select count(*) as cases, count(distinct c.variant_id) as variants from cases as c where global_case_id in"
        " (select global_case_id from events where attributes ->> 'region' = 'South')",
    )
    job = ask(released, "--filter", json.dumps(SOUTH), "--wait")
    assert (job["status"], job["error_message"]) == ("succeeded", None)
    assert job["base_provenance_id"] == before["provenance_id"]
    (found,) = released.query(
        SLUG,
        "select sum(frequency)::bigint as cases, count(*) as variants from variants",
        "--release",
        job["provenance_id"],
    )
    assert found == wanted
    assert released.json("analysis", "show", SLUG)["provenance_id"] == before["provenance_id"]


def test_the_same_question_is_recognised_and_asked_again_gives_the_same_content(released: Casetrail) -> None:
    options = ("--filter", json.dumps(SOUTH), "--from", "2024-01", "--to", "2024-01", "--wait")
    first = ask(released, *options)
    again = ask(released, *options)
    assert (again["id"], again["remark"]) == (first["id"], "answered before")
    anew = ask(released, *options, "--again")
    assert anew["id"] != first["id"]
    contents = [
        released.json("provenance", "show", SLUG, "--release", job["provenance_id"])["content_sha256"]
        for job in (first, anew)
    ]
    assert contents[0] == contents[1]


def test_a_question_that_selects_nothing_fails_and_says_so(released: Casetrail) -> None:
    size = {"kind": "case_size", "min": 9_999}
    finished = released.run("analysis", "run", SLUG, "--filter", json.dumps(size), "--wait", "--json")
    job = json.loads(finished.stdout)
    assert finished.returncode == 1
    assert job["status"] == "failed"
    assert "None of the 1,500 cases passes the filters" in job["error_message"]


def test_a_cancelled_analysis_has_failed_with_the_reason(released: Casetrail) -> None:
    job = ask(released, "--filter", json.dumps({"kind": "case_size", "min": 2}), "--again")
    released.json("analysis", "cancel", SLUG, job["id"][:13])
    ended = until(released, job["id"], lambda job: job["status"] not in ("queued", "running"))
    assert ended["status"] == "failed"
    assert "cancelled" in ended["error_message"]


def test_an_analysis_whose_process_is_killed_has_failed_and_can_be_asked_again(released: Casetrail) -> None:
    job = ask(released, "--filter", json.dumps({"kind": "case_size", "min": 3}))
    until(released, job["id"], lambda job: job["status"] == "running")
    kill_runs(released)
    ended = until(released, job["id"], lambda job: job["status"] == "failed")
    assert "killed" in ended["error_message"]
    again = released.json("analysis", "rerun", SLUG, job["id"])
    assert until(released, again["id"], lambda job: job["status"] == "succeeded")["provenance_id"]


def test_a_comparison_tells_what_plain_python_finds_in_the_events(
    released: Casetrail, tmp_path: Path
) -> None:
    reminded = {"kind": "activities", "mode": "with", "activities": ["Remind customer"]}
    sides = {
        "reference": {"name": "left alone", "to": "2024-02", "filters": [{"kind": "not", "of": reminded}]},
        "compared": {"name": "reminded", "from": "2024-03", "filters": [reminded]},
    }
    question = tmp_path / "question.json"
    question.write_text(json.dumps({"filters": [{"kind": "not", "of": SOUTH}], "comparison": sides}))
    acting = ("--as", f"ada@{SLUG}.example")
    job = ask(released, "--parameters", str(question), "--wait", *acting)
    assert job["status"] == "succeeded", job["error_message"]
    shown = released.json("analysis", "show", SLUG, job["id"], *acting)
    told = [row for row in shown["explanations"] if row["scope"] == "comparison"]
    difference, transitions, activities, paths = (row["features"] for row in told)

    events = (
        "select global_case_id, activity, timestamp, tie_order, attributes ->> 'region' as region from events"
    )
    cases = [
        case
        for case in plain.cases_of(released.query(SLUG, events, "--rows", "20000", *acting))
        if case[0]["region"] != "South"
    ]
    expected = [
        [case for case in cases if f"{case[0]['timestamp']:%Y-%m}" <= "2024-02" and not is_reminded(case)],
        [case for case in cases if f"{case[0]['timestamp']:%Y-%m}" >= "2024-03" and is_reminded(case)],
    ]
    assert difference["cases"] == [len(side) for side in expected]
    assert (*difference["means_seconds"], *seconds(difference, "difference", "standard_error")) == (
        pytest.approx(plain.means(expected), rel=1e-5)
    )
    same(
        plain.transition_changes(expected),
        [
            (
                f"{c['source']} → {c['target']}",
                *c["seconds_per_case"],
                *seconds(c, "change", "standard_error"),
            )
            for c in transitions["changes"]
        ],
    )
    for changed, names in ((activities, plain.activities), (paths, plain.path)):
        found = [(c["name"], *c["shares"], c["change"], c["standard_error"]) for c in changed["changes"]]
        same(plain.share_changes(expected, names), found)
    assert activities["changes"][0]["name"] == "Remind customer"

    ui = DagsterUi(released.settings())
    (run,) = ui.runs(ANALYSIS_TAG, job["id"])
    shown_in_ui = ui.materialised(run["runId"])["analysis_explanations", f"{job['id']}|{SLUG}"]
    assert shown_in_ui["comparison"] == told[0]["summary"]
    table = ui.tables(run["runId"])["analysis_explanations"]["changes"]
    assert table[0]["compared"] == pytest.approx(difference["means_seconds"][1] / 86_400, abs=1e-3)
    assert {row["what"] for row in table} == {"mean", "within", "transition", "activity", "path"}


def is_reminded(case: plain.Case) -> bool:
    return "Remind customer" in plain.activities(case)


def seconds(features: dict[str, Any], *names: str) -> list[float]:
    return [features[f"{name}_seconds"] for name in names]


def same(expected: list[plain.Told], found: list[tuple[Any, ...]]) -> None:
    """The same changes in the same order; features are stored with six digits."""
    assert expected
    assert [name for name, *_ in found] == [name for name, *_ in expected]
    for (_, *figures), (_, *wanted) in zip(found, expected, strict=True):
        assert figures == pytest.approx(wanted, rel=1e-5, abs=1e-9)


def test_a_question_from_the_launchpad_is_answered_and_can_be_verified(released: Casetrail) -> None:
    ui = DagsterUi(released.settings())
    before = {job["id"] for job in released.json("analysis", "list", SLUG)}
    asked = {"workspace": SLUG, "parameters": {"filters": [SOUTH, {"kind": "variants", "top": 2}]}}
    launched = ui.launch("ask_analysis", {"ops": {"ask": {"config": asked}}})
    assert run_ended(ui, launched) == "SUCCESS"
    (new,) = {job["id"] for job in released.json("analysis", "list", SLUG)} - before
    assert any(new in message for message in ui.messages(launched))
    assert (
        until(released, new, lambda job: job["status"] not in ("queued", "running"))["status"] == "succeeded"
    )
    assert released.json("provenance", "verify", SLUG, "--analysis", new)["agrees"]


def test_what_the_launchpad_may_not_ask_is_seen_in_its_run(released: Casetrail) -> None:
    ui = DagsterUi(released.settings())
    unknown = {"kind": "attribute", "name": "regin", "null": True}
    asked = {"workspace": SLUG, "parameters": {"filters": [unknown]}}
    launched = ui.launch("ask_analysis", {"ops": {"ask": {"config": asked}}})
    assert run_ended(ui, launched) == "FAILURE"
    (told,) = {failure for failure in ui.failures(launched) if "regin" in failure}
    assert "filters[0].name: there is no attribute 'regin'" in told


def run_ended(ui: DagsterUi, run_id: str) -> str:
    deadline = time.monotonic() + 90
    while (status := ui.status(run_id)) not in ENDED:
        assert time.monotonic() < deadline, status
        time.sleep(0.5)
    return status
