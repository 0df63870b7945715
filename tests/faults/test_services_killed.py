"""kill -9 of PostgreSQL and of S3 while a refresh works: `up` repairs, nothing is lost, a retry makes the release."""

import hashlib
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from time import sleep

import pytest

from orchestration.control_plane import arrivals, database
from orchestration.control_plane.migrate import migrate
from orchestration.control_plane.users import ensure_operator
from orchestration.lake.layout import original_key
from orchestration.services.stack import Stack
from orchestration.settings import Installation, Settings, load_settings
from tests.faults.growing_log import GrowingLog, new_workspace
from tests.faults.reader import Reader, store_of
from tests.faults.refresh import Refresh, refreshed, replay_agrees

SHARES = (0.15, 0.5, 0.85)
"""When the service is killed, as a share of the seconds that a refresh takes."""


@pytest.fixture
def home() -> Iterator[Path]:
    """An installation of the test's own; PostgreSQL's user may enter its folder."""
    folder = Path(tempfile.mkdtemp(prefix="casetrail-tests-"))
    folder.chmod(0o711)
    try:
        yield folder / "home"
    finally:
        Stack(Installation(home=folder / "home")).down()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("service", ["postgres", "s3"])
def test_up_repairs_a_killed_service_and_a_retry_makes_the_release(
    service: str, home: Path, tmp_path: Path
) -> None:
    settings = _up(home)
    log = GrowingLog(settings, new_workspace(settings, "acme"), tmp_path)
    log.grow()
    refreshed(log.settings, log.slug, tmp_path)
    log.grow()
    usual_seconds = refreshed(log.settings, log.slug, tmp_path)
    current = Reader(log.settings, log.workspace).read()
    for share in SHARES:
        log.grow()
        refresh = Refresh(log.settings, log.slug, tmp_path)
        sleep(usual_seconds * share)
        _kill(home, service)
        exit_code = refresh.wait(90)
        assert exit_code in (0, 1), refresh.said
        # A port may have been taken meanwhile: what is up again says where.
        log.settings = _up(home)
        seen = Reader(log.settings, log.workspace).read()
        _nothing_is_lost(log)
        refreshed(log.settings, log.slug, tmp_path)
        new = Reader(log.settings, log.workspace).read()
        assert new.content != current.content
        assert seen in (current, new)
        which = "old" if seen == current else "new"
        print(
            f"{service} killed at {share:.0%} of a refresh, which ended with {exit_code}: the {which} release"
        )
        current = new
    replay_agrees(log.settings, log.slug, tmp_path)


def _up(home: Path) -> Settings:
    Stack(Installation(home=home)).up(prepare=_prepare, storage_only=True)
    return load_settings(home)


def _kill(home: Path, service: str) -> None:
    stack = Stack(Installation(home=home))
    running = stack.postgres if service == "postgres" else stack.s3
    assert running is not None
    process = running.process()
    assert process is not None
    process.kill()
    process.wait(10)


def _nothing_is_lost(log: GrowingLog) -> None:
    """Every upload is in the ledger, and each of its objects holds the bytes that were acknowledged."""
    with database.as_system(log.settings.system_dsn, log.workspace.id) as connection:
        arrived = arrivals.list_arrivals(connection, log.workspace.id, "landed")
        files = arrivals.list_landed_files(connection, log.workspace.id, "raw")
    store = store_of(log.settings, log.workspace)
    assert len(arrived) == log.uploads
    for file in files:
        assert hashlib.sha256(store.get(file.object_key)).hexdigest() == file.content_sha256
    for arrival in arrived:
        original = store.get(original_key(log.workspace.id, arrival.sha256))
        assert hashlib.sha256(original).hexdigest() == arrival.sha256


def _prepare(settings: Settings) -> None:
    migrate(settings.owner_dsn)
    ensure_operator(settings.owner_dsn, settings.operator)
