"""Whole syncs of every connector type, into PostgreSQL and S3, whose process is killed (SIGKILL)."""

import multiprocessing
import os
import random
import signal
from pathlib import Path

import pytest

from orchestration.control_plane.connectors import Connector
from orchestration.control_plane.workspaces import Workspace
from orchestration.settings import Settings
from orchestration.stages.pulls import sync
from tests.sources.conformance.bench import SourceBench, bench_class
from tests.sources.conformance.history import History
from tests.sources.conformance.installed import Installed
from tests.sources.deaths import POINTS, die_at

POINTS_OF_A_SYNC = ("page", *POINTS, "committed")
"""In mid-page, where its objects are stored, in mid-commit, and right behind it."""

RANDOM_KILLS = 4


def sync_and_die(
    settings: Settings, workspace: Workspace, connector: Connector, point: str | None, after: int
) -> None:
    """In a process of its own: sync until a point was passed so many times."""

    def kill() -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    patch, told = pytest.MonkeyPatch(), {"page": "records read", "committed": "landed"}.get(str(point))
    bench_class(connector.type).shrink(patch)
    left = after

    def progress(line: str) -> None:
        nonlocal left
        if told is not None and told in line:
            if not left:
                kill()
            left -= 1

    if point in POINTS:
        die_at(patch, point, after, kill)
    sync(settings, workspace, connector, progress=progress)


@pytest.fixture(scope="module")
def processes() -> multiprocessing.context.ForkServerContext:
    """Makes processes of one that has imported everything, so that each begins at once."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    return context


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_what_the_source_shows_is_in_raw_once_however_often_syncs_are_killed(
    bench: SourceBench,
    settings: Settings,
    workspace: Workspace,
    processes: multiprocessing.context.ForkServerContext,
    tmp_path: Path,
) -> None:
    history = History(bench, 11)
    installed = Installed(bench, settings, workspace, tmp_path)
    dice, killed = random.Random(11), 0
    for point in [*POINTS_OF_A_SYNC, *[None] * RANDOM_KILLS]:
        for _ in range(8):
            history.change()
            history.pass_time()
        history.truth.look()
        job = (settings, workspace, installed.connector, point, dice.randrange(2))
        process = processes.Process(target=sync_and_die, args=job)
        process.start()
        process.join(timeout=120 if point else dice.uniform(0, 1.5))
        process.kill()
        process.join()
        history.story.append(f"sync killed at {point}: {process.exitcode}")
        assert process.exitcode in (0, -signal.SIGKILL)
        killed += process.exitcode != 0
        history.truth.require([], installed.rows)
    assert killed > len(POINTS_OF_A_SYNC) / 2, "most syncs came to their end"
    history.end(installed)
