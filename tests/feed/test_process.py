"""The feed as it runs: the real object store tells it of a dropped file; what was dropped without it is found later."""

import time
from collections.abc import Callable, Iterator

import psutil
import pytest

from orchestration.services.feed import Feed
from orchestration.settings import Installation, Settings
from tests.stages.test_inbox_ledger import Inbox


@pytest.fixture
def feed(installation: Settings) -> Iterator[Feed]:
    feed = Feed(Installation(home=installation.home))
    yield feed
    feed.stop()


def seconds_until(condition: Callable[[], bool]) -> float:
    began = time.monotonic()
    while not condition():
        assert time.monotonic() - began < 30
        time.sleep(0.05)
    return time.monotonic() - began


@pytest.mark.slow
def test_a_dropped_file_is_heard_of_at_once_and_without_the_feed_later(
    installation: Settings, feed: Feed
) -> None:
    mine = Inbox(installation)
    feed.start(installation)
    time.sleep(2)  # The listing at its start is over.
    mine.drop("heard.csv")
    assert seconds_until(lambda: mine.waiting() == ["heard.csv"]) < 2

    running = feed.process()
    assert running is not None
    psutil.Process(running.pid).kill()
    seconds_until(lambda: feed.process() is None)
    mine.drop("missed.csv")
    feed.start(installation)
    seconds_until(lambda: mine.waiting() == ["heard.csv", "missed.csv"])
