"""Files dropped into a connector's inbox: which were seen, and what became of them."""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from orchestration.control_plane.database import Connection, columns, fetch_all

CONNECTOR_TYPE = "csv_upload"
"""The type of the connectors that have an inbox."""

InboxStatus = Literal["seen", "landed", "failed"]


@dataclass(frozen=True, slots=True)
class InboxFile:
    """A row of ``inbox_files``: one version (etag) of one dropped object."""

    workspace_id: str
    connector_id: str
    object_key: str
    etag: str
    bytes: int
    status: InboxStatus
    message: str | None
    arrival_id: str | None
    seen_at: datetime


@dataclass(frozen=True, slots=True)
class InboxOwner:
    """A connector that has an inbox, and where its workspace's data lies."""

    workspace_id: str
    connector_id: str
    region: str


def inbox_owners(connection: Connection, connector_id: str | None = None) -> list[InboxOwner]:
    """Who has an inbox in the workspaces in sight; only the named connector, if given."""
    return fetch_all(
        connection,
        InboxOwner,
        """
        select connectors.workspace_id, connectors.id as connector_id, workspaces.region
        from connectors join workspaces on workspaces.id = connectors.workspace_id
        where connectors.type = %(type)s and (%(id)s::uuid is null or connectors.id = %(id)s)
        order by connectors.workspace_id, connectors.id
        """,
        {"type": CONNECTOR_TYPE, "id": connector_id},
    )


def waiting_files(connection: Connection) -> list[InboxFile]:
    """What was seen in the inboxes in sight and not yet taken in, oldest first: all workspaces in one query."""
    return fetch_all(
        connection,
        InboxFile,
        f"""
        select {columns(InboxFile)} from inbox_files where status = 'seen'
        order by workspace_id, seen_at, object_key
        """,
        (),
    )


def inbox_files(connection: Connection, workspace_id: str) -> list[InboxFile]:
    """Everything that was ever seen in the workspace's inboxes, oldest first."""
    return fetch_all(
        connection,
        InboxFile,
        f"select {columns(InboxFile)} from inbox_files where workspace_id = %s order by seen_at, object_key",
        (workspace_id,),
    )


def record_seen(
    connection: Connection, workspace_id: str, connector_id: str, object_key: str, etag: str, bytes: int
) -> bool:
    """Note a dropped object; False, and nothing happens, if this version of it is known."""
    noted = connection.execute(
        """
        insert into inbox_files (workspace_id, connector_id, object_key, etag, bytes) values (%s, %s, %s, %s, %s)
        on conflict do nothing
        """,
        (workspace_id, connector_id, object_key, etag, bytes),
    )
    return bool(noted.rowcount)


def record_outcome(
    connection: Connection, file: InboxFile, status: InboxStatus, message: str | None, arrival_id: str | None
) -> None:
    """Note what became of a dropped object. The message is shown to the workspace."""
    connection.execute(
        """
        update inbox_files set status = %s, message = %s, arrival_id = %s
        where workspace_id = %s and object_key = %s and etag = %s
        """,
        (status, message, arrival_id, file.workspace_id, file.object_key, file.etag),
    )
