"""An analysis on demand holds exactly the selected cases of its release, whole, and as its log says."""

import random
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from orchestration.connectors.mapping import Mapping
from orchestration.stages.case_index import stage_case_index
from orchestration.stages.process import stage_process
from orchestration.stages.selection import NothingSelected, stage_selection
from orchestration.stages.tree import LocalTree
from orchestration.stages.workbench import AnalysisParameters, Workbench
from tests.mining.filters.reference import Case, Event, select
from tests.stages.local_bench import base_of_bench, hashes, land_parts, local_bench, refreshed, rows

MAPPING = Mapping(case_id="case", activity="activity", timestamp="time", role="role", lifecycle="move")
FIRST = datetime(2024, 1, 20)
LOG: list[tuple[str, str, datetime, str, str, str]] = []
_draw = random.Random(5)
for _number in range(80):
    _time = FIRST + timedelta(hours=_draw.randrange(24 * 45))
    for _ in range(_draw.choice([1, 2, 3, 5])):
        LOG.append(
            (
                f"c{_number:02}",
                _draw.choice(["order", "check", "pay"]),
                _time,
                _draw.choice(["clerk", "boss"]),
                _draw.choice(["start", "complete", "complete"]),
                _draw.choice(["north", "south"]),
            )
        )
        _time += timedelta(hours=_draw.choice([0, 1, 200]))


@pytest.fixture(scope="module")
def released(tmp_path_factory: pytest.TempPathFactory) -> Workbench:
    folder = tmp_path_factory.mktemp("released")
    log = folder / "log.csv"
    lines = (f"{c},{a},{t.isoformat()}Z,{r},{m},{region}" for c, a, t, r, m, region in LOG)
    log.write_text("case,activity,time,role,move,region\n" + "\n".join(lines) + "\n")
    parameters = AnalysisParameters.model_validate({"completion": {"end_activities": ["pay"]}})
    return refreshed(local_bench(folder, land_parts(log, MAPPING, folder, 1), parameters=parameters))


def asked(released: Workbench, folder: Path, parameters: dict[str, Any]) -> Workbench:
    """The analysis with these parameters, up to its process models."""
    bench = local_bench(
        folder, [], parameters=AnalysisParameters.model_validate(parameters), tree=LocalTree(folder / "asked")
    )
    bench.is_on_demand = True
    stage_selection(bench, base_of_bench(released))
    stage_case_index(bench)
    stage_process(bench, bench.tree.files("case_index"))
    return bench


def cases_of(lines: Sequence[tuple[str, str, datetime, str, str, str]], ends: Sequence[str]) -> list[Case]:
    """The log as plain Python sees it; a case without end activities is completed."""
    found: dict[str, list[Event]] = {}
    for case, activity, time, role, move, region in lines:
        found.setdefault(case, []).append(
            Event(time, activity, {"role": role, "lifecycle": move}, {"region": region})
        )
    return [
        Case(case, tuple(events), "completed" if not ends or events[-1].activity in ends else "open")
        for case, events in found.items()
    ]


FILTERS: list[list[dict[str, Any]]] = [
    [{"kind": "time", "mode": "contained", "from": "2024-02-01T00:00:00Z", "to": "2024-03-01T00:00:00Z"}],
    [
        {"kind": "attribute", "level": "case", "name": "region", "in": ["south"]},
        {"kind": "variants", "top": 3},
    ],
    [{"kind": "not", "of": {"kind": "follows", "mode": "directly", "from": "order", "to": "pay"}}],
    [{"kind": "state", "in": ["open"]}, {"kind": "resource", "column": "role", "in": ["boss"]}],
]


@pytest.mark.parametrize("filters", FILTERS)
def test_the_selected_cases_are_those_of_plain_python_and_are_whole(
    released: Workbench, tmp_path: Path, filters: list[dict[str, Any]]
) -> None:
    completion = {"end_activities": ["pay"]}
    bench = asked(released, tmp_path, {"filters": filters, "completion": completion})
    wanted = select(cases_of(LOG, ["pay"]), filters)
    events = rows(bench, "events")
    assert {row["native_case_id"] for row in events} == wanted != set()
    assert len(events) == sum(line[0] in wanted for line in LOG)
    assert sum(row["frequency"] for row in rows(bench, "variants")) == len(wanted)  # type: ignore[misc]


def test_without_filters_an_analysis_holds_what_its_release_holds(
    released: Workbench, tmp_path: Path
) -> None:
    bench = asked(released, tmp_path, {"completion": {"end_activities": ["pay"]}})
    for dataset in ("events", "cases", "variants", "process_map"):
        assert hashes(bench, dataset) == hashes(released, dataset), dataset


def test_filters_see_the_log_as_the_analysis_sees_it(released: Workbench, tmp_path: Path) -> None:
    filters = [{"kind": "end_activity", "activities": r"pay / boss"}, {"kind": "state", "in": "completed"}]
    parameters = {
        "filters": filters,
        "classifier": ["activity", "role"],
        "lifecycle": "complete",
        "completion": {"end_activities": ["pay / boss", "pay / clerk"]},
    }
    bench = asked(released, tmp_path, parameters)
    log = [(c, f"{a} / {r}", t, r, m, region) for c, a, t, r, m, region in LOG if m == "complete"]
    wanted = select(cases_of(log, ["pay / boss", "pay / clerk"]), filters)
    assert {row["native_case_id"] for row in rows(bench, "events")} == wanted != set()
    assert {row["state"] for row in rows(bench, "cases")} == {"completed"}


def test_the_derived_cases_are_those_that_the_process_models_make(
    released: Workbench, tmp_path: Path
) -> None:
    """The log is derived here, and made by dbt there: every state selects the same cases."""
    rule = {"end_activities": ["pay"], "silence_days": 1030, "left_edge": "2024-01-25T00:00:00Z"}
    everything = asked(released, tmp_path / "all", {"completion": rule})
    made: dict[Any, set[Any]] = {}
    for row in rows(everything, "cases"):
        made.setdefault(row["state"], set()).add(row["global_case_id"])
    assert made.keys() == {"completed", "open", "left_cut"}
    for state, ids in made.items():
        bench = asked(
            released, tmp_path / str(state), {"completion": rule, "filters": [{"kind": "state", "in": state}]}
        )
        assert {row["global_case_id"] for row in rows(bench, "cases")} == ids


def test_the_same_question_is_carried_over_and_another_makes_it_anew(
    released: Workbench, tmp_path: Path
) -> None:
    bench = asked(released, tmp_path, {"filters": FILTERS[0]})
    again = stage_selection(bench, base_of_bench(released))
    assert {outcome.state for outcome in again} == {"carried over"}
    bench.parameters = AnalysisParameters.model_validate({"filters": FILTERS[2]})
    assert {outcome.state for outcome in stage_selection(bench, base_of_bench(released))} == {"made"}


def test_a_selection_of_nothing_says_so(released: Workbench, tmp_path: Path) -> None:
    with pytest.raises(NothingSelected, match="None of the 80 cases"):
        asked(released, tmp_path, {"filters": [{"kind": "case_size", "min": 99}]})
