"""A whole casetrail for the end-to-end tests: all four services, spoken to only through the command."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from orchestration.settings import Settings, load_settings

PROJECT = Path(__file__).resolve().parents[2]


@dataclass
class Casetrail:
    """The ``casetrail`` command of one installation."""

    home: Path
    environment: dict[str, str] = field(default_factory=dict)

    def run(self, *arguments: str, timeout: float = 600) -> subprocess.CompletedProcess[str]:
        """Run the command as a person would; the caller judges the exit code."""
        return subprocess.run(
            [str(Path(sys.executable).parent / "casetrail"), *arguments],
            env={**os.environ, "CASETRAIL_HOME": str(self.home), **self.environment},
            cwd=PROJECT,
            capture_output=True,
            text=True,
            timeout=timeout,
        )

    def json(self, *arguments: str, timeout: float = 600) -> Any:
        """Run the command with ``--json``, expect success, and give what it printed."""
        ended = self.run(*arguments, "--json", timeout=timeout)
        assert ended.returncode == 0, f"{arguments}: {ended.stderr}\n{ended.stdout}"
        return json.loads(ended.stdout)

    def query(self, workspace: str, sql: str, *options: str) -> list[dict[str, Any]]:
        """The rows of a query over the current release, or the one that the options name."""
        rows: list[dict[str, Any]] = self.json("query", workspace, sql, *options)
        return rows

    def settings(self) -> Settings:
        """The installation's settings, for what a test looks at behind the command."""
        return load_settings(self.home)


@contextmanager
def installed(**environment: str) -> Iterator[Casetrail]:
    """An installation of its own with Dagster, up for as long as the block."""
    with installation_to_be(**environment) as command:
        started = command.run("up")
        assert started.returncode == 0, started.stderr
        yield command


@contextmanager
def installation_to_be(**environment: str) -> Iterator[Casetrail]:
    """The command of an installation that is not yet there; what it starts is stopped at the end."""
    # Not pytest's own folder: it is closed to others, and as root PostgreSQL runs as another user.
    folder = Path(tempfile.mkdtemp(prefix="casetrail-e2e-"))
    folder.chmod(0o711)
    command = Casetrail(folder / "home", environment)
    try:
        yield command
    finally:
        command.run("down")
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def casetrail() -> Iterator[Casetrail]:
    """An installation for the session: it keeps superseded files for two seconds, and may notify this machine."""
    environment = {
        "CASETRAIL_RELEASE_GRACE_SECONDS": "2",
        "CASETRAIL_KEEP_RELEASE_DAYS": "0",
        "CASETRAIL_KEEP_RELEASES": "1",
        "CASETRAIL_NOTIFY_INTERNAL_HOSTS": '["localhost"]',
    }
    with installed(**environment) as command:
        yield command
