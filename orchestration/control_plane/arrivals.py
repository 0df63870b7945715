"""The ledger of arrivals: every file that came in, how many of its records landed, and where they are.

Not here: reading the files (``connectors``) and storing them (``lake``).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from psycopg import errors
from psycopg.types.json import Jsonb

from orchestration.control_plane.database import Connection, columns, fetch_all, fetch_one, lock_key
from orchestration.control_plane.errors import ControlPlaneError, NotAllowed

ArrivalStatus = Literal["landed", "retracted", "failed"]
FileKind = Literal["raw", "quarantine"]


@dataclass(frozen=True, slots=True)
class Arrival:
    """A row of ``arrivals``: one file of one connector, known by its sha256.

    ``rank`` is the order of arrival in the workspace. If landed, records = landed + non_event + quarantined.
    """

    id: str
    workspace_id: str
    connector_id: str
    sha256: str
    file_name: str
    format: str
    bytes: int
    status: ArrivalStatus
    rank: int
    mapping: dict[str, Any]
    schema_fingerprint: str | None
    columns: list[Any]
    records: int | None
    landed: int | None
    non_event: int | None
    quarantined: int | None
    message: str | None
    created_by: str | None
    created_at: datetime


@dataclass(frozen=True, slots=True)
class ArrivalFile:
    """A row of ``arrival_files``: a raw month of an arrival, or its quarantine (which has no month)."""

    arrival_id: str
    kind: FileKind
    month: str | None
    object_key: str
    rows: int
    bytes: int
    content_sha256: str
    stats: dict[str, Any]


class AlreadyLanded(ControlPlaneError):
    """This file landed before through this connector."""


class UnknownArrival(ControlPlaneError):
    """The workspace has no such arrival."""


def register_landed(
    connection: Connection,
    *,
    workspace_id: str,
    arrival_id: str,
    connector_id: str,
    sha256: str,
    file_name: str,
    format: str,
    bytes: int,
    mapping: Mapping[str, Any],
    schema_fingerprint: str,
    columns: Sequence[Any],
    records: int,
    landed: int,
    non_event: int,
    quarantined: int,
    files: Sequence[ArrivalFile],
    message: str | None = None,
) -> Arrival:
    """Enter an arrival and its files, whose objects are stored already, as the newest of the workspace.

    Raises:
        AlreadyLanded: the same bytes landed through this connector before, and were not retracted.
    """
    arrival = _insert(
        connection,
        {
            "workspace_id": workspace_id,
            "id": arrival_id,
            "connector_id": connector_id,
            "sha256": sha256,
            "file_name": file_name,
            "format": format,
            "bytes": bytes,
            "status": "landed",
            "mapping": Jsonb(mapping),
            "schema_fingerprint": schema_fingerprint,
            "columns": Jsonb(columns),
            "records": records,
            "landed": landed,
            "non_event": non_event,
            "quarantined": quarantined,
            "message": message,
        },
    )
    _insert_files(connection, workspace_id, arrival_id, files)
    return arrival


def register_failed(
    connection: Connection,
    *,
    workspace_id: str,
    connector_id: str,
    sha256: str,
    file_name: str,
    format: str,
    bytes: int,
    message: str,
) -> Arrival:
    """Enter a file that could not be landed at all, with the reason. It may come again."""
    return _insert(
        connection,
        {
            "workspace_id": workspace_id,
            "connector_id": connector_id,
            "sha256": sha256,
            "file_name": file_name,
            "format": format,
            "bytes": bytes,
            "status": "failed",
            "message": message,
        },
    )


def retract(connection: Connection, workspace_id: str, arrival_id: str, reason: str) -> None:
    """Take an arrival out of the workspace's data. Its files stay, unread.

    Raises:
        UnknownArrival: nothing landed in the workspace under this id.
        NotAllowed: the acting user may not.
    """
    changed = connection.execute(
        """
        update arrivals set status = 'retracted', message = %s
        where workspace_id = %s and id = %s and status = 'landed'
        """,
        (reason, workspace_id, arrival_id),
    )
    if changed.rowcount:
        return
    if any(arrival.id == arrival_id for arrival in list_arrivals(connection, workspace_id, "landed")):
        raise NotAllowed("Only an analyst or an admin of the workspace can retract an arrival.")
    raise UnknownArrival(f"Nothing landed under the id {arrival_id} that could be retracted.")


def find_landed(connection: Connection, workspace_id: str, connector_id: str, sha256: str) -> Arrival | None:
    """The arrival of exactly these bytes through this connector, if they landed and were not retracted."""
    return fetch_one(
        connection,
        Arrival,
        f"""
        select {columns(Arrival)} from arrivals
        where workspace_id = %s and connector_id = %s and sha256 = %s and status = 'landed'
        """,
        (workspace_id, connector_id, sha256),
    )


def list_arrivals(
    connection: Connection, workspace_id: str, status: ArrivalStatus | None = None
) -> list[Arrival]:
    """The arrivals of a workspace in the order of arrival."""
    return arrivals_of(connection, [workspace_id], status)


def arrivals_of(
    connection: Connection, workspace_ids: Sequence[str], status: ArrivalStatus | None = None
) -> list[Arrival]:
    """The arrivals of several workspaces in one query, each workspace's in the order of arrival."""
    return fetch_all(
        connection,
        Arrival,
        f"""
        select {columns(Arrival)} from arrivals
        where workspace_id = any(%s::uuid[]) and (%s::text is null or status = %s)
        order by workspace_id, rank
        """,
        (list(workspace_ids), status, status),
    )


