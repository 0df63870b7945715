"""Workspaces of the test session's installation."""

from collections.abc import Callable
from pathlib import Path

import pytest

from orchestration.settings import Settings
from tests.faults.growing_log import GrowingLog, new_workspace


@pytest.fixture
def growing_log(installation: Settings, tmp_path: Path) -> Callable[[str], GrowingLog]:
    """Makes a workspace by slug, with nothing uploaded yet."""

    def make(slug: str) -> GrowingLog:
        folder = tmp_path / slug
        folder.mkdir()
        return GrowingLog(installation, new_workspace(installation, slug), folder)

    return make
