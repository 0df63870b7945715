"""The key of a workspace that personal values are hashed with: made once, sealed, for the pipeline alone.

It is never exchanged: what was hashed with it would no longer be equal to what comes.
"""

import secrets

from orchestration.control_plane.database import Connection
from orchestration.control_plane.sealing import Keys, SealBroken, seal, unseal

KEY_BYTES = 32


def workspace_key(connection: Connection, keys: Keys, workspace_id: str) -> bytes:
    """The workspace's key, made now if there is none; of two that make it at once both get the same.

    Raises:
        NoSecretKey: the installation cannot keep secrets.
        SealBroken: it was sealed with another key of the installation.
    """
    sealed = _sealed(connection, workspace_id)
    if sealed is None:
        made = seal(keys, _place(workspace_id), secrets.token_hex(KEY_BYTES))
        # Whoever is second waits here for the first, and then finds the first one's.
        connection.execute(
            "insert into workspace_keys (workspace_id, sealed) values (%s, %s) on conflict do nothing",
            (workspace_id, made),
        )
        sealed = _sealed(connection, workspace_id)
    try:
        return bytes.fromhex(unseal(keys, _place(workspace_id), sealed or b"").get_secret_value())
    except SealBroken:
        raise SealBroken(
            "The workspace's key for personal fields cannot be opened: CASETRAIL_SECRET_KEY is not the one that it "
            "was sealed with. Set that one again: with another key, values would no longer be equal to what landed."
        ) from None


def _sealed(connection: Connection, workspace_id: str) -> bytes | None:
    row = connection.execute(
        "select sealed from workspace_keys where workspace_id = %s", (workspace_id,)
    ).fetchone()
    return row["sealed"] if row else None


def _place(workspace_id: str) -> str:
    return f"workspace_keys/{workspace_id}"
