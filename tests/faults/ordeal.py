"""What a refresh goes through: faults of the network to PostgreSQL and S3, and kill -9 of whatever takes part in it.

The storage is one installation, Dagster another one that reaches it through proxies, as it would reach external
services. Uploads and readers go to the storage directly: the faults are the refresh's alone.
"""

import json
import random
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psutil
import psycopg
import pytest
from botocore.exceptions import BotoCoreError, ClientError
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from pydantic import SecretStr

from orchestration.control_plane import database, jobs, planner_marks
from orchestration.control_plane.errors import ControlPlaneError
from orchestration.control_plane.migrate import migrate
from orchestration.control_plane.users import ensure_operator
from orchestration.services.dagster_processes import DagsterProcesses
from orchestration.services.stack import Stack
from orchestration.settings import ENDPOINTS_FILE, Installation, Settings
from tests.faults.growing_log import GrowingLog
from tests.faults.proxy import ILLS, Proxy
from tests.faults.reader import BrokenRelease, Reader, Release

RUN_COMES_WITHIN_SECONDS = 10
KILLED = ("run", "daemon", "postgres", "s3")
DEFINITIONS = Path(__file__).with_name("ordeal_definitions.py")

_UNREACHABLE = (ControlPlaneError, psycopg.OperationalError, BotoCoreError, ClientError, OSError)


@dataclass(frozen=True)
class Fault:
    """One fault: some time after the one before, this happens to that service, for so many seconds.

    Attributes:
        after: The time, as a share of the seconds that a refresh takes.
    """

    after: float
    service: str
    ill: str
    seconds: float

    @property
    def name(self) -> str:
        return f"{self.service} {self.ill}"


KINDS = [(service, "kill") for service in KILLED] + [
    (service, ill) for service in ("postgres", "s3") for ill in ILLS
]


def faults(seed: int) -> Iterator[Fault]:
    """Faults without end, each kind as often as the others; ``after`` is a share of what a refresh takes."""
    chance = random.Random(seed)
    while True:
        for kind in chance.sample(KINDS, len(KINDS)):
            yield Fault(chance.uniform(0.02, 0.6), *kind, chance.uniform(0.5, 4))


@dataclass
class Ordeal:
    """The two installations, the proxies between them, and what was done to them."""

    storage: Stack
    dagster: Stack
    homes: tuple[Path, Path]
    proxies: dict[str, Proxy]
    definitions: Path
    inflicted: Counter[str] = field(default_factory=Counter)
    missed: Counter[str] = field(default_factory=Counter)
    ended: Counter[str] = field(default_factory=Counter)

    def settings(self) -> Settings:
        """The direct way to the storage."""
        return direct_settings(self.homes[0])

    def up(self, attempts: int = 5) -> None:
        """Start whatever died, as an operator would with `casetrail up`: again if that meets a fault itself."""
        try:
            self.storage.up(prepare=_prepare, storage_only=True)
            with _through(self.proxies, self.settings()):
                self.dagster.up(definitions=self.definitions)
        except (RuntimeError, ControlPlaneError, psycopg.OperationalError) as error:
            if attempts == 1:
                raise
            print(f"up failed: {str(error)[:300]}", flush=True)
            time.sleep(2)
            self.up(attempts - 1)

    def revive(self) -> None:
        """Start a service that ended although nobody killed it, and count that."""
        with _through(self.proxies, self.settings()):
            stopped = [service.name for service in self.dagster.status() if service.state == "stopped"]
        if stopped:
            self.ended.update(stopped)
            print(f"ended by itself: {stopped}", flush=True)
            self.up()

    def inflict(self, fault: Fault) -> None:
        """Do it now. The kill of a run waits a little for one; if none comes, it is counted as missed."""
        deadline = time.monotonic() + RUN_COMES_WITHIN_SECONDS
        while fault.service == "run" and not self._processes("run") and time.monotonic() < deadline:
            time.sleep(0.1)
        if fault.ill != "kill":
            self.proxies[fault.service].inflict(fault.ill, fault.seconds)  # type: ignore[arg-type]
        elif victims := self._processes(fault.service):
            for victim in victims:
                with suppress(psutil.NoSuchProcess):
                    victim.kill()
            psutil.wait_procs(victims, timeout=10)
        else:
            self.missed[fault.name] += 1
            return
        self.inflicted[fault.name] += 1

    def down(self) -> None:
        """Stop all."""
        self.dagster.down()
        self.storage.down()
        for proxy in self.proxies.values():
            proxy.close()

    def _processes(self, service: str) -> list[psutil.Process]:
        processes = DagsterProcesses(self.homes[1])
        if service == "run":
            server = processes.code_server.process()
            makers = server.children() if server else []
            # Runs are forks of the code server's fork server.
            return [run for maker in makers for run in _children(maker)]
        found = {
            "daemon": processes.daemon.process,
            "postgres": self.storage.postgres and self.storage.postgres.process,
            "s3": self.storage.s3 and self.storage.s3.process,
        }[service]
        process = found() if found else None
        return [process] if process else []


