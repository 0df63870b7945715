"""Every test with a ``bench`` runs once for each connector type that there is."""

from collections.abc import Iterator

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
