"""Where a workspace's records come from. ``config`` is shown to people, so it never holds a secret."""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from psycopg.types.json import Jsonb

from orchestration.control_plane.database import Connection, columns, fetch_all, fetch_one
from orchestration.control_plane.errors import ControlPlaneError, InvalidInput, NotAllowed

ConnectorStatus = Literal["connected", "error", "disabled"]

_SECRET_NAMES = re.compile(
    r"password|passwd|secret|token|apikey|accesskey|privatekey|credential|authorization"
)
_LOGIN_IN_URL = re.compile(r"://[^/@\s]+:[^/@\s]+@")


@dataclass(frozen=True, slots=True)
class Connector:
    """A row of ``connectors``. For ``csv_upload`` the config is the mapping of the uploaded files.

    ``message`` says why the status is as it is, where there is something to say. No schedule syncs the connector before
    ``next_sync_at`` (UTC).
    """

    id: str
    workspace_id: str
    type: str
    name: str
    status: ConnectorStatus
    config: dict[str, Any]
    last_sync_at: datetime | None
    created_at: datetime
    message: str | None = None
    next_sync_at: datetime | None = None


class UnknownConnector(ControlPlaneError):
    """The workspace has no such connector."""


class ConnectorTaken(InvalidInput):
    """The workspace has a connector of this type and name."""


class SecretInConfig(InvalidInput):
    """A config holds what looks like a secret in clear. The message names the place, never the value."""


def ensure_connector(
    connection: Connection, workspace_id: str, type: str, name: str, config: Mapping[str, Any] | None = None
) -> Connector:
    """The connector of this type and name; made with this config if there is none.

    Raises:
        SecretInConfig: the config has a secret in clear.
    """
    config = config or {}
    refuse_secrets(config)
    connection.execute(
        """
        insert into connectors (workspace_id, type, name, config) values (%s, %s, %s, %s)
        on conflict (workspace_id, type, name) do nothing
        """,
        (workspace_id, type, name, Jsonb(config)),
    )
    return find_connector(connection, workspace_id, type, name)


def add_connector(
    connection: Connection, workspace_id: str, type: str, name: str, config: Mapping[str, Any]
) -> Connector:
    """Make a connector that nobody has tried yet: ``disabled`` until it is checked.

    Raises:
        ConnectorTaken: there is one of this type and name.
        SecretInConfig: the config has a secret in clear.
        NotAllowed: the acting user is no admin of the workspace.
    """
    if any((row.type, row.name) == (type, name) for row in list_connectors(connection, workspace_id)):
        raise ConnectorTaken(
            f"There is a {type} connector {name} already: give the new one a name with --name."
        )
    made = ensure_connector(connection, workspace_id, type, name, config)
    connection.execute(
        "update connectors set status = 'disabled', message = %s where workspace_id = %s and id = %s",
        ("It was not checked yet.", workspace_id, made.id),
    )
    return get_connector(connection, workspace_id, made.id)


def find_connector(connection: Connection, workspace_id: str, type: str, name: str) -> Connector:
    """The connector of this type and name.

    Raises:
        UnknownConnector: there is none; the message lists those there are.
    """
    found = fetch_one(
        connection,
        Connector,
        f"select {columns(Connector)} from connectors where workspace_id = %s and type = %s and name = %s",
        (workspace_id, type, name),
    )
    if found is None:
        there_are = [f"{row.type} {row.name}" for row in list_connectors(connection, workspace_id)]
        raise UnknownConnector(
            f"There is no {type} connector {name}. There are: {', '.join(there_are) or 'none'}."
        )
    return found


def get_connector(connection: Connection, workspace_id: str, connector_id: str) -> Connector:
    """The connector with this id.

    Raises:
        UnknownConnector: the workspace has none.
    """
    found = fetch_one(
        connection,
        Connector,
        f"select {columns(Connector)} from connectors where workspace_id = %s and id = %s",
        (workspace_id, connector_id),
    )
    if found is None:
        raise UnknownConnector(f"The workspace has no connector with the id {connector_id}.")
    return found


def list_connectors(connection: Connection, workspace_id: str) -> list[Connector]:
    """The connectors of a workspace, by type and name."""
    return fetch_all(
        connection,
        Connector,
        f"select {columns(Connector)} from connectors where workspace_id = %s order by type, name",
        (workspace_id,),
    )


