"""Transactions on the control plane: each acts for one person, for the pipeline in one workspace, or for the planner.

The identity lives as long as its transaction (``set_config(..., true)``), so no connection can carry it to
another user. Not here: what is asked (the modules beside this one).
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import fields
from hashlib import sha256
from typing import Any, TypeVar
from uuid import UUID

import psycopg
from psycopg import errors
from psycopg.conninfo import conninfo_to_dict
from psycopg.rows import DictRow, class_row, dict_row
from psycopg.types.string import TextLoader
from pydantic import SecretStr

from orchestration.control_plane.errors import ControlPlaneError, NotAllowed, UnknownUser

Connection = psycopg.Connection[DictRow]
Parameters = Mapping[str, Any] | Sequence[Any]
Row = TypeVar("Row")

_PATIENCE: dict[str, Any] = {
    "connect_timeout": 10,
    # A connection whose other end is gone without a word is given up within a minute, else a run would hang.
    "keepalives_idle": 20,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "tcp_user_timeout": 60_000,
}
TOLD_EVERY_SECONDS = 10.0
"""Whoever waits for a workspace's lock hears of it so often."""


class DatabaseUnavailable(ControlPlaneError):
    """PostgreSQL does not answer, or the connection settings are unusable."""


class NotMigrated(ControlPlaneError):
    """The database lacks the control plane's tables, or has an older form of them."""


class WorkspaceBusy(ControlPlaneError):
    """Another process holds the workspace's lock."""


class SyncUnderWay(ControlPlaneError):
    """Another process syncs the connector."""


@contextmanager
def as_user(dsn: SecretStr | str, email: str) -> Iterator[Connection]:
    """One transaction that sees and does what this user may; committed unless an exception leaves it.

    Raises:
        UnknownUser: there is no such user.
        NotAllowed: a statement was refused for lack of rights.
    """
    with transaction(dsn) as connection:
        found = connection.execute(
            "select set_config('casetrail.user_id', coalesce(user_id_of(%s)::text, ''), true) as id", (email,)
        ).fetchone()
        if not found or not found["id"]:
            raise UnknownUser(
                f"There is no user {email}. A platform admin can add them to a workspace: "
                "`casetrail member add WORKSPACE EMAIL`."
            )
        try:
            yield connection
        except errors.InsufficientPrivilege as error:
            raise NotAllowed(
                f"{email} may not do this ({error.diag.message_primary}). Ask an admin of the workspace."
            ) from error


@contextmanager
def as_system(dsn: SecretStr | str, workspace_id: str | None) -> Iterator[Connection]:
    """One transaction of the pipeline, confined to one workspace; with None it reads all and writes none.

    Raises:
        ValueError: ``workspace_id`` is not a UUID.
    """
    scope = "*" if workspace_id is None else str(UUID(workspace_id))
    with transaction(dsn) as connection:
        if workspace_id is None:
            connection.execute("set transaction read only")
        connection.execute("select set_config('casetrail.workspace_id', %s, true)", (scope,))
        yield connection


@contextmanager
def as_planner(dsn: SecretStr | str) -> Iterator[Connection]:
    """One transaction of the planner: it reads all workspaces, and the policies let it write its own marks alone."""
    with transaction(dsn) as connection:
        connection.execute("select set_config('casetrail.workspace_id', '*', true)")
        yield connection


@contextmanager
def workspace_lock(
    dsn: SecretStr | str,
    workspace_id: str,
    timeout_seconds: float | None = None,
    waiting: Callable[[float], None] = lambda _seconds: None,
) -> Iterator[None]:
    """Hold the workspace's lock, so that no two refreshes overlap. It falls with the process that holds it.

    Args:
        dsn: any role of the control plane.
        workspace_id: the workspace.
        timeout_seconds: how long to wait for another holder; None waits without end.
        waiting: told every ten seconds for how many we have waited.

    Raises:
        WorkspaceBusy: it was not free in time.
    """
    key, began = lock_key(f"workspace {workspace_id}"), time.monotonic()
    with connect(dsn, autocommit=True) as connection:
        patience = TOLD_EVERY_SECONDS if timeout_seconds is None else min(timeout_seconds, TOLD_EVERY_SECONDS)
        while not _locked(connection, key, patience):
            waited = time.monotonic() - began
            if timeout_seconds is not None:
                patience = min(timeout_seconds - waited, TOLD_EVERY_SECONDS)
            if patience <= 0:
                raise WorkspaceBusy(
                    f"Another run holds workspace {workspace_id}: wait until it ends, or stop it in Dagster."
                )
            waiting(waited)
        yield


