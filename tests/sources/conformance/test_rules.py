"""What every connector type has to do, one rule at a time."""

import itertools
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from orchestration.addresses import allowed_address
from orchestration.sources.errors import ConfigurationError, SourceError
from orchestration.sources.protocol import Context, Window
from orchestration.sources.redaction import Redactor
from orchestration.sources.registry import source_type
from tests.sources.conformance.bench import Key, SourceBench, Version
from tests.sources.conformance.history import ZONES, Truth, recover
from tests.sources.conformance.ledger import LOCAL, MOMENTS, THOROUGH, Killed, Landed, Ledger, dying

T0 = datetime(2024, 3, 1, 10, tzinfo=UTC)
ENOUGH = 100
"""Requests that no sync of so few records makes."""

STRIDE = 1 if THOROUGH else 7
"""Of moments and requests every so manieth is tried."""


@pytest.fixture
def truth(bench: SourceBench) -> Truth:
    bench.reset(T0)
    return Truth(bench)


def able(bench: SourceBench, doing: str) -> list[str]:
    """Streams whose records can do that."""
    return [stream for stream, does in bench.does.items() if doing in does]


def populate(bench: SourceBench, each: int = 7, seconds: int = 1) -> dict[str, list[Key]]:
    """So many records in each stream that can have some, so many seconds apart; the clock stands where all are old."""
    made: dict[str, list[Key]] = {}
    for number in range(each):
        for stream in able(bench, "create"):
            made.setdefault(stream, []).append(bench.create(stream, f"{stream}-{number}"))
        bench.advance(seconds)
    bench.advance(bench.lag + 1)
    return made


def sync(bench: SourceBench, ledger: Ledger) -> list[Landed]:
    """A sync without mishaps, long enough after what happened; the rows that it brought."""
    bench.advance(bench.lag + 1)
    before = len(ledger.rows)
    ledger.sync(Window(None, bench.now()))
    return ledger.rows[before:]


def brought(bench: SourceBench, rows: list[Landed]) -> set[Key]:
    return {bench.landed(row.stream, row.row)[0] for row in rows}


def test_every_stream_comes_over_whole_in_pages(bench: SourceBench, truth: Truth, tmp_path: Path) -> None:
    populate(bench)
    ledger = Ledger(bench, tmp_path)
    sync(bench, ledger)
    truth.require(truth.look().values(), ledger.rows)
    assert len(ledger.rows) == len(truth.before) >= 7
    assert sync(bench, ledger) == []


def test_records_of_one_second_come_all_also_those_that_come_later(
    bench: SourceBench, truth: Truth, tmp_path: Path
) -> None:
    populate(bench, each=11, seconds=0)
    ledger = Ledger(bench, tmp_path)
    ledger.sync(Window(None, bench.now()))
    for stream in able(bench, "create"):
        bench.create(stream, f"{stream} of the second of the sync")
    for stream in able(bench, "update"):
        bench.update(next(key for key in truth.look() if key[0] == stream), "changed in that second")
    sync(bench, ledger)
    truth.require(truth.look().values(), ledger.rows)


