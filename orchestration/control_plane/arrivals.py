"""The ledger of arrivals: every file that came in, how many of its records landed, and where they are.

Not here: reading the files (``connectors``), storing them (``lake``), and undoing what arrived (``corrections``).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any, Literal

from psycopg import errors
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb

from orchestration.control_plane.database import Connection, columns, fetch_all, fetch_one, lock_key
from orchestration.control_plane.errors import ControlPlaneError

ArrivalStatus = Literal["landed", "replaced", "retracted", "failed"]
FileKind = Literal["raw", "quarantine"]


@dataclass(frozen=True, slots=True)
class Arrival:
    """A row of ``arrivals``: one version of one file of one connector, known by its sha256.

    ``rank`` is the order of arrival in the workspace; a version takes the rank of the one that it ``replaces``. If
    landed, records = landed + non_event + quarantined. ``landing_rules`` are what else than the mapping decided which
    records landed, and ``review_at`` (UTC) is when time itself would let more of them land.
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
    replaces: str | None = None
    landing_rules: str | None = None
    review_at: datetime | None = None


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


@dataclass(frozen=True, slots=True)
class NewArrival:
    """What was read of a file, to be entered: its account, and its files, whose objects are stored already."""

    id: str
    workspace_id: str
    connector_id: str
    sha256: str
    file_name: str
    format: str
    bytes: int
    mapping: Mapping[str, Any]
    schema_fingerprint: str
    columns: Sequence[Any]
    records: int
    landed: int
    non_event: int
    quarantined: int
    files: Sequence[ArrivalFile]
    landing_rules: str | None = None
    review_at: datetime | None = None
    message: str | None = None


class AlreadyLanded(ControlPlaneError):
    """This file landed before through this connector."""


class UnknownArrival(ControlPlaneError):
    """The workspace has no such arrival."""


def register_landed(connection: Connection, new: NewArrival) -> Arrival:
    """Enter an arrival and its files, whose objects are stored already, as the newest of the workspace.

    Raises:
        AlreadyLanded: the same bytes landed through this connector before, and were not retracted.
    """
    lock_ranks(connection, new.workspace_id)
    return enter(connection, new, _next_rank(connection, new.workspace_id), None)


def enter(connection: Connection, new: NewArrival, rank: int, replaces: str | None) -> Arrival:
    """Enter a landed arrival at a rank; for holders of ``lock_ranks``.

    Raises:
        AlreadyLanded: the same bytes landed through this connector before, and were not retracted.
    """
    values = {field.name: getattr(new, field.name) for field in fields(NewArrival) if field.name != "files"}
    values |= {"mapping": Jsonb(new.mapping), "columns": Jsonb(new.columns)}
    arrival = _insert(connection, values | {"status": "landed", "rank": rank, "replaces": replaces})
    _insert_files(connection, new.workspace_id, new.id, new.files)
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
    lock_ranks(connection, workspace_id)
    return _insert(
        connection,
        {
            "rank": _next_rank(connection, workspace_id),
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


def find_arrival(connection: Connection, workspace_id: str, prefix: str) -> Arrival:
    """The arrival whose id begins so.

    Raises:
        UnknownArrival: there is none, or more than one.
    """
    every = list_arrivals(connection, workspace_id)
    found = [arrival for arrival in every if arrival.id.startswith(prefix.lower())]
    if len(found) == 1 and prefix:
        return found[0]
    if found:
        named = ", ".join(arrival.id for arrival in found[:3])
        raise UnknownArrival(f"{len(found)} arrivals begin with {prefix!r} ({named} …): give more of the id.")
    raise UnknownArrival(
        f"The workspace has no arrival whose id begins with {prefix!r}. `casetrail arrivals list` shows them."
    )


def landed(
    connection: Connection, workspace_id: str, kind: FileKind
) -> tuple[list[Arrival], list[ArrivalFile]]:
    """What landed, in the order of arrival, and its files of one kind, all as of one moment."""
    with connection.cursor(row_factory=dict_row) as cursor:
        rows = cursor.execute(
            f"""
            select {columns(Arrival)}, (
                select coalesce(jsonb_agg(to_jsonb(file) order by file.month, file.object_key), '[]')
                from arrival_files as file
                where file.workspace_id = arrivals.workspace_id and file.arrival_id = arrivals.id and file.kind = %s
            ) as files
            from arrivals where workspace_id = %s and status = 'landed' order by rank
            """,
            (kind, workspace_id),
        ).fetchall()
    names = columns(ArrivalFile).split(", ")
    files = [ArrivalFile(**{n: file[n] for n in names}) for row in rows for file in row.pop("files")]
    return [Arrival(**row) for row in rows], files


def due_again(connection: Connection, landing_rules: str, now: datetime) -> dict[str, list[str]]:
    """By slug, the ids of landed arrivals that were read under other rules or whose time of review has come.

    One query for all workspaces in sight; ``stages.versions.readmissible`` is the same for one.
    """
    rows = connection.execute(
        """
        select workspaces.slug, array_agg(arrivals.id::text order by arrivals.id) as ids
        from arrivals join workspaces on workspaces.id = arrivals.workspace_id
        where arrivals.status = 'landed' and (
            landing_rules < %(rules)s or landing_rules > %(rules)s or landing_rules is null
            or review_at <= %(now)s
        )
        group by workspaces.slug order by workspaces.slug
        """,
        {"rules": landing_rules, "now": now},
    ).fetchall()
    return {row["slug"]: row["ids"] for row in rows}


def files_of(
    connection: Connection, workspace_id: str, arrival_ids: Sequence[str], kind: FileKind
) -> list[ArrivalFile]:
    """The files of some arrivals, whatever became of these since."""
    return fetch_all(
        connection,
        ArrivalFile,
        f"""
        select {columns(ArrivalFile)} from arrival_files
        where workspace_id = %s and arrival_id = any(%s::uuid[]) and kind = %s
        order by arrival_id, month, object_key
        """,
        (workspace_id, list(arrival_ids), kind),
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


def lock_ranks(connection: Connection, workspace_id: str) -> None:
    """Arrivals of a workspace are entered and corrected one after the other: held until this transaction ends."""
    connection.execute("select pg_advisory_xact_lock(%s)", (lock_key(f"ranks of {workspace_id}"),))


def _next_rank(connection: Connection, workspace_id: str) -> int:
    (row,) = connection.execute(
        "select coalesce(max(rank), 0) + 1 as rank from arrivals where workspace_id = %s", (workspace_id,)
    ).fetchall()
    return int(row["rank"])


def _insert(connection: Connection, values: dict[str, Any]) -> Arrival:
    try:
        arrival = fetch_one(
            connection,
            Arrival,
            f"""
            insert into arrivals (created_by, {", ".join(values)})
            values (
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
