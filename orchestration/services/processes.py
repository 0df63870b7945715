"""Processes that outlive the command that started them, and are found again by the next one.

Each service has a file of process records. A record names the process by id and start, so that a process
which merely got the id of a dead one is never taken for ours, let alone stopped.
"""

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import psutil
from pydantic import BaseModel, TypeAdapter

from orchestration.services.files import make_passable, write_private

_START_TOLERANCE = 0.05
_ROTATE_LOG_AT = 20 * 1024 * 1024


class ProcessRecord(BaseModel):
    """A process id and its start in seconds since boot (the wall clock can be set, that one cannot)."""

    pid: int
    started: float


_Records = TypeAdapter(list[ProcessRecord])


@dataclass(frozen=True)
class ProcessFile:
    """The record of one service's processes; each leads a session of its own."""

    path: Path

    def current(self) -> psutil.Process | None:
        """Give the service's process, or None if it has ended."""
        records = self._records()
        return _alive(records[-1]) if records else None

    def spawn(self, command: list[str], *, environment: dict[str, str], folder: Path, log: Path) -> None:
        """Start the service detached, with both outputs appended to `log`."""
        make_passable(log.parent)
        if log.exists() and log.stat().st_size > _ROTATE_LOG_AT:
            log.replace(log.with_suffix(".log.1"))
        log.touch(mode=0o600)
        with log.open("ab") as output:
            started = subprocess.Popen(
                command,
                env=environment,
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
                preexec_fn=_restore_interrupt,
            )
        record = ProcessRecord(pid=started.pid, started=_seconds_since_boot(psutil.Process(started.pid)))
        # A killed leader can leave workers behind (a run in progress): keep them on record until `stop`.
        survivors = [known for known in self._records() if any(_session(known))]
        self.path.parent.mkdir(parents=True, exist_ok=True)
        write_private(self.path, _Records.dump_json([*survivors, record]).decode())

    def stop(self, grace_seconds: float) -> bool:
        """End all processes on record and what they started; False if there was none.

        All get SIGTERM, so that a run in progress can still report itself as interrupted, and SIGKILL after
        the grace period.
        """
        records = self._records()
        members = [process for record in records for process in _session(record)]
        for process in members:
            _signal(process, signal.SIGTERM)
        psutil.wait_procs(members, timeout=grace_seconds)
        # The second look finds what was born meanwhile.
        rest = [process for record in records for process in _session(record)]
        for process in rest:
            _signal(process, signal.SIGKILL)
        psutil.wait_procs(rest, timeout=10)
        self.path.unlink(missing_ok=True)
        return bool(members)

    def _records(self) -> list[ProcessRecord]:
        return _Records.validate_json(self.path.read_text()) if self.path.exists() else []


def started_at(process: psutil.Process) -> datetime:
    """The process's start, UTC."""
    return datetime.fromtimestamp(process.create_time(), UTC).replace(microsecond=0)


def tail(log: Path, lines: int = 15) -> str:
    """The end of a log, for an error message."""
    if not log.exists():
        return "(no log)"
    return "\n".join(log.read_text(errors="replace").splitlines()[-lines:])


def pause() -> None:
    """Wait a moment between two looks at a service that is starting."""
    time.sleep(0.1)


def _restore_interrupt() -> None:
    # A shell starts background jobs with SIGINT ignored, children inherit that, and Dagster then cannot stop.
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def _seconds_since_boot(process: psutil.Process) -> float:
    return process.create_time() - psutil.boot_time()


def _alive(record: ProcessRecord) -> psutil.Process | None:
    try:
        process = psutil.Process(record.pid)
        return process if _is_recorded(process, record) and _runs(process) else None
    except psutil.NoSuchProcess:
        return None


def _session(record: ProcessRecord) -> Iterator[psutil.Process]:
    """Find the living processes of the session that the recorded process leads, or led.

    The kernel gives an id to no new process while a session bears it. So if the leader's id belongs to a
    process with another start, our session is over.
    """
    try:
        if not _is_recorded(psutil.Process(record.pid), record):
            return
    except psutil.NoSuchProcess:
        pass  # The leader has ended; its session may live on.
    for process in psutil.process_iter():
        try:
            if os.getsid(process.pid) == record.pid and _runs(process):
                yield process
        except (psutil.NoSuchProcess, ProcessLookupError):
            continue


def _is_recorded(process: psutil.Process, record: ProcessRecord) -> bool:
    return abs(_seconds_since_boot(process) - record.started) < _START_TOLERANCE


def _runs(process: psutil.Process) -> bool:
    # A zombie is only waiting for its parent to take notice of its end.
    return bool(process.status() != psutil.STATUS_ZOMBIE)


def _signal(process: psutil.Process, number: int) -> None:
    try:
        process.send_signal(number)
    except psutil.NoSuchProcess:
        return
