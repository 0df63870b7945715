"""Dagster's webserver and daemon as two processes of their own.

What they run belongs to `orchestration.definitions`; how Dagster is set up is in the project's
`dagster.yaml`.
"""

import json
import os
import shutil
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import quote, urlencode
from urllib.request import Request, urlopen

import psutil
import psycopg
from psycopg.conninfo import conninfo_to_dict
from pydantic import SecretStr

from orchestration.services.ports import choose_ports, is_free
from orchestration.services.processes import ProcessFile, pause, tail
from orchestration.settings import Installation, Settings, SettingsError, inherited_environment

_READY_SECONDS = 120
_STOP_SECONDS = 10
_LOCATIONS = """
{ workspaceOrError { ... on Workspace { locationEntries {
  name loadStatus locationOrLoadError { ... on PythonError { message causes { message } } }
} } } }
"""
_PROJECT_FOLDER = Path(__file__).resolve().parents[2]


class DagsterFailed(RuntimeError):
    """Dagster's webserver or daemon did not come up; the message holds the end of its log."""


class Service:
    """One of the two processes."""

    def __init__(self, home: Path, name: str) -> None:
        """Describe the process; nothing is started."""
        self.name = name
        self.log = home / "logs" / f"{name}.log"
        self.file = ProcessFile(home / "processes" / f"{name}.json")

    def process(self) -> psutil.Process | None:
        """The running process, or None."""
        return self.file.current()


class DagsterProcesses:
    """The webserver and the daemon of one installation."""

    def __init__(self, home: Path) -> None:
        """Describe the processes; nothing is started."""
        self._home = home
        self.webserver = Service(home, "webserver")
        self.daemon = Service(home, "daemon")

    def start(self, settings: Settings, workspace_file: Path | None = None) -> None:
        """Start whichever is down; wait until definitions are loaded and the daemon has reported itself.

        Raises:
            DagsterFailed: one of them ended, or did not become ready within two minutes.
        """
        workspace = workspace_file or _PROJECT_FOLDER / "workspace.yaml"
        _write_dagster_home(settings)
        web, daemon = self.webserver, self.daemon
        if not web.process():
            address = ["-h", settings.webserver_host, "-p", str(settings.webserver_port)]
            _spawn(web, settings, ["dagster-webserver", *address, "-w", str(workspace)])
        # Two processes that create Dagster's tables at the same moment can fail on each other.
        _wait(web, lambda: _has_tables(settings))
        if not daemon.process():
            _spawn(daemon, settings, ["dagster-daemon", "run", "-w", str(workspace)])
        _wait(web, lambda: _has_loaded_definitions(settings))
        _wait(daemon, lambda: _has_reported(settings, daemon.process()))

    def stop(self) -> bool:
        """Stop both, and the code servers and runs that they started; False if none ran."""
        with ThreadPoolExecutor() as pool:
            stopped = pool.map(
                lambda service: service.file.stop(_STOP_SECONDS), (self.daemon, self.webserver)
            )
            return any(list(stopped))


def dagster_environment(settings: Settings) -> dict[str, str]:
    """What a process needs in its environment to work on the installation's Dagster instance.

    The database URL holds a password: give the result to a child process or `eval` it, never log it.
    """
    return {
        "CASETRAIL_HOME": str(settings.home),
        "DAGSTER_HOME": str(settings.home / "dagster"),
        "CASETRAIL_DAGSTER_URL": sqlalchemy_url(settings.dagster_dsn),
    }


def sqlalchemy_url(dsn: SecretStr) -> str:
    """Turn a libpq connection string into SQLAlchemy's URL, for the one driver that Dagster works with.

    With SQLAlchemy 2.1 a plain `postgresql://` means psycopg 3, whose bound parameters break Dagster's
    NOTIFY.
    """
    parts = {name: str(value) for name, value in conninfo_to_dict(dsn.get_secret_value()).items() if value}
    user, password = quote(parts.pop("user", ""), safe=""), quote(parts.pop("password", ""), safe="")
    login = f"{user}:{password}" if password else user
    host, port = parts.pop("host", "localhost"), parts.pop("port", "5432")
    name = quote(parts.pop("dbname", user), safe="")
    query = f"?{urlencode(parts)}" if parts else ""
    return f"postgresql+psycopg2://{login}@{host}:{port}/{name}{query}"


