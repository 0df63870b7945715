import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from orchestration.services.processes import ProcessFile, pause, tail

SLEEP = [sys.executable, "-c", "import time; time.sleep(60)"]

# A service that ignores SIGTERM and has a child in its session.
STUBBORN = """
import signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
print(child.pid, flush=True)
time.sleep(60)
"""


@pytest.fixture
def service(tmp_path: Path) -> Iterator[ProcessFile]:
    service = ProcessFile(tmp_path / "processes" / "service.json")
    yield service
    service.stop(0)


def spawn(service: ProcessFile, command: list[str]) -> Path:
    log = service.path.parent.parent / "logs" / "service.log"
    service.spawn(command, environment=dict(os.environ), folder=service.path.parent.parent, log=log)
    return log


def wait_for_output(log: Path) -> str:
    for _ in range(100):
        if text := log.read_text():
            return text.strip()
        pause()
    raise AssertionError("the process wrote nothing")


def ended(pid: int) -> bool:
    return not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


def test_a_spawned_process_is_found_again_and_stopped(service: ProcessFile) -> None:
    spawn(service, SLEEP)
    found = ProcessFile(service.path).current()
    assert found is not None
    assert os.getsid(found.pid) == found.pid, (
        "it leads its own session, so the caller's end cannot take it along"
    )
    assert service.stop(5)
    assert service.current() is None
    assert not service.stop(5)


def test_records_and_logs_are_private(service: ProcessFile) -> None:
    log = spawn(service, SLEEP)
    assert service.path.stat().st_mode & 0o777 == 0o600
    assert log.stat().st_mode & 0o077 == 0


def test_a_process_that_inherited_a_dead_one_s_id_is_left_alone(service: ProcessFile) -> None:
    spawn(service, SLEEP)
    stranger = service.current()
    assert stranger is not None
    real = service.path.read_text()
    service.path.write_text(f'[{{"pid": {stranger.pid}, "started": 12.5}}]')
    assert service.current() is None
    assert not service.stop(0)
    assert stranger.is_running()
    service.path.write_text(real)


def test_stop_kills_what_ignores_the_request_with_all_its_children(service: ProcessFile) -> None:
    child = int(wait_for_output(spawn(service, [sys.executable, "-c", STUBBORN])))
    leader = service.current()
    assert leader is not None
    service.stop(0.2)
    assert ended(leader.pid)
    assert ended(child)


def test_what_a_killed_process_leaves_behind_is_stopped_later(service: ProcessFile) -> None:
    child = int(wait_for_output(spawn(service, [sys.executable, "-c", STUBBORN])))
    leader = service.current()
    assert leader is not None
    leader.kill()
    leader.wait(5)
    assert service.current() is None
    assert not ended(child), "a run in progress outlives the daemon"
    spawn(service, SLEEP)
    service.stop(1)
    assert ended(child)


def test_interrupts_work_though_the_caller_ignores_them(service: ProcessFile) -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        code = (
            "import signal; print(signal.getsignal(signal.SIGINT) is signal.default_int_handler, flush=True)"
        )
        log = spawn(service, [sys.executable, "-c", code])
    finally:
        signal.signal(signal.SIGINT, before)
    assert wait_for_output(log) == "True"


def test_tail_gives_the_last_lines(tmp_path: Path) -> None:
    log = tmp_path / "x.log"
    assert tail(log) == "(no log)"
    log.write_text("\n".join(map(str, range(100))))
    assert tail(log, 2) == "98\n99"