def set_config(
    connection: Connection, workspace_id: str, connector_id: str, config: Mapping[str, Any]
) -> None:
    """Replace a connector's config.

    Raises:
        SecretInConfig: the config has a secret in clear.
        NotAllowed: the acting user may not change this connector.
    """
    refuse_secrets(config)
    _update(connection, workspace_id, connector_id, "config = %(value)s", Jsonb(config))


def set_status(connection: Connection, workspace_id: str, connector_id: str, status: ConnectorStatus) -> None:
    """Say how a connector is; what was said of it before holds no more.

    Raises:
        NotAllowed: the acting user may not change this connector.
    """
    _update(connection, workspace_id, connector_id, "status = %(value)s, message = null", status)


def record_sync(connection: Connection, workspace_id: str, connector_id: str) -> None:
    """Note that records came in just now, which clears an error. What a person has disabled stays so.

    Raises:
        NotAllowed: the acting user may not change this connector.
    """
    change = f"last_sync_at = now(), message = null, status = {_UNLESS_DISABLED} 'connected' end"
    _update(connection, workspace_id, connector_id, change, None)


def record_problem(
    connection: Connection,
    workspace_id: str,
    connector_id: str,
    message: str,
    *,
    is_error: bool = True,
    even_if_disabled: bool = False,
) -> None:
    """Note what is wrong. It is an error if a person must act; else the status stays as it is, as if disabled.

    Raises:
        NotAllowed: the acting user may not change this connector.
    """
    status = (
        "status" if not is_error else "'error'" if even_if_disabled else f"{_UNLESS_DISABLED} 'error' end"
    )
    change = f"message = %(value)s, status = {status}"
    _update(connection, workspace_id, connector_id, change, message[:_LONGEST_MESSAGE])


def set_next_sync(connection: Connection, workspace_id: str, connector_id: str, when: datetime) -> None:
    """Say before when (UTC) no schedule syncs the connector; for the pipeline."""
    _update(connection, workspace_id, connector_id, "next_sync_at = %(value)s", when)


def due_for_sync(connection: Connection, types: Collection[str], now: datetime) -> dict[str, str]:
    """The connectors of these types whose time has come (UTC), each with its workspace's slug, the longest due first.

    One query for all workspaces in sight.
    """
    rows = connection.execute(
        """
        select connectors.id, workspaces.slug
        from connectors join workspaces on workspaces.id = connectors.workspace_id
        where
            connectors.status = 'connected'
            and connectors.type = any(%s)
            and coalesce(connectors.next_sync_at, '-infinity') <= %s
        order by connectors.next_sync_at nulls first, connectors.id
        """,
        (list(types), now),
    ).fetchall()
    return {row["id"]: row["slug"] for row in rows}


def require_admin(connection: Connection, workspace_id: str, connector_id: str) -> None:
    """Nothing changes.

    Raises:
        NotAllowed: the acting user may not change this connector.
    """
    _update(connection, workspace_id, connector_id, "name = name", None)


def refuse_secrets(config: Mapping[str, Any], where: str = "config") -> None:
    """Let only references to secrets pass, such as ``{"password": {"$ref": "env:CASETRAIL_SECRET_CRM"}}``.

    Raises:
        SecretInConfig: a field named like a secret has a literal value, or a URL carries a login.
    """
    for name, value in config.items():
        place = f"{where}.{name}"
        # Names with $ are those of references and markers themselves.
        literal = isinstance(value, str | int | list) and value not in ("", []) and not name.startswith("$")
        if literal and _SECRET_NAMES.search(re.sub(r"[^a-z]", "", name.lower())):
            raise SecretInConfig(
                f'{place} holds a secret in clear: give a reference, {{"$ref": "env:NAME"}}.'
            )
        for item in value if isinstance(value, list) else [value]:
            if isinstance(item, Mapping):
                refuse_secrets(item, place)
            elif isinstance(item, str) and _LOGIN_IN_URL.search(item):
                raise SecretInConfig(
                    f"{place} is a URL with a password in it: give the password as a reference."
                )


_UNLESS_DISABLED = "case status when 'disabled' then status else"
_LONGEST_MESSAGE = 2000


def _update(connection: Connection, workspace_id: str, connector_id: str, change: str, value: Any) -> None:
    changed = connection.execute(
        f"update connectors set {change} where workspace_id = %(workspace_id)s and id = %(id)s",
        {"workspace_id": workspace_id, "id": connector_id, "value": value},
    )
    if not changed.rowcount:
        raise NotAllowed(
            f"The connector {connector_id} was not changed: the workspace has none, or only an admin may."
        )
