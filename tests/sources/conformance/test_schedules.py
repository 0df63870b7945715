"""Random schedules of changes, faults, crashes and syncs: nothing is lost, doubled or made up, whatever the type.

``CASETRAIL_PULL_HISTORIES`` says how many are tried of each type, ``CASETRAIL_PULL_SEED`` which is the first.
"""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.sources.conformance.bench import SourceBench
from tests.sources.conformance.history import ZONES, History
from tests.sources.conformance.ledger import HISTORIES, Ledger

FIRST = int(os.environ.get("CASETRAIL_PULL_SEED", "1"))


@pytest.mark.parametrize("seed", range(FIRST, FIRST + HISTORIES))
def test_what_the_source_shows_is_in_raw_once(
    bench: SourceBench, seed: int, tmp_path: Path, live_in: Callable[[str], None]
) -> None:
    live_in(ZONES[seed % len(ZONES)])
    history = History(bench, seed)
    history.run(Ledger(bench, tmp_path))
