"""With a calendar, cases, variants, process map, waits and filters measure working time, and all of them the same."""

import random
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from orchestration.connectors.mapping import Mapping
from orchestration.mining.working_calendar import WorkingCalendar
from orchestration.stages.case_index import stage_case_index
from orchestration.stages.process import stage_process
from orchestration.stages.selection import Base, BaseFile, stage_selection
from orchestration.stages.staleness import stale_case_months, stale_explanation_months
from orchestration.stages.tree import LocalTree
from orchestration.stages.workbench import AnalysisParameters, Workbench
from tests.mining.working_reference import EPOCH, worked_us
from tests.stages.local_bench import hashes, land_parts, local_bench, refreshed, rows

MAPPING = Mapping(case_id="case", activity="activity", timestamp="time")
OFFICE = {day: "09:00-17:00" for day in ("monday", "tuesday", "wednesday", "thursday", "friday")}
CALENDAR = {"time_zone": "Europe/Berlin", "hours": OFFICE, "holidays": ["2024-04-01"]}


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sixty cases of one to four events, around the change of the clock in March 2024."""
    draw = random.Random(11)
    path = tmp_path_factory.mktemp("log") / "log.csv"
    lines = []
    for number in range(60):
        moment = datetime(2024, 3, 20, tzinfo=UTC) + timedelta(minutes=draw.randrange(60 * 24 * 16))
        for _ in range(draw.choice([1, 2, 3, 4])):
            lines.append(f"c{number:02},{draw.choice(['order', 'check', 'pay'])},{moment.isoformat()}")
            moment += timedelta(minutes=draw.choice([0, 30, 60 * 20, 60 * 70]))
    path.write_text("case,activity,time\n" + "\n".join(lines) + "\n")
    return path


def refreshed_with(log: Path, folder: Path, parameters: dict[str, Any]) -> Workbench:
    asked = AnalysisParameters.model_validate(parameters)
    return refreshed(local_bench(folder, land_parts(log, MAPPING, folder, 1), parameters=asked))


@pytest.fixture(scope="module")
def elapsed(log: Path, tmp_path_factory: pytest.TempPathFactory) -> Workbench:
    return refreshed_with(log, tmp_path_factory.mktemp("elapsed"), {})


@pytest.fixture(scope="module")
def working(log: Path, tmp_path_factory: pytest.TempPathFactory) -> Workbench:
    return refreshed_with(log, tmp_path_factory.mktemp("working"), {"calendar": CALENDAR})


def worked(case: dict[str, Any]) -> int:
    start, end = (
        (case[name].replace(tzinfo=UTC) - EPOCH) // timedelta(microseconds=1)
        for name in ("start_ts", "end_ts")
    )
    return worked_us(WorkingCalendar.model_validate(CALENDAR), start, end)


def total(bench: Workbench, dataset: str, column: str) -> int:
    return sum(row[column] for row in rows(bench, dataset))  # type: ignore[misc]


def test_cycle_times_are_working_time_and_what_elapsed_is_beside_them(
    elapsed: Workbench, working: Workbench
) -> None:
    cases = rows(working, "cases")
    assert [case["cycle_time_us"] for case in cases] == [worked(case) for case in cases]
    assert [case["cycle_time_seconds"] * 1e6 for case in cases] == [case["cycle_time_us"] for case in cases]  # type: ignore[operator]
    plain = rows(elapsed, "cases")
    for name in ("global_case_id", "start_ts", "end_ts", "variant_hash", "state"):
        assert [case[name] for case in cases] == [case[name] for case in plain]
    assert [case["feature_vector"][:-1] for case in cases] == [case["feature_vector"] for case in plain]  # type: ignore[index]
    assert [case["feature_vector"][-1] for case in cases] == [case["cycle_time_seconds"] for case in plain]  # type: ignore[index]


def test_variants_map_and_waits_add_up_to_the_cases(working: Workbench) -> None:
    of_cases = total(working, "cases", "cycle_time_us")
    assert of_cases == total(working, "variants", "total_cycle_time_us")
    assert of_cases == total(working, "process_map", "total_us")
    assert of_cases == total(working, "waits", "total_us")
    (summary,) = {
        row["summary"] for row in rows(working, "explanations") if row["month"] == "all" and row["place"] == 0
    }
    assert summary


def test_variants_say_that_they_are_measured_in_working_time(elapsed: Workbench, working: Workbench) -> None:
    assert all('"clock":"working"' in str(row["metadata"]) for row in rows(working, "variants"))
    assert not any("clock" in str(row["metadata"]) for row in rows(elapsed, "variants"))


def test_explanations_say_that_they_are_of_working_time(elapsed: Workbench, working: Workbench) -> None:
    of_elapsed, of_work = (
        [str(row["summary"]) for row in rows(bench, "explanations") if row["scope"] in ("bottleneck", "case")]
        for bench in (elapsed, working)
    )
    assert of_elapsed
    assert of_work
    assert all("working" not in summary for summary in of_elapsed)
    assert all(re.search(r"\d working (hours|minutes|seconds)", summary) for summary in of_work)
    assert not any(re.search(r"\d (s|min|h|days)\b|elapsed", summary) for summary in of_work)
    clocks = [
        {file.stats.get("clock") for file in bench.tree.files("explanations").values()}
        for bench in (elapsed, working)
    ]
    assert clocks == [{None}, {"working"}]


def test_always_open_is_elapsed_time(log: Path, elapsed: Workbench, tmp_path: Path) -> None:
    week = dict.fromkeys((*OFFICE, "saturday", "sunday"), "00:00-24:00")
    always = refreshed_with(log, tmp_path, {"calendar": {"time_zone": "Europe/Berlin", "hours": week}})
    for dataset in ("process_map", "waits"):
        assert hashes(always, dataset) == hashes(elapsed, dataset)
    assert [c["cycle_time_us"] for c in rows(always, "cases")] == [
        c["cycle_time_us"] for c in rows(elapsed, "cases")
    ]


@pytest.mark.parametrize("completion", [{}, {"end_activities": ["pay"]}])
def test_the_filter_of_cycle_times_measures_by_the_calendar_of_the_question(
    elapsed: Workbench, tmp_path: Path, completion: dict[str, Any]
) -> None:
    base = Base(
        "p",
        "c" * 64,
        elapsed.as_of,
        elapsed.parameters,
        {
            dataset: [
                BaseFile(month, elapsed.tree.url(file), file.rows, file.content_sha256)
                for month, file in elapsed.tree.files(dataset).items()
            ]
            for dataset in ("events", "cases", "variants")
        },
    )
    bounds = {"min_seconds": 1, "max_seconds": 8 * 3600}
    asked = {
        "calendar": CALENDAR,
        "filters": [{"kind": "cycle_time", **bounds}],
        "completion": completion,
    }
    bench = local_bench(
        tmp_path, [], parameters=AnalysisParameters.model_validate(asked), tree=LocalTree(tmp_path / "asked")
    )
    bench.is_on_demand = True
    stage_selection(bench, base)
    stage_case_index(bench)
    stage_process(bench, bench.tree.files("case_index"))
    wanted = {
        case["global_case_id"]: worked(case)
        for case in rows(elapsed, "cases")
        if 1_000_000 <= worked(case) <= 8 * 3_600_000_000
    }
    assert {case["global_case_id"]: case["cycle_time_us"] for case in rows(bench, "cases")} == wanted != {}


def test_another_calendar_makes_every_month_stale(working: Workbench) -> None:
    tree = working.tree
    index, cases = tree.files("case_index"), tree.files("cases")

    def stale(calendar: dict[str, Any] | None) -> list[str]:
        asked = AnalysisParameters.model_validate({"calendar": calendar})
        return stale_case_months(index, cases, asked, working.as_of)

    assert stale(CALENDAR) == []
    assert stale(None) == stale(CALENDAR | {"holidays": []}) == sorted(index)
    explained = (cases, tree.files("explanations"), tree.files("samples"))
    assert stale_explanation_months(*explained, working.parameters) == []


def test_a_question_without_a_calendar_is_written_as_before_there_were_any() -> None:
    written = AnalysisParameters().model_dump(mode="json", by_alias=True)
    assert "calendar" not in written
    assert written["happy_path"] is None
    asked = AnalysisParameters.model_validate({"calendar": CALENDAR})
    assert AnalysisParameters.model_validate(asked.model_dump(mode="json")) == asked


def test_hours_are_those_of_the_calendars_zone(working: Workbench, log: Path, tmp_path: Path) -> None:
    tokyo = refreshed_with(log, tmp_path, {"calendar": CALENDAR | {"time_zone": "Asia/Tokyo"}})
    assert hashes(tokyo, "cases") != hashes(working, "cases")
