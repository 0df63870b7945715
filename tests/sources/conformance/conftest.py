"""Every test with a ``bench`` runs once for each connector type that there is."""

import time
from collections.abc import Callable, Iterator

import pytest

from orchestration.settings import Settings
from orchestration.sources.registry import source_types
from tests.sources.conformance.bench import SourceBench, opened_bench


@pytest.fixture(scope="module", params=source_types())
def running_bench(request: pytest.FixtureRequest, installation: Settings) -> Iterator[SourceBench]:
    with opened_bench(request.param, installation) as bench:
        yield bench


@pytest.fixture
def bench(running_bench: SourceBench, monkeypatch: pytest.MonkeyPatch) -> SourceBench:
    """With small pages."""
    running_bench.shrink(monkeypatch)
    return running_bench


@pytest.fixture
def live_in() -> Iterator[Callable[[str], None]]:
    """Sets the time zone of this process, until the test is over."""
    with pytest.MonkeyPatch.context() as patch:

        def live_in(zone: str) -> None:
            patch.setenv("TZ", zone)
            time.tzset()

        yield live_in
    time.tzset()
