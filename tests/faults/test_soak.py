"""Faults without end: every refresh of the real daemon ends in the release that a clean build of its uploads makes.

The suite has three refreshes with nine faults; CASETRAIL_SOAK_REFRESHES=100 the hundred with three hundred that were
asked for once. CASETRAIL_SOAK_SEED draws others.
"""

import itertools
import os
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestration.control_plane import arrivals, database
from tests.faults.growing_log import GrowingLog, new_workspace
from tests.faults.leftovers import nothing_is_left_over
from tests.faults.ordeal import KILLED, Fault, Ordeal, Watcher, faults, ordeal, wait_for_release
from tests.faults.reader import BrokenRelease, Release
from tests.faults.refresh import replay_agrees

REFRESHES = int(os.environ.get("CASETRAIL_SOAK_REFRESHES", "3"))
SEED = int(os.environ.get("CASETRAIL_SOAK_SEED", "3"))
FAULTS = 3
"""In each refresh."""

LONGEST_REFRESH_SECONDS = 15.0
"""The first refresh may take longer, on a busy machine: of all months, and the first of a process."""

REPAIR_SECONDS = 600
BROKEN_DEFINITIONS = Path(__file__).with_name("broken_definitions.py")

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600 + 600 * REFRESHES)]


@pytest.fixture
def folder() -> Iterator[Path]:
    """PostgreSQL's user may enter it, and its path is short enough for a socket in it."""
    folder = Path(tempfile.mkdtemp(prefix="casetrail-soak-"))
    folder.chmod(0o711)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


def test_every_refresh_survives_its_faults(folder: Path, tmp_path: Path) -> None:
    drawn, repairs = faults(SEED), list[float]()
    with ordeal(folder) as made:
        log = grown(made, tmp_path, "tried")
        first_seconds, current = first_release(made, log)
        usual_seconds = min(first_seconds, LONGEST_REFRESH_SECONDS)
        watcher = Watcher(log)
        for number in range(REFRESHES):
            three = list(itertools.islice(drawn, FAULTS))
            seconds, new = survive(made, log, three, usual_seconds, current)
            repairs.append(seconds)
            nothing_is_lost(log, new)
            replay_agrees(log.settings, log.slug, tmp_path, REPAIR_SECONDS)
            print(f"{number + 1}: repaired in {seconds:.1f} s", flush=True)
            current = new
        watcher.stop()
        collected = nothing_is_left_over(log.settings, log.slug)
    repairs.sort()
    print(f"{REFRESHES} refreshes, {made.inflicted.total()} faults: {dict(made.inflicted)}")
    print(
        f"missed: {dict(made.missed)}; ended by themselves: {dict(made.ended)}; {watcher.reads} reads, none broken"
    )
    print(f"last fault to release: median {repairs[len(repairs) // 2]:.1f} s, slowest {repairs[-1]:.1f} s")
    print(f"{collected.objects} objects of ended runs collected, none missing")
    assert made.inflicted.total() + made.missed.total() == FAULTS * REFRESHES
    assert {f"{service} kill" for service in KILLED if service != "run"} <= set(made.inflicted)
    assert watcher.reads > REFRESHES


@pytest.mark.exhaustive
def test_a_release_in_two_transactions_does_not_survive(folder: Path, tmp_path: Path) -> None:
    """The control: the same watcher must see it."""
    with ordeal(folder, BROKEN_DEFINITIONS) as made:
        log = grown(made, tmp_path, "tried")
        _seconds, current = first_release(made, log)
        watcher = Watcher(log)
        survive(made, log, [Fault(0, "s3", "delay", 1)], 1, current)
        with pytest.raises(BrokenRelease, match="the explanations per month"):
            watcher.stop()


def grown(made: Ordeal, folder: Path, slug: str) -> GrowingLog:
    """A workspace of this name with its first upload."""
    (folder / slug).mkdir()
    log = GrowingLog(made.settings(), new_workspace(made.settings(), slug), folder / slug)
    log.grow()
    return log


def first_release(made: Ordeal, log: GrowingLog) -> tuple[float, Release]:
    """Made without faults; and the seconds that a refresh takes."""
    began = time.monotonic()
    current = wait_for_release(made, log, None, REPAIR_SECONDS)
    return time.monotonic() - began, current


def survive(
    made: Ordeal, log: GrowingLog, inflicted: list[Fault], usual_seconds: float, before: Release
) -> tuple[float, Release]:
    """One upload, these faults while it is refreshed, and its release; with the seconds from the last fault to it."""
    log.grow()
    for fault in inflicted:
        time.sleep(fault.after * usual_seconds)
        print(fault.name, flush=True)
        made.inflict(fault)
        if fault.ill == "kill" and fault.service != "run":
            made.up()
            log.settings = made.settings()
    began = time.monotonic()
    released = wait_for_release(made, log, before.provenance_id, REPAIR_SECONDS)
    return time.monotonic() - began, released


def nothing_is_lost(log: GrowingLog, release: Release) -> None:
    """Each record of each upload is an event of the release; this log has none that is anything else."""
    with database.as_system(log.settings.system_dsn, log.workspace.id) as connection:
        landed = arrivals.list_arrivals(connection, log.workspace.id, "landed")
    assert len(landed) == log.uploads
    assert sum(arrival.landed or 0 for arrival in landed) == release.rows["events"]
    assert Counter(arrival.quarantined for arrival in landed) == Counter({0: log.uploads})
