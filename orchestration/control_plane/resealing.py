"""Sealing what is stored anew, with the installation's present key: a workspace at a time, each in one transaction.

So it can be stopped anywhere and started again. A value is opened and sealed, never changed.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from psycopg import sql

from orchestration.control_plane.database import Connection
from orchestration.control_plane.sealing import Keys, SealBroken, is_current, seal, unseal

SEALED_TABLES: dict[str, tuple[str, ...]] = {
    "connector_secrets": ("connector_id", "name"),
    "notification_secrets": ("channel_id",),
    "workspace_keys": (),
}
"""Tables with a column ``sealed``: what identifies a row beside its workspace, as its place names it."""


@dataclass(frozen=True)
class Resealed:
    """What became of the sealed values of a workspace.

    Attributes:
        resealed: So many are under the first key now, and were not.
        current: So many were already.
        unreadable: The places of those that none of the keys opens; they stay as they are.
    """

    resealed: int
    current: int
    unreadable: tuple[str, ...]


def reseal(connection: Connection, keys: Keys, workspace_id: str) -> Resealed:
    """Seal all of a workspace with the first key; for the pipeline alone.

    Raises:
        NoSecretKey: the installation has no key.
    """
    resealed, current, unreadable = 0, 0, list[str]()
    for table, names, row in _values(connection, workspace_id):
        place = "/".join((table, workspace_id, *(row[name] for name in names)))
        if is_current(keys, row["sealed"]):
            current += 1
            continue
        try:
            anew = seal(keys, place, unseal(keys, place, row["sealed"]).get_secret_value())
        except SealBroken:
            unreadable.append(place)
            continue
        conditions = [sql.SQL("{} = %s").format(sql.Identifier(name)) for name in ("workspace_id", *names)]
        connection.execute(
            sql.SQL("update {} set sealed = %s where {}").format(
                sql.Identifier(table), sql.SQL(" and ").join(conditions)
            ),
            (anew, workspace_id, *(row[name] for name in names)),
        )
        resealed += 1
    return Resealed(resealed, current, tuple(unreadable))


def count_old(connection: Connection, keys: Keys, workspace_id: str) -> int:
    """How many values of a workspace are not under the first key.

    Raises:
        NoSecretKey: the installation has no key.
    """
    rows = _values(connection, workspace_id, locked=False)
    return sum(not is_current(keys, row["sealed"]) for _table, _names, row in rows)


def _values(
    connection: Connection, workspace_id: str, *, locked: bool = True
) -> Iterator[tuple[str, tuple[str, ...], dict[str, Any]]]:
    for table, names in SEALED_TABLES.items():
        query = sql.SQL("select {} from {} where workspace_id = %s order by {}{}").format(
            sql.SQL(", ").join(map(sql.Identifier, (*names, "sealed"))),
            sql.Identifier(table),
            sql.SQL(", ").join(map(sql.Identifier, ("workspace_id", *names))),
            sql.SQL(" for update" if locked else ""),
        )
        for row in connection.execute(query, (workspace_id,)).fetchall():
            yield table, names, row
