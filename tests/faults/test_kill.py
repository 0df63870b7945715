"""kill -9 of a refresh at any moment: readers have the old release or the new one, whole; a retry makes the new.

The suite kills ten refreshes; CASETRAIL_KILLS=50 the fifty that were asked for once.
"""

import json
import os
import random
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from time import monotonic

import pytest

from orchestration.control_plane import database
from orchestration.lake.layout import manifest_key
from orchestration.settings import Settings
from tests.faults.growing_log import GrowingLog
from tests.faults.kill_points import POINTS, KillPoint
from tests.faults.leftovers import nothing_is_left_over
from tests.faults.reader import Reader, Release, store_of
from tests.faults.refresh import Orders, Refresh, refreshed, replay_agrees

KILLS = int(os.environ.get("CASETRAIL_KILLS", "10"))
SEED = 20_260
REPLAY_EVERY = 20

_AFTER_THE_SWAP = {
    "after the release, before the manifest",
    "after the manifest, before the sweep",
    "in the sweep",
}
_OFTEN = {"before a file is put": 8, "after a file is put": 8, "after files are staged, before the commit": 4}
"""Moments that every refresh passes at least so often."""


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_killed_refresh_leaves_the_old_release_or_the_new_one(
    growing_log: Callable[[str], GrowingLog], installation: Settings, tmp_path: Path
) -> None:
    log, fates = growing_log("killed"), Counter[str]()
    log.grow()
    refreshed(installation, log.slug, tmp_path)
    log.grow()
    usual_seconds = refreshed(installation, log.slug, tmp_path)
    reader, kills = Reader(installation, log.workspace), _kills()
    current = reader.read()
    while kills:
        kill = kills[-1]
        log.grow()
        seconds = _refresh_killed(installation, log.slug, tmp_path, kill, usual_seconds)
        seen = reader.read()
        swapped = seen.provenance_id != current.provenance_id
        if seconds is None:
            kills.pop()
            fates["after the swap" if swapped else "before the swap"] += 1
        else:  # It was quicker than the kill, which gets another round.
            usual_seconds = seconds
        if isinstance(kill, KillPoint):
            assert (seconds, swapped) == (None, kill.name in _AFTER_THE_SWAP), kill
        refreshed(installation, log.slug, tmp_path)
        new = reader.read()
        assert new.content != current.content
        assert seen == (new if swapped else current), (
            f"a mixture after {log.uploads} uploads, killed at {kill}"
        )
        _manifest_names(installation, log, new)
        if log.uploads % REPLAY_EVERY == 0:
            replay_agrees(installation, log.slug, tmp_path)
        current = new
    print(f"{KILLS} kills in {log.uploads} refreshes of about {usual_seconds:.1f} s: {dict(fates)}")
    assert min(fates["before the swap"], fates["after the swap"]) > 0
    assert _lineage(installation, log) == log.uploads, "each upload made one release on top of the one before"
    before = reader.read()
    nothing_is_left_over(installation, log.slug)
    assert reader.read() == before
    _equals_an_undisturbed_build(growing_log("undisturbed"), log.uploads, installation, tmp_path, current)


def _kills() -> list[KillPoint | float]:
    """Two fifths at named moments; the others at a share of the usual seconds, spread evenly over a refresh."""
    dice, names = random.Random(SEED), sorted(POINTS)
    named: list[KillPoint | float] = [
        KillPoint(name, dice.randint(1, _OFTEN.get(name, 1)))
        for name in (names[place % len(names)] for place in range(KILLS * 2 // 5))
    ]
    randomly = KILLS - len(named)
    kills = named + [(place + dice.random()) / randomly for place in range(randomly)]
    dice.shuffle(kills)
    return kills


def _refresh_killed(
    settings: Settings, slug: str, folder: Path, kill: KillPoint | float, usual_seconds: float
) -> float | None:
    """None: the refresh was killed. Else it had ended before, after so many seconds."""
    began = monotonic()
    if isinstance(kill, KillPoint):
        refresh = Refresh(settings, slug, folder, Orders(kill_at=kill))
    else:
        refresh = Refresh(settings, slug, folder)
        if not refresh.ends_within(kill * usual_seconds):
            refresh.kill()
    exit_code = refresh.wait()
    assert exit_code in (0, -9), refresh.said
    return None if exit_code else monotonic() - began


def _manifest_names(settings: Settings, log: GrowingLog, release: Release) -> None:
    """After the retry the manifest is that of the release, also where the kill fell between the two."""
    manifest = json.loads(
        store_of(settings, log.workspace).get(manifest_key(log.workspace.id, log.analysis_id))
    )
    assert manifest["provenance_id"] == release.provenance_id
    assert {(f["dataset"], f["month"]): f["content_sha256"] for f in manifest["files"]} == release.content


def _lineage(settings: Settings, log: GrowingLog) -> int:
    """The number of releases from the current one back to the first; there are no others."""
    with database.as_system(settings.system_dsn, log.workspace.id) as connection:
        rows = connection.execute("select id, parent_id from provenance order by id").fetchall()
    assert [row["parent_id"] for row in rows] == [None, *(row["id"] for row in rows[:-1])]
    return len(rows)


def _equals_an_undisturbed_build(
    other: GrowingLog, uploads: int, settings: Settings, folder: Path, release: Release
) -> None:
    """The same uploads in another workspace, refreshed once and never killed, have the same content."""
    for _ in range(uploads):
        other.grow()
    refreshed(settings, other.slug, folder)
    assert Reader(settings, other.workspace).read().content == release.content
