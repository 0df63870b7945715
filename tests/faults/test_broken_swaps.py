"""The reader's check can fail: releases that are not made at once, or not beside the old one, do not pass it."""

from collections.abc import Callable
from pathlib import Path

import pytest

from orchestration.settings import Settings
from tests.faults.broken_swaps import PUBLISHERS
from tests.faults.growing_log import GrowingLog
from tests.faults.kill_points import KillPoint
from tests.faults.reader import BrokenRelease, Reader
from tests.faults.refresh import IN_PLACE, Orders, Refresh, refreshed


@pytest.mark.slow
@pytest.mark.parametrize("swap", PUBLISHERS)
def test_a_release_in_several_transactions_is_seen_in_pieces(
    swap: str, growing_log: Callable[[str], GrowingLog], installation: Settings, tmp_path: Path
) -> None:
    log = growing_log(swap.replace(" ", "-"))
    log.grow()
    refreshed(installation, log.slug, tmp_path)
    reader = Reader(installation, log.workspace)
    reader.read()
    log.grow()
    refresh = Refresh(installation, log.slug, tmp_path, Orders(swap=swap))
    assert refresh.wait() == -9, refresh.said
    what = "the explanations" if swap == "without the explanations" else "the files of the release"
    with pytest.raises(BrokenRelease, match=what):
        reader.read()


@pytest.mark.slow
def test_files_that_are_replaced_in_place_change_the_old_release(
    growing_log: Callable[[str], GrowingLog], installation: Settings, tmp_path: Path
) -> None:
    log = growing_log("in-place")
    log.grow()
    refreshed(installation, log.slug, tmp_path, Orders(swap=IN_PLACE))
    reader = Reader(installation, log.workspace)
    reader.read()
    log.grow()
    killed = Orders(swap=IN_PLACE, kill_at=KillPoint("after a file is put", 3))
    refresh = Refresh(installation, log.slug, tmp_path, killed)
    assert refresh.wait() == -9, refresh.said
    with pytest.raises(BrokenRelease, match="the content of"):
        reader.read()