def test_what_commits_late_comes_though_newer_records_came_before(
    bench: SourceBench, truth: Truth, tmp_path: Path
) -> None:
    populate(bench)
    ledger = Ledger(bench, tmp_path)
    late = {bench.create(stream, f"{stream} late", bench.longest_commit) for stream in able(bench, "late")}
    assert late, "no source sees all changes at once"
    seen = bench.now() + timedelta(seconds=bench.longest_commit)
    for part in (3, 2):
        populate(bench, each=1)
        sync(bench, ledger)
        assert not late & brought(bench, ledger.rows)
        bench.advance((seen - bench.now()).total_seconds() // part)
    bench.advance((seen - bench.now()).total_seconds())
    assert late <= brought(bench, sync(bench, ledger))
    truth.require(truth.look().values(), ledger.rows)


@pytest.mark.parametrize("moment", MOMENTS)
def test_wherever_a_sync_dies_the_next_one_loses_and_doubles_nothing(
    bench: SourceBench, truth: Truth, tmp_path: Path, moment: str
) -> None:
    populate(bench)
    for deaths in itertools.count(0, STRIDE):
        folder = tmp_path / str(deaths)
        folder.mkdir()
        ledger = Ledger(bench, folder)
        try:
            ledger.sync(Window(None, bench.now()), dying(moment, deaths))
        except Killed:
            bench.advance(1)
            sync(bench, ledger)
            truth.require(truth.look().values(), ledger.rows)
            continue
        break
    assert deaths > 0


def test_a_fault_at_any_request_loses_and_doubles_nothing(
    bench: SourceBench, truth: Truth, tmp_path: Path
) -> None:
    populate(bench, each=4)
    for number, fault in enumerate(bench.faults):
        for nth in range(1, ENOUGH) if THOROUGH else (1, 2 + number % STRIDE):
            folder = tmp_path / f"{fault}-{nth}"
            folder.mkdir()
            ledger = Ledger(bench, folder)
            bench.strike(fault, nth)
            struck = attempt(bench, ledger, fault)
            truth.require(truth.look().values(), ledger.rows)
            if not struck:
                break
        assert nth > 1, f"{fault} never happened"


def attempt(bench: SourceBench, ledger: Ledger, fault: str) -> bool:
    """Sync until it is done; whether the fault happened at all."""
    struck = False
    for _ in range(ENOUGH):
        began = bench.now()
        try:
            ledger.sync(Window(None, bench.now()), lambda _moment: bench.stepped())
        except SourceError as error:
            recover(bench, fault, error, began)
            struck = True
            continue
        break
    if bench.struck():
        assert None in bench.faults[fault], f"nobody noticed {fault}"
        struck = True
    bench.calm()
    return struck


def test_deleted_and_merged_records_are_tombstones_and_what_landed_stays(
    bench: SourceBench, truth: Truth, tmp_path: Path
) -> None:
    made = populate(bench)
    ledger = Ledger(bench, tmp_path)
    for stream in able(bench, "delete"):
        bench.delete(made[stream][0])
    truth.look()
    sync(bench, ledger)
    landed = list(ledger.rows)
    truth.require(truth.look().values(), landed)
    expected = set()
    for stream in able(bench, "delete"):
        bench.delete(made[stream][1])
        expected.add(made[stream][1])
    for stream in able(bench, "merge"):
        bench.merge(made[stream][2], made[stream][3])
        expected.add(made[stream][3])
    truth.look()
    new = sync(bench, ledger)
    truth.require(truth.look().values(), ledger.rows)
    assert brought(bench, [row for row in new if row.deleted]) == expected
    assert ledger.rows[: len(landed)] == landed


def test_columns_that_appear_change_and_disappear_stop_nothing(
    bench: SourceBench, truth: Truth, tmp_path: Path
) -> None:
    populate(bench)
    ledger = Ledger(bench, tmp_path)
    for change in range(4):
        sync(bench, ledger)
        truth.require(truth.look().values(), ledger.rows)
        bench.drift()
        truth.drifted = True
        for stream in able(bench, "create"):
            bench.create(stream, f"{stream} after {change}")


def test_an_empty_source_and_an_empty_window_bring_nothing_and_lose_nothing(
    bench: SourceBench, truth: Truth, tmp_path: Path
) -> None:
    ledger = Ledger(bench, tmp_path)
    assert sync(bench, ledger) == []
    made = populate(bench)
    timed = {v.key for v in truth.look().values() if v.at is not None}
    ledger.sync(Window(None, T0))
    assert not timed & brought(bench, ledger.rows)
    sync(bench, ledger)
    truth.require(truth.look().values(), ledger.rows)
    assert brought(bench, ledger.rows) == {key for keys in made.values() for key in keys} | set(truth.before)


@pytest.mark.parametrize("zone", ZONES[1:3])
def test_no_time_zone_changes_what_is_read_from_the_start_on(
    bench: SourceBench, truth: Truth, tmp_path: Path, live_in: Callable[[str], None], zone: str
) -> None:
    populate(bench)
    bench.advance(3600)
    start = bench.now()
    populate(bench)
    live_in(zone)
    ledger = Ledger(bench, tmp_path)
    ledger.sync(Window(start.astimezone(ZoneInfo(zone)), bench.now().astimezone(ZoneInfo(zone))))
    due = [v for v in truth.look().values() if v.at is None or v.at >= start]
    truth.require(due, ledger.rows)
    assert brought(bench, ledger.rows) == {v.key for v in due}


def test_a_window_is_that_of_the_source_whose_clock_may_differ(
    bench: SourceBench, truth: Truth, tmp_path: Path
) -> None:
    ledger = Ledger(bench, tmp_path)
    for wrong in (-500, 40_000, 0, -500, 0):
        populate(bench)
        ledger.sync(Window(None, bench.now() + timedelta(seconds=wrong)))
        truth.look()
    truth.require(truth.look().values(), ledger.rows)


def test_a_check_finds_nothing_wrong_and_a_wrong_secret_is_not_told(bench: SourceBench) -> None:
    bench.reset(T0)
    type_ = source_type(bench.of)
    context = Context(lambda host, port: allowed_address(host, port, LOCAL), Redactor(), LOCAL)
    config = type_.Config.model_validate({**bench.config(), **bench.secrets})
    checks = type_.check(config, context)
    assert [check.problem for check in checks] == [None] * len(checks)
    assert len(checks) >= len(bench.does)
    assert len(type_.discover(config, context)) >= len(bench.does)
    for name in bench.secrets:
        wrong = {**bench.config(), **bench.secrets, name: "wrong-c4nary-secret"}
        with pytest.raises(ConfigurationError) as caught:
            type_.check(type_.Config.model_validate(wrong), context)
        assert "wrong-c4nary" not in str(caught.value)


def test_a_bench_is_not_easily_pleased(bench: SourceBench, truth: Truth) -> None:
    populate(bench)
    shown = list(truth.look().values())

    def landed(version: Version, **changes: str) -> Landed:
        return Landed(version.key[0], version.deleted, {**version.values, **changes})

    rows = [landed(version) for version in shown]
    truth.require(shown, rows)
    altered = {column: "another" for column in shown[0].values}
    for bad in (rows[1:], [*rows, rows[0]], [landed(shown[0], **altered), *rows[1:]]):
        with pytest.raises(AssertionError):
            truth.require(shown, bad)