def choose_webserver_port(installation: Installation, kept: int | None, *, is_running: bool) -> int:
    """Give the port that was asked for, or the one of last time, or a free one.

    Raises:
        SettingsError: `CASETRAIL_WEBSERVER_PORT` names a port that another program holds.
    """
    wanted, host = installation.webserver_port, installation.webserver_host
    if is_running:
        return kept or wanted
    if "webserver_port" in installation.model_fields_set:
        if not is_free(wanted, host):
            raise SettingsError(f"CASETRAIL_WEBSERVER_PORT: port {wanted} is taken; choose another one.")
        return wanted
    for port in (kept, wanted):
        if port and is_free(port, host):
            return port
    return choose_ports(1)[0]


def _spawn(service: Service, settings: Settings, command: list[str]) -> None:
    programs = Path(sys.executable).parent
    environment = inherited_environment() | dagster_environment(settings)
    # Dagster's dbt integration looks for the `dbt` program, which need not be on the caller's path.
    environment["PATH"] = os.pathsep.join([str(programs), environment.get("PATH", os.defpath)])
    service.file.spawn(
        [str(programs / command[0]), *command[1:]],
        environment=environment,
        folder=_PROJECT_FOLDER,
        log=service.log,
    )


def _write_dagster_home(settings: Settings) -> None:
    source = _PROJECT_FOLDER / "dagster.yaml"
    if not source.exists():
        raise DagsterFailed(
            f"There is no {source}: install casetrail from its project folder (`pip install --editable .`)."
        )
    folder = settings.home / "dagster"
    # Closed to others: Dagster keeps the output of every run in it.
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    shutil.copyfile(source, folder / "dagster.yaml")


def _wait(service: Service, is_ready: Callable[[], bool]) -> None:
    deadline = time.monotonic() + _READY_SECONDS
    while not is_ready():
        ended = service.process() is None
        if ended or time.monotonic() > deadline:
            what = "ended" if ended else f"was not ready after {_READY_SECONDS} s"
            raise DagsterFailed(
                f"Dagster's {service.name} {what}. The end of {service.log}:\n{tail(service.log)}"
            )
        pause()


def _has_tables(settings: Settings) -> bool:
    # Dagster makes the tables of runs, events and schedules in this order; this one is in the last step.
    with psycopg.connect(settings.dagster_dsn.get_secret_value()) as connection:
        found = connection.execute("select to_regclass('public.job_ticks') is not null").fetchone()
    return bool(found and found[0])


def _has_loaded_definitions(settings: Settings) -> bool:
    """Tell whether the webserver answers and knows every code location.

    Raises:
        DagsterFailed: a code location cannot be loaded. The processes stay up; the UI shows the error too.
    """
    url = f"http://{settings.webserver_host}:{settings.webserver_port}/graphql"
    body = json.dumps({"query": _LOCATIONS}).encode()
    try:
        with urlopen(Request(url, body, {"Content-Type": "application/json"}), timeout=30) as answer:
            locations = json.load(answer)["data"]["workspaceOrError"]["locationEntries"]
    except OSError:
        return False
    for location in locations:
        if "message" in (failure := location["locationOrLoadError"] or {}):
            chain = "".join(error["message"] for error in (failure, *failure["causes"]))
            raise DagsterFailed(f"Dagster runs but cannot load {location['name']}: {chain}")
    return bool(locations) and all(location["loadStatus"] == "LOADED" for location in locations)


def _has_reported(settings: Settings, daemon: psutil.Process | None) -> bool:
    """Tell whether a heartbeat younger than the process is in Dagster's database."""
    if daemon is None:
        return False
    query = "select max(timestamp at time zone 'UTC') >= to_timestamp(%s) from daemon_heartbeats"
    with psycopg.connect(settings.dagster_dsn.get_secret_value()) as connection:
        found = connection.execute(query, [daemon.create_time()]).fetchone()
    return bool(found and found[0])
