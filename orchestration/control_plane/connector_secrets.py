"""The secrets of connectors, sealed to the row that they are in. People put them here; only the pipeline opens them."""

from collections.abc import Mapping
from datetime import datetime

from pydantic import SecretStr

from orchestration.control_plane.database import Connection
from orchestration.control_plane.sealing import Keys, seal, unseal


def put_secrets(
    connection: Connection,
    keys: Keys,
    workspace_id: str,
    connector_id: str,
    secrets: Mapping[str, SecretStr],
) -> None:
    """Seal secrets and put them in the place of those of the same names.

    Raises:
        NoSecretKey: the installation cannot keep secrets.
        NotAllowed: the acting user is no admin of the workspace.
    """
    for name, secret in secrets.items():
        forget_secret(connection, workspace_id, connector_id, name)
        sealed = seal(keys, _place(workspace_id, connector_id, name), secret.get_secret_value())
        connection.execute(
            "insert into connector_secrets (workspace_id, connector_id, name, sealed) values (%s, %s, %s, %s)",
            (workspace_id, connector_id, name, sealed),
        )


def forget_secret(connection: Connection, workspace_id: str, connector_id: str, name: str) -> None:
    """Remove a secret, if it is there and the acting user may."""
    connection.execute(
        "delete from connector_secrets where workspace_id = %s and connector_id = %s and name = %s",
        (workspace_id, connector_id, name),
    )


def set_secrets(connection: Connection, workspace_id: str, connector_id: str) -> dict[str, datetime]:
    """The names of the secrets that are set, and since when."""
    rows = connection.execute(
        "select name, set_at from connector_secrets where workspace_id = %s and connector_id = %s order by name",
        (workspace_id, connector_id),
    ).fetchall()
    return {row["name"]: row["set_at"] for row in rows}


def open_secrets(
    connection: Connection, keys: Keys, workspace_id: str, connector_id: str
) -> dict[str, SecretStr]:
    """The secrets of a connector; for the pipeline alone.

    Raises:
        SealBroken: one was sealed with another key, or for another row.
    """
    rows = connection.execute(
        "select name, sealed from connector_secrets where workspace_id = %s and connector_id = %s order by name",
        (workspace_id, connector_id),
    ).fetchall()
    return {
        row["name"]: unseal(keys, _place(workspace_id, connector_id, row["name"]), row["sealed"])
        for row in rows
    }


def _place(workspace_id: str, connector_id: str, name: str) -> str:
    return f"connector_secrets/{workspace_id}/{connector_id}/{name}"
