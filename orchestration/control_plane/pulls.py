"""The ledger of pulls: what each brought, and how far its connector has come. The newest one's state is where it is."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any

from psycopg import errors
from psycopg.types.json import Jsonb

from orchestration.control_plane.database import Connection, columns, fetch_all, fetch_one
from orchestration.control_plane.errors import ControlPlaneError


@dataclass(frozen=True, slots=True)
class NewPull:
    """What was read of a source, to be entered: its files are stored already.

    records = landed + non_event + duplicate + quarantined. Landed rows that a newer version of their record replaces
    are told apart by the events stage.

    Attributes:
        number: The how manieth of its connector, from 1.
        state: What the next read goes on from.
        schemas: By stream, each column with the source's own type.
        schema_changes: Columns that appeared, disappeared or changed their type since the pull before.
        parts: The originals: stream, kind, sha256, rows, and the arrival that they became, if they are events.
        speaks: Whether records are new in it that say who is who.
    """

    id: str
    workspace_id: str
    connector_id: str
    number: int
    started_at: datetime
    state: Mapping[str, Any]
    schemas: Mapping[str, Mapping[str, str]]
    schema_changes: Sequence[Mapping[str, Any]]
    parts: Sequence[Mapping[str, Any]]
    records: int
    landed: int
    non_event: int
    duplicate: int
    quarantined: int
    speaks: bool = False
    run_id: str | None = None


@dataclass(frozen=True, slots=True)
class Pull(NewPull):
    """A row of ``connector_pulls``."""

    committed_at: datetime | None = None


class PullOvertaken(ControlPlaneError):
    """Another sync of the connector has gone on from the same pull."""


def enter_pull(connection: Connection, new: NewPull) -> None:
    """Enter a pull in the transaction that enters its arrivals.

    Raises:
        PullOvertaken: there is one of this number; nothing of this transaction may be kept.
    """
    names = [field.name for field in fields(NewPull)]
    json = ("state", "schemas", "schema_changes", "parts")
    values = {name: Jsonb(getattr(new, name)) if name in json else getattr(new, name) for name in names}
    try:
        connection.execute(
            f"""
            insert into connector_pulls ({", ".join(names)})
            values ({", ".join(f"%({name})s" for name in names)})
            """,
            values,
        )
    except errors.UniqueViolation:
        raise PullOvertaken(
            "Another sync of this connector has landed the same records, so this one was given up."
        ) from None


def newest_pull(connection: Connection, workspace_id: str, connector_id: str) -> Pull | None:
    """The last pull of a connector."""
    return fetch_one(
        connection,
        Pull,
        f"""
        select {columns(Pull)} from connector_pulls where workspace_id = %s and connector_id = %s
        order by number desc limit 1
        """,
        (workspace_id, connector_id),
    )


def list_pulls(
    connection: Connection, workspace_id: str, connector_id: str, limit: int | None = None
) -> list[Pull]:
    """The pulls of a connector, newest first."""
    return fetch_all(
        connection,
        Pull,
        f"""
        select {columns(Pull)} from connector_pulls where workspace_id = %s and connector_id = %s
        order by number desc limit %s
        """,
        (workspace_id, connector_id, limit),
    )


@dataclass(frozen=True, slots=True)
class Speaker:
    """A connector that has pulled something.

    Attributes:
        config: As it is now; its type's rules and it say which streams say who is who.
        newest: The number of its newest pull that did, by the configuration of then; 0 if none did.
    """

    workspace_id: str
    connector_id: str
    type: str
    config: dict[str, Any]
    newest: int


def speakers(connection: Connection, workspace_ids: Sequence[str]) -> list[Speaker]:
    """The connectors of some workspaces that have pulled something, by id."""
    return fetch_all(
        connection,
        Speaker,
        """
        select connectors.workspace_id, connectors.id as connector_id, type, config,
               coalesce((
                   select max(number) from connector_pulls as pull
                   where pull.workspace_id = connectors.workspace_id and pull.connector_id = connectors.id and speaks
               ), 0) as newest
        from connectors
        where workspace_id = any(%s::uuid[]) and exists (
            select from connector_pulls as pull
            where pull.workspace_id = connectors.workspace_id and pull.connector_id = connectors.id
        )
        order by connectors.id
        """,
        (list(workspace_ids),),
    )


def originals(
    connection: Connection, workspace_id: str, connector_id: str, streams: Sequence[str]
) -> list[dict[str, Any]]:
    """The originals of some streams in the order of their pulls: stream, kind, sha256, committed_at."""
    return list(
        connection.execute(
            """
            select part ->> 'stream' as stream, part ->> 'kind' as kind, part ->> 'sha256' as sha256, committed_at
            from connector_pulls, jsonb_array_elements(parts) with ordinality as listed (part, place)
            where workspace_id = %s and connector_id = %s and part ->> 'stream' = any(%s)
            order by number, place
            """,
            (workspace_id, connector_id, list(streams)),
        )
    )