@contextmanager
def ordeal(folder: Path, definitions: Path = DEFINITIONS) -> Iterator[Ordeal]:
    """A running one."""
    homes = (folder / "storage", folder / "dagster")
    storage = Stack(Installation(home=homes[0]))
    storage.up(prepare=_prepare, storage_only=True)

    proxies = {"postgres": Proxy(lambda: _postgres_port(homes[0])), "s3": Proxy(lambda: _s3_port(homes[0]))}
    with _through(proxies, direct_settings(homes[0])):
        dagster = Stack(Installation(home=homes[1]))
    made = Ordeal(storage, dagster, homes, proxies, definitions)
    try:
        made.up()
        yield made
    finally:
        made.down()


class Watcher:
    """Reads the current release again and again, as clients do, and keeps what was broken."""

    def __init__(self, log: GrowingLog) -> None:
        """Start at once."""
        self.reads, self.broken = 0, list[str]()
        self._log, self._over = log, threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End after the read that is under way.

        Raises:
            BrokenRelease: a read found one; all are told.
        """
        self._over.set()
        self._thread.join(60)
        if self.broken:
            raise BrokenRelease("; ".join(self.broken[:5]))

    def _watch(self) -> None:
        reader, at = None, None
        while not self._over.wait(0.2):
            try:
                settings = self._log.settings
                if reader is None or settings != at:
                    reader, at = Reader(settings, self._log.workspace), settings
                reader.read()
                self.reads += 1
            except BrokenRelease as error:
                if "there is no release" not in str(error):
                    self.broken.append(str(error))
            except _UNREACHABLE:
                continue


def wait_for_release(made: Ordeal, log: GrowingLog, before: str | None, seconds: float) -> Release:
    """The release of all uploads, once the planner is at rest.

    Raises:
        TimeoutError: it does not come; tells how the workspace is.
    """
    deadline, state = time.monotonic() + seconds, "unknown"
    while time.monotonic() < deadline:
        with suppress(*_UNREACHABLE), database.as_system(log.settings.system_dsn, log.workspace.id) as c:
            mark, job = planner_marks.find_mark(c, log.workspace.id), jobs.standing_job(c, log.workspace.id)
            state = f"{mark}, {job}"
            if mark.plan_subject is None and mark.changed == mark.planned and job.status == "succeeded":
                if job.provenance_id == before:
                    raise AssertionError(f"the planner rests on the old release: {state}")
                return Reader(log.settings, log.workspace).read()
        made.revive()
        time.sleep(0.3)
    raise TimeoutError(f"no release within {seconds} s: {state}")


def _children(process: psutil.Process) -> list[psutil.Process]:
    with suppress(psutil.NoSuchProcess):
        return process.children()
    return []


def direct_settings(home: Path) -> Settings:
    """The settings of the storage's own installation, whatever the environment says."""
    return Settings(home=home, **_endpoints(home))


def _endpoints(home: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((home / ENDPOINTS_FILE).read_text())
    return found


def _postgres_port(home: Path) -> int:
    return int(conninfo_to_dict(_endpoints(home)["app_dsn"])["port"] or 0)


def _s3_port(home: Path) -> int:
    return urlsplit(_endpoints(home)["s3_endpoint"]).port or 0


@contextmanager
def _through(proxies: Mapping[str, Proxy], settings: Settings) -> Iterator[None]:
    """The storage as external services behind the proxies, in the environment of what is started meanwhile."""

    def proxied(dsn: SecretStr) -> str:
        parts = conninfo_to_dict(dsn.get_secret_value()) | {"port": proxies["postgres"].port}
        return make_conninfo("", **parts)

    variables = {
        "OWNER_DSN": proxied(settings.owner_dsn),
        "APP_DSN": proxied(settings.app_dsn),
        "SYSTEM_DSN": proxied(settings.system_dsn),
        "DAGSTER_DSN": proxied(settings.dagster_dsn),
        "S3_ENDPOINT": f"http://127.0.0.1:{proxies['s3'].port}",
        "S3_ACCESS_KEY": settings.s3_access_key.get_secret_value(),
        "S3_SECRET_KEY": settings.s3_secret_key.get_secret_value(),
        "S3_ROLE_ARN": settings.s3_role_arn,
    }
    with pytest.MonkeyPatch.context() as patch:
        for name, value in variables.items():
            patch.setenv(f"CASETRAIL_{name}", value)
        yield


def _prepare(settings: Settings) -> None:
    migrate(settings.owner_dsn)
    ensure_operator(settings.owner_dsn, settings.operator)
