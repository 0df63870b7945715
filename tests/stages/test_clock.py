"""The clock makes stale exactly the months whose cases change state."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestration.automation.planner import next_look
from orchestration.connectors.mapping import Mapping
from orchestration.control_plane.staging import StagedFile
from orchestration.stages.clock import holds, measure_holds, next_change
from orchestration.stages.process import stage_process
from orchestration.stages.release import WorkingTreeState
from orchestration.stages.staleness import stale_case_months
from orchestration.stages.workbench import AnalysisParameters, Completion
from tests.stages.local_bench import hashes, land_parts, local_bench, refreshed

FIRST = datetime(2026, 3, 1, tzinfo=UTC)
SILENCE = 3
RULE = Completion(end_activities=("pay",), silence_days=SILENCE)

moments = st.integers(0, 20 * 24).map(lambda hours: FIRST + timedelta(hours=hours))
cases = st.lists(st.tuples(st.sampled_from(("2026-01", "2026-02")), moments, st.sampled_from(("ask", "pay"))))
days = st.integers(0, 26).map(lambda number: FIRST + timedelta(days=number))


def state_at(end: datetime, last: str, as_of: datetime) -> str:
    return "completed" if last == "pay" or as_of - end >= timedelta(days=SILENCE) else "open"


def measured(
    month: str, found: Sequence[tuple[str, datetime, str]], as_of: datetime
) -> dict[str, str | None]:
    """The interval that a build at ``as_of`` finds."""
    with duckdb.connect() as connection:
        connection.execute(
            "create table cases (home_month text, state text, end_ts timestamp, end_activity text)"
        )
        connection.execute("create schema input")
        connection.execute(
            f"create table input.parameters as select {SILENCE * 86_400_000_000}::bigint as silence_us,"
            " ['pay'] as end_activities"
        )
        for home, end, last in found:
            connection.execute(
                "insert into cases values (?, ?, ?, ?)",
                [home, state_at(end, last, as_of), end.replace(tzinfo=None), last],
            )
        return measure_holds(connection, month)


@given(found=cases, judged=days, later=days)
@settings(max_examples=150, deadline=None)
def test_a_month_holds_at_a_moment_if_and_only_if_no_case_has_another_state_then(
    found: list[tuple[str, datetime, str]], judged: datetime, later: datetime
) -> None:
    for month in ("2026-01", "2026-02"):
        mine = [(end, last) for home, end, last in found if home == month]
        same = all(state_at(*case, judged) == state_at(*case, later) for case in mine)
        between = all(
            state_at(*case, judged) == state_at(*case, day)
            for case in mine
            for day in (min(judged, later), max(judged, later))
        )
        assert same == between
        assert holds(measured(month, found, judged), RULE, later) == same


@given(found=cases, judged=days)
@settings(max_examples=50, deadline=None)
def test_the_next_change_is_the_first_midnight_at_which_a_month_does_not_hold(
    found: list[tuple[str, datetime, str]], judged: datetime
) -> None:
    stats = [measured(month, found, judged) for month in ("2026-01", "2026-02")]
    files = [StagedFile("cases", "m", "", 1, 1, "", "", [], "", [], dict(s), 0.0, "") for s in stats]
    following = [judged + timedelta(days=number) for number in range(1, 40)]
    changes = [day for day in following if not all(holds(s, RULE, day) for s in stats)]
    assert next_change(files, RULE, judged) == (changes[0] if changes else None)


def test_without_a_rule_on_silence_the_clock_changes_nothing() -> None:
    rule = Completion(end_activities=("pay",))
    assert holds({}, rule, FIRST)
    assert next_change([], rule, FIRST) is None


def test_a_month_that_was_judged_before_the_interval_was_kept_is_stale() -> None:
    assert not holds({"completed": 3}, RULE, FIRST)


@pytest.mark.slow
def test_months_that_the_clock_makes_stale_are_those_that_a_daily_rebuild_changes(tmp_path: Path) -> None:
    random, lines = Random(7), ["case,activity,time"]
    for case in range(40):
        begin = datetime(2026, 1, 3, tzinfo=UTC) + timedelta(hours=random.randrange(45 * 24))
        last = random.choice(["ask", "ask", "pay"])
        for hours, activity in ((0, "order"), (random.randrange(1, 400), last)):
            lines.append(f"{case},{activity},{begin + timedelta(hours=hours):%Y-%m-%dT%H:%M:%SZ}")
    log = tmp_path / "log.csv"
    log.write_text("\n".join(lines) + "\n")
    parts = land_parts(log, Mapping(case_id="case", activity="activity", timestamp="time"), tmp_path, 1)
    parameters = AnalysisParameters(completion=RULE)
    first = datetime(2026, 1, 20, tzinfo=UTC)
    kept = replace(local_bench(tmp_path / "kept", parts, parameters=parameters), as_of=first)
    refreshed(kept)
    stale_at_all = 0
    for number in range(1, 54, 6):
        day = first + timedelta(days=number)
        rebuilt = replace(local_bench(tmp_path / str(number), parts, parameters=parameters), as_of=day)
        refreshed(rebuilt)
        before, after = hashes(kept, "cases"), hashes(rebuilt, "cases")
        kept = replace(kept, as_of=day)
        index, made = kept.tree.files("case_index"), kept.tree.files("cases")
        stale = stale_case_months(index, made, parameters, day)
        assert stale == sorted(month for month in after if before[month] != after[month]), day
        stale_at_all += len(stale)
        stage_process(kept, after)
        for dataset in ("cases", "variants", "process_map"):
            assert hashes(kept, dataset) == hashes(rebuilt, dataset), (day, dataset)
        state = WorkingTreeState(parts, [], list(kept.tree.files("cases").values()), parameters, day)
        wake = next_look(state)
        assert wake is None or wake > day
    assert stale_at_all > 3, "the log is to change with the clock"
