"""Files dropped into a connector's inbox: which were seen, and what became of them."""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from orchestration.control_plane.database import Connection, columns, fetch_all

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
) -> None:
    """Note a dropped object; nothing happens if this version of it is known."""
    connection.execute(
        """
        insert into inbox_files (workspace_id, connector_id, object_key, etag, bytes) values (%s, %s, %s, %s, %s)
        on conflict do nothing
        """,
        (workspace_id, connector_id, object_key, etag, bytes),
    )


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