@contextmanager
def connector_lock(dsn: SecretStr | str, connector_id: str) -> Iterator[None]:
    """Hold the connector's lock, so that no two syncs of it overlap. It falls with the process that holds it.

    Raises:
        SyncUnderWay: it is not free.
    """
    with connect(dsn, autocommit=True) as connection:
        if not _locked(connection, lock_key(f"connector {connector_id}"), 0):
            raise SyncUnderWay("The connector is being synced already: wait until that ends.")
        yield


def _locked(connection: Connection, key: int, patience: float) -> bool:
    """Whether the session got the lock within so many seconds."""
    # 0 would mean "for ever" to PostgreSQL.
    limit = f"{max(1, round(patience * 1000))}ms"
    connection.execute("select set_config('lock_timeout', %s, false)", (limit,))
    try:
        connection.execute("select pg_advisory_lock(%s)", (key,))
    except errors.LockNotAvailable:
        return False
    return True


def lock_key(subject: str) -> int:
    """The advisory lock (64 bits, signed) that stands for a subject."""
    return int.from_bytes(sha256(f"casetrail {subject}".encode()).digest()[:8], "big", signed=True)


@contextmanager
def transaction(dsn: SecretStr | str) -> Iterator[Connection]:
    """One transaction with no identity yet: row-level security shows it nothing. Times are UTC."""
    with connect(dsn) as connection:
        connection.execute("set local time zone 'UTC'")
        try:
            yield connection
        except (errors.UndefinedTable, errors.UndefinedFunction, errors.UndefinedColumn) as error:
            raise NotMigrated(
                f"The control plane is not up to date ({error.diag.message_primary}). Run `casetrail up`."
            ) from error


@contextmanager
def connect(dsn: SecretStr | str, *, autocommit: bool = False) -> Iterator[Connection]:
    """A connection with dict rows and UUIDs as text, as keys, JSON and partition names need them.

    Raises:
        DatabaseUnavailable: it cannot be opened. The message holds no password.
    """
    text = dsn.get_secret_value() if isinstance(dsn, SecretStr) else dsn
    try:
        named = conninfo_to_dict(text)
    except psycopg.ProgrammingError:
        # libpq's message quotes the unreadable part, which can be the password.
        raise DatabaseUnavailable(
            "A PostgreSQL connection string is malformed: check the CASETRAIL_*_DSN variables."
        ) from None
    try:
        connection = psycopg.connect(
            text,
            autocommit=autocommit,
            row_factory=dict_row,
            **(_PATIENCE | {name: value for name, value in named.items() if name in _PATIENCE and value}),
            application_name=named.get("application_name") or "casetrail",
        )
    except psycopg.OperationalError as error:
        reason = str(error).strip().splitlines()[0].removeprefix("connection failed: ")
        raise DatabaseUnavailable(
            f"PostgreSQL cannot be reached ({reason}). "
            "Run `casetrail up`, or check the CASETRAIL_*_DSN variables."
        ) from None
    connection.adapters.register_loader("uuid", TextLoader)
    with connection:
        yield connection


def columns(row: type[Any]) -> str:
    """The select list of a dataclass whose fields are named as the columns."""
    return ", ".join(field.name for field in fields(row))


def fetch_all(connection: Connection, row: type[Row], query: str, parameters: Parameters = ()) -> list[Row]:
    """The rows of a query as instances of a dataclass."""
    with connection.cursor(row_factory=class_row(row)) as cursor:
        return cursor.execute(query, parameters).fetchall()


def fetch_one(connection: Connection, row: type[Row], query: str, parameters: Parameters = ()) -> Row | None:
    """The first row of a query, or None."""
    with connection.cursor(row_factory=class_row(row)) as cursor:
        return cursor.execute(query, parameters).fetchone()
