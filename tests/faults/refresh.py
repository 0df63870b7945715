"""A refresh in a process of its own that can be killed: at any moment from outside, or by itself at a named one.

The processes are forked by Python's fork server, which has imported everything and done nothing else: it has neither
threads nor connections that a fork could break, and a refresh costs no seconds of imports.
"""

import os
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.process import BaseProcess
from pathlib import Path

from orchestration.control_plane import database, jobs, releases
from orchestration.lake import layout
from orchestration.settings import Settings
from orchestration.stages.opening import OpenedWorkspace, open_workspace
from orchestration.stages.publish import release_workspace
from orchestration.stages.refresh import run_stages
from orchestration.stages.replay import replay
from orchestration.stages.workbench import MonthOutcome
from tests.faults.broken_swaps import PUBLISHERS, key_without_content
from tests.faults.kill_points import KillPoint, arm

IN_PLACE = "files in place"
"""The broken release that writes new content under the keys of the old."""

_CONTEXT = get_context("forkserver")
_CONTEXT.set_forkserver_preload(
    # What the product imports where it is used.
    [__name__, "dbt.cli.main", "dbt.task.build", "dbt.adapters.duckdb", "hypothesis", "lightgbm"]
)


@dataclass(frozen=True)
class Orders:
    """How a refresh is to go.

    Attributes:
        run_id: Of the run.
        kill_at: Where it ends itself.
        swap: The broken release (of ``PUBLISHERS``, or ``IN_PLACE``) that it makes.
        span: The file for the begin and end of its work, in nanoseconds of the monotonic clock.
    """

    run_id: str = "refresh"
    kill_at: KillPoint | None = None
    swap: str | None = None
    span: Path | None = None


class Refresh:
    """A refresh and release of a workspace, started at once in a process of its own."""

    def __init__(self, settings: Settings, slug: str, folder: Path, orders: Orders | None = None) -> None:
        """``folder`` takes the scratch files, which a killed process leaves behind, and what it said."""
        self._log = folder / f"refresh-{time.monotonic_ns()}.log"
        self._process = _started(_refresh, settings, slug, folder, self._log, orders or Orders())

    @property
    def runs(self) -> bool:
        """Whether it has not ended yet."""
        return self._process.is_alive()

    def ends_within(self, seconds: float) -> bool:
        """Wait so long for its end, and tell whether it came."""
        self._process.join(seconds)
        return not self.runs

    def kill(self) -> None:
        """End it now without a chance to clean up; nothing happens if it has ended."""
        self._process.kill()
        self._process.join(10)

    def wait(self, seconds: float = 60) -> int:
        """Its exit code (negative: the signal that ended it).

        Raises:
            TimeoutError: it did not end in time, and was killed.
        """
        self._process.join(seconds)
        if self._process.exitcode is None:
            self.kill()
            raise TimeoutError(f"the refresh did not end in {seconds} s: {self.said}")
        return self._process.exitcode

    @property
    def said(self) -> str:
        """What it wrote, such as its traceback."""
        return self._log.read_text()


def refreshed(settings: Settings, slug: str, folder: Path, orders: Orders | None = None) -> float:
    """Refresh a workspace undisturbed; the seconds that it took."""
    began = time.monotonic()
    refresh = Refresh(settings, slug, folder, orders)
    assert refresh.wait() == 0, refresh.said
    return time.monotonic() - began


def replay_agrees(settings: Settings, slug: str, folder: Path, seconds: float = 60) -> None:
    """The release is what a replay of its raw files gives, file by file, apart from S3 and PostgreSQL."""
    log = folder / f"replay-{time.monotonic_ns()}.log"
    process = _started(_replay, settings, slug, folder, log)
    process.join(seconds)
    assert process.exitcode == 0, log.read_text()


def refresh_and_release(settings: Settings, opened: OpenedWorkspace, run_id: str) -> list[MonthOutcome]:
    """What the assets of a refresh do."""
    with database.as_system(settings.system_dsn, opened.workspace.id) as connection:
        jobs.start(connection, opened.workspace.id, opened.job.id)
    run_stages(opened.bench)
    return release_workspace(settings, opened, opened.bench.tree.files("cases"), run_id)


def _started(target: Callable[..., None], *arguments: object) -> BaseProcess:
    process = _CONTEXT.Process(target=target, args=arguments, daemon=True)
    process.start()
    return process


def _refresh(settings: Settings, slug: str, folder: Path, log: Path, orders: Orders) -> None:
    _settle(folder, log)
    if orders.kill_at is not None:
        arm(orders.kill_at)
    if orders.swap == IN_PLACE:
        layout.dataset_key = key_without_content
    elif orders.swap is not None:
        releases.publish = PUBLISHERS[orders.swap]
    with open_workspace(settings, slug, orders.run_id) as opened:
        began = time.monotonic_ns()
        refresh_and_release(settings, opened, orders.run_id)
        if orders.span is not None:
            orders.span.write_text(f"{began} {time.monotonic_ns()}")


def _replay(settings: Settings, slug: str, folder: Path, log: Path) -> None:
    _settle(folder, log)
    differing = [entry for entry in replay(settings, slug) if not entry.agrees]
    if differing:
        sys.exit(f"the replay differs: {differing}")


def _settle(folder: Path, log: Path) -> None:
    """What the process says goes to its log, what it leaves behind to the test's folder."""
    said = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(said, 1)
    os.dup2(said, 2)
    tempfile.tempdir = str(folder)
