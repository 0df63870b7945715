"""The services of an installation as one: bring up what is down, stop all, tell how each is.

A service whose endpoints the environment names is external: it is used, and never started or stopped from
here.
"""

import fcntl
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from psycopg.conninfo import conninfo_to_dict
from pydantic import SecretStr

from orchestration.services.dagster_processes import DagsterProcesses, Service, choose_webserver_port
from orchestration.services.demo_servers import DemoServer, demo_endpoints, demo_servers
from orchestration.services.feed import Feed
from orchestration.services.files import make_passable, write_private
from orchestration.services.postgres import Postgres
from orchestration.services.processes import started_at
from orchestration.services.seaweedfs import SeaweedFS
from orchestration.services.secret_key import KeptKeys, SecretKeyFile
from orchestration.settings import (
    Installation,
    Settings,
    SettingsError,
    load_external_endpoints,
    load_settings,
)

State = Literal["running", "stopped", "external"]

_POSTGRES_FIELDS = ("owner_dsn", "app_dsn", "system_dsn", "dagster_dsn")
_S3_FIELDS = ("s3_endpoint", "s3_access_key", "s3_secret_key", "s3_role_arn")


@dataclass(frozen=True)
class ServiceStatus:
    """How one service is. The endpoint holds no secret; `since` is UTC."""

    name: str
    state: State
    endpoint: str | None = None
    pid: int | None = None
    since: datetime | None = None


