"""Dagster's code server, webserver and daemon as processes of their own.

The code server alone loads the definitions, and makes the processes of runs; the other two speak to it through a socket
in a folder that is closed to other users. What they run belongs to `orchestration.definitions`; how Dagster is set up
is in the project's `dagster.yaml`.
"""

import json
import os
import shutil
import socket
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import quote, urlencode
from urllib.request import Request, urlopen

import psutil
import psycopg
from psycopg.conninfo import conninfo_to_dict
from pydantic import SecretStr

from orchestration.services.ports import choose_ports, claim
from orchestration.services.processes import ProcessFile, pause, tail
from orchestration.settings import Installation, Settings, SettingsError, inherited_environment

_READY_SECONDS = 120
_STOP_SECONDS = 10
_LOCATIONS = """
{ workspaceOrError { ... on Workspace { locationEntries {
  name loadStatus locationOrLoadError { ... on PythonError { message causes { message } } }
} } } }
"""
_PATIENCE = {
    "connect_timeout": "10",
    # A connection whose other end is gone without a word is given up within a minute.
    "keepalives_idle": "20",
    "keepalives_interval": "10",
    "keepalives_count": "3",
    "tcp_user_timeout": "60000",
}
_PROJECT_FOLDER = Path(__file__).resolve().parents[2]
_PROJECT_DEFINITIONS = "orchestration.definitions"
_LONGEST_SOCKET_PATH = 107  # bytes; the kernel's limit


class DagsterFailed(RuntimeError):
    """One of Dagster's processes did not come up; the message holds the end of its log."""


class Service:
    """One of the processes."""

    def __init__(self, home: Path, name: str) -> None:
        """Describe the process; nothing is started."""
        self.name = name
        self.log = home / "logs" / f"{name}.log"
        self.file = ProcessFile(home / "processes" / f"{name}.json")

    def process(self) -> psutil.Process | None:
        """The running process, or None."""
        return self.file.current()


class DagsterProcesses:
    """The code server, the webserver and the daemon of one installation."""

    def __init__(self, home: Path) -> None:
        """Describe the processes; nothing is started."""
        self._folder = home / "dagster"
        self._socket = self._folder / "code-server.sock"
        self.code_server = Service(home, "code-server")
        self.webserver = Service(home, "webserver")
        self.daemon = Service(home, "daemon")

    def start(self, settings: Settings, definitions: Path | None = None) -> None:
        """Start whichever is down; wait until definitions are loaded and the daemon has reported itself.

        `definitions` is a file with other Dagster definitions than the project's.

        Raises:
            DagsterFailed: one of them ended, or did not become ready within two minutes.
        """
        _write_dagster_home(self._folder)
        workspace = self._write_workspace(definitions)
        code, web, daemon = self.code_server, self.webserver, self.daemon
        if not code.process():
            # They hold what the dead server told them, and notice only in time that there is another.
            self._stop([web, daemon])
            self._socket.unlink(missing_ok=True)
            others = ["--python-file", str(definitions)] if definitions else []
            program = [Path(sys.executable).name, "-m", "orchestration.code_server"]
            _spawn(code, settings, [*program, "--socket", str(self._socket), *others])
        # The code server also makes Dagster's tables: processes that do so at the same moment fail on each other.
        _wait(code, lambda: _listens(self._socket))
        if not web.process():
            address = ["-h", settings.webserver_host, "-p", str(settings.webserver_port)]
            _spawn(web, settings, ["dagster-webserver", *address, "-w", str(workspace)])
        if not daemon.process():
            _spawn(daemon, settings, ["dagster-daemon", "run", "-w", str(workspace)])
        _wait(web, lambda: _has_loaded_definitions(settings))
        _wait(daemon, lambda: _has_reported(settings, daemon.process()))

    def stop(self) -> bool:
        """Stop all, and the runs that they started; False if none ran."""
        return self._stop([self.daemon, self.webserver, self.code_server])

    def _stop(self, services: Sequence[Service]) -> bool:
        with ThreadPoolExecutor() as pool:
            stopped = pool.map(lambda service: service.file.stop(_STOP_SECONDS), services)
            return any(list(stopped))

    def _write_workspace(self, definitions: Path | None) -> Path:
        if len(os.fsencode(self._socket)) > _LONGEST_SOCKET_PATH:
            raise DagsterFailed(
                f"{self._socket} is longer than a socket's path may be ({_LONGEST_SOCKET_PATH} bytes): "
                "set CASETRAIL_HOME to a folder with a shorter path."
            )
        name = definitions.stem if definitions else _PROJECT_DEFINITIONS
        server = {"socket": str(self._socket), "location_name": name}
        file = self._folder / "workspace.yaml"
        # JSON is YAML, and quotes whatever is in the path.
        file.write_text(json.dumps({"load_from": [{"grpc_server": server}]}, indent=2))
        return file


def dagster_environment(settings: Settings) -> dict[str, str]:
    """What a process needs in its environment to work on the installation's Dagster instance.

    The database URL holds a password: give the result to a child process or `eval` it, never log it.
    """
    return {
        "CASETRAIL_HOME": str(settings.home),
        "DAGSTER_HOME": str(settings.home / "dagster"),
        "CASETRAIL_DAGSTER_URL": sqlalchemy_url(settings.dagster_dsn),
        "CASETRAIL_MAX_CONCURRENT_RUNS": str(settings.max_concurrent_runs),
    }


def sqlalchemy_url(dsn: SecretStr) -> str:
    """Turn a libpq connection string into SQLAlchemy's URL, for the one driver that Dagster works with.

    With SQLAlchemy 2.1 a plain `postgresql://` means psycopg 3, whose bound parameters break Dagster's
    NOTIFY. Dagster waits for ever for a server that does not answer, and the sensor that does so never ticks again, so
    limits are part of the URL.
    """
    named = {name: str(value) for name, value in conninfo_to_dict(dsn.get_secret_value()).items() if value}
    parts = _PATIENCE | named
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
        if not claim(wanted, host):
            raise SettingsError(f"CASETRAIL_WEBSERVER_PORT: port {wanted} is taken; choose another one.")
        return wanted
    for port in (kept, wanted):
        if port and claim(port, host):
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


def _write_dagster_home(folder: Path) -> None:
    source = _PROJECT_FOLDER / "dagster.yaml"
    if not source.exists():
        raise DagsterFailed(
            f"There is no {source}: install casetrail from its project folder (`pip install --editable .`)."
        )
    # Closed to others: Dagster keeps the output of every run in it, and whoever reaches the socket can start runs.
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


def _listens(path: Path) -> bool:
    """Tell whether a server listens on the socket; the code server does when it has loaded the definitions."""
    with socket.socket(socket.AF_UNIX) as probe:
        return probe.connect_ex(str(path)) == 0


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