def list_landed_files(connection: Connection, workspace_id: str, kind: FileKind) -> list[ArrivalFile]:
    """The files of everything that landed and was not retracted, by order of arrival and month."""
    return landed_files_of(connection, [workspace_id], kind)


def landed_files_of(
    connection: Connection, workspace_ids: Sequence[str], kind: FileKind
) -> list[ArrivalFile]:
    """The landed files of several workspaces in one query, each workspace's by order of arrival and month."""
    return fetch_all(
        connection,
        ArrivalFile,
        f"""
        select {", ".join(f"file.{name}" for name in columns(ArrivalFile).split(", "))}
        from arrival_files as file
        join arrivals on arrivals.workspace_id = file.workspace_id and arrivals.id = file.arrival_id
        where file.workspace_id = any(%s::uuid[]) and file.kind = %s and arrivals.status = 'landed'
        order by file.workspace_id, arrivals.rank, file.month, file.object_key
        """,
        (list(workspace_ids), kind),
    )


def _insert(connection: Connection, values: dict[str, Any]) -> Arrival:
    # The ranks of a workspace are given out one after the other: the lock lasts until this transaction ends.
    connection.execute("select pg_advisory_xact_lock(%s)", (lock_key(f"ranks of {values['workspace_id']}"),))
    try:
        arrival = fetch_one(
            connection,
            Arrival,
            f"""
            insert into arrivals (rank, created_by, {", ".join(values)})
            values (
                (select coalesce(max(rank), 0) + 1 from arrivals where workspace_id = %(workspace_id)s),
                nullif(current_setting('casetrail.user_id', true), '')::uuid,
                {", ".join(f"%({name})s" for name in values)}
            )
            returning {columns(Arrival)}
            """,
            values,
        )
    except errors.UniqueViolation as error:
        if error.diag.constraint_name != "arrivals_landed_once":
            raise
        raise AlreadyLanded(
            f"{values['file_name']} landed before through this connector (sha256 {values['sha256'][:12]}…)."
        ) from None
    assert arrival is not None
    return arrival


def _insert_files(
    connection: Connection, workspace_id: str, arrival_id: str, files: Sequence[ArrivalFile]
) -> None:
    with connection.cursor() as cursor:
        cursor.executemany(
            """
            insert into arrival_files
                (workspace_id, arrival_id, kind, month, object_key, rows, bytes, content_sha256, stats)
            values (%s, %s, %s, %s, %s, %s, %s, %s, %s)
            """,
            [
                (
                    workspace_id,
                    arrival_id,
                    file.kind,
                    file.month,
                    file.object_key,
                    file.rows,
                    file.bytes,
                    file.content_sha256,
                    Jsonb(file.stats),
                )
                for file in files
            ],
        )
