"""Landing and probing small files in one call."""

from pathlib import Path
from typing import Any

import pytest

from orchestration.connectors import Hints, Limits, Mapping, Probe, land, probe
from tests.connectors.landed import NOW, SIMPLE, LandBytes, Landed, ProbeBytes


@pytest.fixture
def land_bytes(tmp_path: Path) -> LandBytes:
    """Land content under a mapping; keywords change the simple mapping of case, activity, time."""

    def run(
        content: bytes, *, limits: Limits | None = None, first_month: str = "2000-01", **mapping: Any
    ) -> Landed:
        path = tmp_path / f"log{len(list(tmp_path.iterdir()))}"
        path.write_bytes(content)
        landing = land(
            path,
            Mapping.model_validate(SIMPLE | mapping),
            first_month=first_month,
            now=NOW,
            into=tmp_path / f"{path.name}-landed",
            limits=limits,
        )
        return Landed(landing)

    return run


@pytest.fixture
def probe_bytes(tmp_path: Path) -> ProbeBytes:
    """Probe content; keywords are hints."""

    def run(content: bytes, *, max_records: int = 1000, **hints: Any) -> Probe:
        path = tmp_path / f"log{len(list(tmp_path.iterdir()))}"
        path.write_bytes(content)
        return probe(path, Hints(**hints), first_month="2000-01", now=NOW, max_records=max_records)

    return run
