"""The question of an analysis decides what its explanations depend on, and only that."""

import json
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from orchestration.assets.comparisons import comparison_table
from orchestration.connectors.mapping import Mapping
from orchestration.mining.explain import contributions
from orchestration.stages.comparison import compare_sides
from orchestration.stages.explainability import stage_explanations
from orchestration.stages.selection import selection_fingerprint
from orchestration.stages.staleness import explanation_window, stale_explanation_months
from orchestration.stages.workbench import AnalysisParameters, Workbench
from tests.stages.local_bench import base_of_bench, hashes, land_parts, local_bench, refreshed, rows

MAPPING = Mapping(case_id="case", activity="activity", timestamp="time")
PARTS = ["difference", "transitions", "activities", "paths"]
ASKED = {"explanation": {"target": {"kind": "outcome", "activity": "pay"}, "window_months": 2}}


def _lines() -> Sequence[str]:
    lines = ["case,activity,time,region"]
    for number in range(900):
        time = datetime(2024, 1, 1) + timedelta(hours=3 * number)
        region = "south" if number * 7 % 10 < 4 else "north"
        paid = (number * 13) % 10 < (2 if region == "south" else 9)
        for step, activity in enumerate(["order", "pay" if paid else "cancel", "close"]):
            lines.append(f"c{number:03},{activity},{(time + timedelta(hours=step)).isoformat()}Z,{region}")
    return lines


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Workbench:
    folder = tmp_path_factory.mktemp("bench")
    (folder / "log.csv").write_text("\n".join(_lines()) + "\n")
    return refreshed(local_bench(folder, land_parts(folder / "log.csv", MAPPING, folder, 1)))


def _ask(bench: Workbench, parameters: dict[str, Any]) -> None:
    bench.parameters = AnalysisParameters.model_validate(parameters)


def _stale(bench: Workbench) -> list[str]:
    files = (bench.tree.files(name) for name in ("cases", "explanations", "samples"))
    return stale_explanation_months(*files, bench.parameters)


def test_the_default_question_is_in_no_dump() -> None:
    default = AnalysisParameters.model_validate({"explanation": {"target": {"kind": "cycle_time"}}})
    assert default == AnalysisParameters()
    assert "explanation" not in default.model_dump(mode="json")
    asked = AnalysisParameters.model_validate(ASKED)
    for by_alias in (True, False):
        assert AnalysisParameters.model_validate(asked.model_dump(mode="json", by_alias=by_alias)) == asked


def test_another_question_makes_explanations_stale_and_leaves_profiles_and_selection(
    bench: Workbench, tmp_path: Path
) -> None:
    before = {name: hashes(bench, name) for name in ("samples", "waits", "explanations", "contributions")}
    months = list(bench.tree.files("cases"))
    base, selected = base_of_bench(bench), selection_fingerprint(bench.parameters, base_of_bench(bench))
    assert _stale(bench) == []
    _ask(bench, ASKED)
    try:
        assert _stale(bench) == sorted([*months, "all"])
        assert selection_fingerprint(bench.parameters, base) == selected
        made = stage_explanations(bench, months)
        assert {outcome.state for outcome in made} == {"made"}
        assert _stale(bench) == []
        after = {name: hashes(bench, name) for name in before}
        assert after["samples"] == before["samples"]
        assert after["waits"] == before["waits"]
        assert all(after["explanations"][month] != before["explanations"][month] for month in months)
        told = {row["month"]: row for row in rows(bench, "explanations") if row["scope"] == "global"}
        assert {row["target"] for row in told.values()} == {"outcome"}
        assert '"status": "explained"' in str(told["all"]["features"])
        assert "attribute:region" in str(told["all"]["features"])
        (last, *_) = rows(bench, "contributions")
        assert last["base_probability"] is not None
    finally:
        _ask(bench, {})
        stage_explanations(bench, months)
    assert {name: hashes(bench, name) for name in before} == before


def test_what_is_written_does_not_depend_on_the_batches_of_contributions(
    bench: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    months = list(bench.tree.files("cases"))
    _ask(bench, ASKED)
    try:
        stage_explanations(bench, months)
        before = {name: hashes(bench, name) for name in ("explanations", "contributions")}
        assert max(file.rows for file in bench.tree.files("contributions").values()) > 100
        bench.tree.forget("explanations", [*months, "all"])
        bench.tree.forget("contributions", months)
        monkeypatch.setattr(contributions, "BATCH_CASES", 17)
        stage_explanations(bench, months)
        assert {name: hashes(bench, name) for name in before} == before
    finally:
        _ask(bench, {})
        stage_explanations(bench, months)


def test_a_comparison_is_told_of_the_whole_analysis_and_leaves_the_months(bench: Workbench) -> None:
    months = list(bench.tree.files("cases"))
    before = hashes(bench, "explanations")
    south = {"kind": "attribute", "name": "region", "in": ["south"]}
    sides = {
        "reference": {"name": "others", "filters": [{"kind": "not", "of": south}]},
        "compared": {"name": "south", "filters": [south]},
    }
    _ask(bench, {"comparison": sides})
    try:
        assert _stale(bench) == ["all"]
        stage_explanations(bench, months)
        assert _stale(bench) == []
        told = [row for row in rows(bench, "explanations") if row["scope"] == "comparison"]
        assert [json.loads(str(row["features"]))["part"] for row in told] == PARTS
        assert {row["month"] for row in told} == {"all"}
        activities = json.loads(str(told[2]["features"]))["changes"]
        shares = {change["name"]: change["shares"] for change in activities}
        # Of ten cases in the south two are paid for, elsewhere nine.
        assert shares["pay"] == [pytest.approx(1.0, abs=0.2), pytest.approx(0.2, abs=0.2)]
        assert shares["cancel"][1] > shares["cancel"][0]
        table = comparison_table(bench.tree.files("explanations")["all"].stats)
        assert table["comparison"].value == told[0]["summary"]
        told_of = {
            (row.data["what"], row.data["name"]): row.data["compared"] for row in table["changes"].records
        }
        assert told_of["activity", "pay"] == pytest.approx(100 * shares["pay"][1], abs=1e-3)
    finally:
        _ask(bench, {})
        stage_explanations(bench, months)
    assert hashes(bench, "explanations") == before


def test_sides_that_share_cases_are_not_compared(bench: Workbench) -> None:
    _ask(bench, {"comparison": {"reference": {"to": "2024-02"}, "compared": {"from": "2024-02"}}})
    try:
        (told,) = compare_sides(bench)
    finally:
        _ask(bench, {})
    assert told.features["status"] == "not_explained"
    assert "cases are on both sides" in told.summary


def test_the_window_is_as_long_as_asked() -> None:
    months = ["2024-01", "2024-02", "2024-03", "2024-04"]
    question = AnalysisParameters.model_validate(ASKED).explanation
    assert explanation_window("2024-04", months, question) == ["2024-03", "2024-04"]
    assert explanation_window("all", months, question) == months
