"""Which run comes next, decided from ledgers alone."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from orchestration.automation.planner import next_look, plan_catch_up, plan_run
from orchestration.control_plane.staging import StagedFile
from orchestration.stages.events import events_sources, keyed_sources
from orchestration.stages.release import WorkingTreeState, stale_months
from orchestration.stages.staleness import cases_fingerprint, explanation_fingerprint
from orchestration.stages.tree import WHOLE_ANALYSIS
from orchestration.stages.workbench import AnalysisParameters, Completion, RawPart

AS_OF = datetime(2026, 1, 1, tzinfo=UTC)
PARAMETERS = AnalysisParameters()


def part(month: str, sha: str = "a") -> RawPart:
    return RawPart(
        arrival_id=f"arrival-{sha}",
        arrival_sha256=sha * 64,
        rank=1,
        month=month,
        url="",
        object_key=f"ws/raw/csv_upload/{month}/{sha}.parquet",
        rows=10,
        content_sha256=sha * 64,
        columns=("case",),
        mapping={"system": "csv_upload"},
    )


def staged(dataset: str, month: str, fingerprint: str = "", **stats: object) -> StagedFile:
    return StagedFile(
        dataset, month, "key", 1, 1, f"{dataset}{month}", fingerprint, [], "v", [], dict(stats), 0.0, "run"
    )


def whole_tree(*months: str) -> WorkingTreeState:
    """A working tree in which everything is what its inputs say."""
    parts = [part(month) for month in months]
    events = [staged("events", p.month, sources=events_sources([p]), indexed=True) for p in parts]
    index = {month: staged("case_index", month) for month in months}
    cases = {m: staged("cases", m, cases_fingerprint(i, PARAMETERS), events=1) for m, i in index.items()}
    explained = [
        staged("explanations", m, explanation_fingerprint(m, cases, PARAMETERS))
        for m in (*months, WHOLE_ANALYSIS)
    ]
    files = [*events, *index.values(), *cases.values(), *explained]
    return WorkingTreeState(parts, [], files, PARAMETERS, AS_OF)


def test_an_empty_workspace_needs_no_run() -> None:
    assert plan_run(WorkingTreeState([], [], [], PARAMETERS, AS_OF), None) is None


def test_the_first_upload_is_one_run_over_all_its_months() -> None:
    plan = plan_run(WorkingTreeState([part("2024-03"), part("2024-01")], [], [], PARAMETERS, AS_OF), None)
    assert plan is not None
    assert (plan.kind, plan.first, plan.last) == ("refresh", "2024-01", "2024-03")


def test_a_released_whole_tree_needs_no_run() -> None:
    state = whole_tree("2024-01", "2024-02")
    assert stale_months(state) == {}
    assert plan_run(state, state.content_sha256()) is None


def test_a_whole_tree_that_was_never_released_needs_its_release() -> None:
    plan = plan_run(whole_tree("2024-01", "2024-02"), None)
    assert plan is not None
    assert plan.kind == "cases"


def test_a_new_file_in_an_old_month_starts_an_arrival_run_for_that_month_only() -> None:
    state = whole_tree("2024-01", "2024-02", "2024-03")
    late = replace(state, raw_parts=[*state.raw_parts, replace(part("2024-02", "b"), rank=2)])
    plan = plan_run(late, state.content_sha256())
    assert plan is not None
    assert (plan.kind, plan.first, plan.last) == ("arrival", "2024-02", "2024-02")


def test_a_changed_home_month_takes_the_explanations_of_the_following_year_along() -> None:
    state = whole_tree("2024-01", "2024-02", "2024-12", "2025-01")
    changed = [
        replace(f, content_sha256="new") if (f.dataset, f.month) == ("case_index", "2024-01") else f
        for f in state.files
    ]
    plan = plan_run(replace(state, files=changed), state.content_sha256())
    assert plan is not None
    assert (plan.kind, plan.first, plan.last) == ("cases", "2024-01", "2024-12")


def test_the_clock_makes_a_case_run_over_the_months_that_it_changes() -> None:
    rule = AnalysisParameters(completion=Completion(silence_days=3))
    state = whole_tree("2024-01", "2025-06")
    index = state.dataset("case_index")
    noon = AS_OF + timedelta(hours=12)
    ends = {"2024-01": None, "2025-06": noon.isoformat()}
    files = [
        replace(
            f,
            fingerprint=cases_fingerprint(index[f.month], rule),
            stats={"events": 1, "holds_from": None, "holds_before": ends[f.month]},
        )
        if f.dataset == "cases"
        else f
        for f in state.files
    ]
    cases = {f.month: f for f in files if f.dataset == "cases"}
    files = [
        replace(f, fingerprint=explanation_fingerprint(f.month, cases, PARAMETERS))
        if f.dataset == "explanations"
        else f
        for f in files
    ]
    state = replace(state, files=files, parameters=rule)
    assert plan_run(state, state.content_sha256()) is None
    wake = next_look(state)
    assert wake == AS_OF + timedelta(days=1), "the midnight after the change"
    plan = plan_run(replace(state, as_of=wake), state.content_sha256())
    assert plan is not None
    assert (plan.kind, plan.first, plan.last) == ("cases", "2025-06", "2025-06")


def keyed_tree(*parts: RawPart) -> WorkingTreeState:
    """A whole tree whose months were judged beside all of these parts, which declare a key."""
    state = whole_tree(*(p.month for p in parts))
    files = [
        replace(
            f,
            stats={
                "sources": events_sources([p for p in parts if p.month == f.month]),
                "keyed": keyed_sources(parts),
                "indexed": True,
            },
        )
        if f.dataset == "events"
        else f
        for f in state.files
    ]
    return replace(state, raw_parts=parts, files=files)


KEYED = {"system": "csv_upload", "record_key": ["id"]}


def test_a_new_version_of_a_keyed_record_may_touch_any_month_of_its_connector() -> None:
    state = keyed_tree(replace(part("2024-01"), mapping=KEYED), replace(part("2024-02"), mapping=KEYED))
    assert stale_months(state) == {}
    late = replace(part("2024-02", "b"), rank=2, mapping=KEYED)
    plan = plan_run(replace(state, raw_parts=[*state.raw_parts, late]), None)
    assert plan is not None
    assert (plan.first, plan.last) == ("2024-01", "2024-02")


def test_a_retracted_version_lets_the_one_before_it_come_back_in_any_month() -> None:
    old, new = replace(part("2024-01"), mapping=KEYED), replace(part("2024-02", "b"), rank=2, mapping=KEYED)
    state = keyed_tree(old, new)
    plan = plan_run(replace(state, raw_parts=[old]), None)
    assert plan is not None
    assert (plan.first, plan.last) == ("2024-01", "2024-02")


def test_months_that_a_killed_run_did_not_judge_stay_stale() -> None:
    old, new = replace(part("2024-01"), mapping=KEYED), replace(part("2024-02", "b"), rank=2, mapping=KEYED)
    before, after = keyed_tree(old), keyed_tree(old, new)
    half = [f for f in after.files if f.month == "2024-02" or f.dataset != "events"] + [
        f for f in before.files if f.dataset == "events"
    ]
    assert stale_months(replace(after, files=half)) == {"events": ["2024-01"]}


def test_events_that_the_case_index_does_not_know_are_stale() -> None:
    state = whole_tree("2024-01", "2024-02")
    fresh = [
        replace(f, stats={"sources": f.stats["sources"]})
        if (f.dataset, f.month) == ("events", "2024-02")
        else f
        for f in state.files
    ]
    assert stale_months(replace(state, files=fresh)) == {"events": ["2024-02"]}


def test_when_all_was_retracted_the_release_of_nothing_is_planned_once() -> None:
    nothing = WorkingTreeState([], [], [], PARAMETERS, AS_OF)
    for planner in (plan_run, plan_catch_up):
        plan = planner(nothing, "content")
        assert plan is not None
        assert plan.first == plan.last == "2026-01"
        assert planner(nothing, nothing.content_sha256()) is None


def test_the_same_need_has_the_same_subject_and_another_need_another() -> None:
    first = WorkingTreeState([part("2024-01")], [], [], PARAMETERS, AS_OF)
    second = WorkingTreeState([part("2024-02")], [], [], PARAMETERS, AS_OF)
    plans = [plan_run(state, None) for state in (first, first, second)]
    subjects = [plan.subject for plan in plans if plan is not None]
    assert subjects[0] == subjects[1] != subjects[2]