class Stack:
    """The services of one installation."""

    def __init__(self, installation: Installation) -> None:
        """Describe the services; nothing is touched.

        Raises:
            SettingsError: the environment names a part of an external service's endpoints only.
        """
        self._installation = installation
        self._home = installation.home
        self.postgres = None if _is_external(_POSTGRES_FIELDS) else Postgres(self._home)
        buckets = list(installation.s3_buckets.values())
        self.s3 = None if _is_external(_S3_FIELDS) else SeaweedFS(self._home, buckets)
        self.feed = Feed(installation)
        self.key_file = SecretKeyFile(self._home)

    def up(
        self,
        *,
        prepare: Callable[[Settings], None] = lambda settings: None,
        storage_only: bool = False,
        definitions: Path | None = None,
    ) -> list[ServiceStatus]:
        """Start whatever is down, and return when everything can be used.

        `prepare` is called when the storage works and before Dagster starts: the place for migrations.
        `definitions` is a file with other Dagster definitions than the project's.

        Raises:
            RuntimeError: a service did not start; the message holds its last words.
        """
        make_passable(self._home)
        with _only_one(self._home / "up.lock"):
            # SeaweedFS takes seconds to become usable: PostgreSQL starts meanwhile.
            if self.feed.leave_occupied_port() and self.s3:
                self.s3.stop()
            if self.s3:
                self.s3.start(self.feed.webhook())
            if self.postgres:
                self.postgres.start()
            if self._write_endpoints():
                # Processes of before would go on using the old addresses.
                DagsterProcesses(self._home).stop()
                self.feed.stop()
            if self.s3:
                self.s3.wait_until_usable()
            settings = load_settings(self._home)
            prepare(settings)
            if not storage_only:
                self.feed.start(settings)
                DagsterProcesses(self._home).start(settings, definitions)
        return self.status()

    def down(self) -> list[ServiceStatus]:
        """Stop everything that runs here, Dagster before the storage that it uses."""
        if self._home.exists():
            with _only_one(self._home / "up.lock"):
                DagsterProcesses(self._home).stop()
                self.feed.stop()
                for server in demo_servers(self._home):
                    server.stop()
                if self.s3:
                    self.s3.stop()
                if self.postgres:
                    self.postgres.stop()
        return self.status()

    def status(self) -> list[ServiceStatus]:
        """Tell how each service is."""
        known = self._known_endpoints()
        dagster = DagsterProcesses(self._home)
        host = self._installation.webserver_host
        web = f"http://{host}:{known['webserver_port']}" if "webserver_port" in known else None
        feed = f"http://{self._installation.feed_host}:{known['feed_port']}" if "feed_port" in known else None
        external = load_external_endpoints()
        database = external.owner_dsn.get_secret_value() if external.owner_dsn else known.get("owner_dsn")
        return [
            _status("postgres", self.postgres, database and describe_dsn(SecretStr(str(database)))),
            _status("s3", self.s3, external.s3_endpoint or known.get("s3_endpoint")),
            _status("feed", self.feed, feed),
            _status("code-server", dagster.code_server, None),
            _status("webserver", dagster.webserver, web),
            _status("daemon", dagster.daemon, None),
            *(_status(f"demo-{s.system}", s, None) for s in demo_servers(self._home) if s.process()),
        ]

    def begin_key_exchange(self) -> None:
        """Make a new key for stored secrets, which all processes use from now on; the old one still opens.

        One that has begun before goes on with the key that was made then.
        """
        self._exchange_keys(self.key_file.begin_exchange)

    def end_key_exchange(self) -> None:
        """Forget the old keys. What is still sealed with them is lost."""
        self._exchange_keys(self.key_file.forget_old)

    def _exchange_keys(self, step: Callable[[], KeptKeys]) -> None:
        with _only_one(self._home / "up.lock"):
            kept = step().endpoints()
            others = {n: v for n, v in self._known_endpoints().items() if n not in KeptKeys.model_fields}
            # Processes read the file whenever they begin something, so that none has to be started anew.
            write_private(self._installation.endpoints_file, json.dumps(others | kept, indent=2))

    def _write_endpoints(self) -> bool:
        """Write the endpoints file; True if it says something new."""
        endpoints: dict[str, Any] = {**self.feed.endpoints(), **demo_endpoints(self._home)}
        if self.postgres:
            endpoints |= self.postgres.endpoints()
        if self.s3:
            endpoints |= self.s3.endpoints()
        endpoints |= self.key_file.keys().endpoints()
        before = self._known_endpoints()
        port_before = before.get("webserver_port")
        endpoints["webserver_port"] = choose_webserver_port(
            self._installation,
            int(port_before) if port_before else None,
            is_running=DagsterProcesses(self._home).webserver.process() is not None,
        )
        write_private(self._installation.endpoints_file, json.dumps(endpoints, indent=2))
        return endpoints != before

    def _known_endpoints(self) -> dict[str, Any]:
        file = self._installation.endpoints_file
        known: dict[str, Any] = json.loads(file.read_text()) if file.exists() else {}
        return known


def describe_dsn(dsn: SecretStr) -> str:
    """Name a database server without user and password."""
    parts = conninfo_to_dict(dsn.get_secret_value())
    port, name = parts.get("port") or 5432, parts.get("dbname") or ""
    return f"postgresql://{parts.get('host') or 'localhost'}:{port}/{name}"


def _status(
    name: str, service: Postgres | SeaweedFS | Feed | Service | DemoServer | None, endpoint: object
) -> ServiceStatus:
    address = str(endpoint) if endpoint else None
    if service is None:
        return ServiceStatus(name, "external", address)
    process = service.process()
    if process is None:
        return ServiceStatus(name, "stopped", address)
    return ServiceStatus(name, "running", address, process.pid, started_at(process))


def _is_external(fields: tuple[str, ...]) -> bool:
    external = load_external_endpoints()
    missing = [field for field in fields if getattr(external, field) is None]
    if missing and len(missing) < len(fields):
        variables = ", ".join(f"CASETRAIL_{field.upper()}" for field in missing)
        raise SettingsError(f"An external service needs all of its endpoints: set {variables} too.")
    return not missing


@contextmanager
def _only_one(lock_file: Path) -> Iterator[None]:
    """Keep two commands on the same installation apart; the second waits."""
    with lock_file.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
