"""Corrections of what arrived, each with a row in the trail: an arrival is retracted, or a new version takes its place.

Not here: how a new version is read and stored (``stages.corrections``).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from psycopg.types.json import Jsonb

from orchestration.control_plane.arrivals import (
    Arrival,
    NewArrival,
    enter,
    find_arrival,
    list_arrivals,
    lock_ranks,
)
from orchestration.control_plane.database import Connection, columns, fetch_all
from orchestration.control_plane.errors import ControlPlaneError, NotAllowed

ChangeKind = Literal["retracted", "replaced", "remapped", "readmitted"]


@dataclass(frozen=True, slots=True)
class ArrivalChange:
    """A row of ``arrival_changes``. ``changed_by`` is None where the pipeline did it; ``after`` then names the run."""

    id: str
    arrival_id: str
    successor_id: str | None
    kind: ChangeKind
    reason: str
    before: dict[str, Any]
    after: dict[str, Any]
    changed_by: str | None
    changed_at: datetime


@dataclass(frozen=True, slots=True)
class Cause:
    """Why a correction is made: kind and reason, and the Dagster run that makes it, if one does."""

    kind: ChangeKind
    reason: str
    run_id: str | None = None


class NotLanded(ControlPlaneError):
    """The arrival is not part of the workspace's data any more (or never was); the message says what became of it."""


class ChangedMeanwhile(ControlPlaneError):
    """The arrivals that were to be corrected are others now. Nothing was changed."""


def retract(connection: Connection, workspace_id: str, arrival_id: str, cause: Cause) -> None:
    """Take an arrival out of the workspace's data. Its files stay, unread.

    Raises:
        UnknownArrival: the workspace has no such arrival.
        NotLanded: it was retracted or replaced before, or had failed.
        NotAllowed: the acting user may not.
    """
    lock_ranks(connection, workspace_id)
    old = require_landed(connection, workspace_id, arrival_id)
    _leave(connection, old, "retracted", cause)
    _note(connection, old, None, cause)


def supersede(connection: Connection, old: Arrival, new: NewArrival, cause: Cause) -> Arrival:
    """Put a new version in the place of an arrival: same rank, so that all is as if it had come first.

    Raises:
        NotLanded: the old one was retracted or replaced meanwhile.
        AlreadyLanded: the new one's bytes have landed as another arrival of the connector.
        NotAllowed: the acting user may not.
    """
    lock_ranks(connection, old.workspace_id)
    old = require_landed(connection, old.workspace_id, old.id)
    _leave(connection, old, "replaced", cause)
    entered = enter(connection, new, old.rank, old.id)
    _note(connection, old, entered, cause)
    return entered


def require_unchanged(
    connection: Connection, workspace_id: str, connector_id: str, known: Sequence[Arrival]
) -> None:
    """Take the lock and check that ``known`` still is all that landed through a connector.

    Raises:
        ChangedMeanwhile: it is not.
    """
    lock_ranks(connection, workspace_id)
    now = {a.id for a in list_arrivals(connection, workspace_id, "landed") if a.connector_id == connector_id}
    if now != {arrival.id for arrival in known}:
        raise ChangedMeanwhile(
            "Files arrived or were corrected while this was under way, so nothing was changed. Run it again."
        )


def require_landed(connection: Connection, workspace_id: str, prefix: str) -> Arrival:
    """The landed arrival whose id begins so.

    Raises:
        UnknownArrival: there is none.
        NotLanded: it was retracted or replaced, or had failed; the message says what became of it.
    """
    arrival = find_arrival(connection, workspace_id, prefix)
    if arrival.status == "landed":
        return arrival
    if arrival.status == "failed":
        raise NotLanded(f"{arrival.file_name} never landed ({arrival.message}): upload a corrected file.")
    newest = changes(connection, workspace_id, arrival.id)[-1]
    if newest.successor_id is None:
        raise NotLanded(
            f"This arrival was retracted on {newest.changed_at:%Y-%m-%d %H:%M} UTC ({newest.reason}). "
            "To have it back, upload the file again."
        )
    raise NotLanded(
        f"This arrival was {newest.kind} on {newest.changed_at:%Y-%m-%d %H:%M} UTC ({newest.reason}): "
        f"its newer version is {newest.successor_id}."
    )


def note_reviewed(
    connection: Connection, arrival: Arrival, landing_rules: str, review_at: datetime | None
) -> None:
    """An arrival was read again under other rules and nothing came out differently."""
    connection.execute(
        "update arrivals set landing_rules = %s, review_at = %s where workspace_id = %s and id = %s",
        (landing_rules, review_at, arrival.workspace_id, arrival.id),
    )


def changes(connection: Connection, workspace_id: str, arrival_id: str | None = None) -> list[ArrivalChange]:
    """The trail of a workspace, or of one arrival, oldest first."""
    return fetch_all(
        connection,
        ArrivalChange,
        f"""
        select {columns(ArrivalChange)} from arrival_changes
        where workspace_id = %(workspace_id)s
            and (%(arrival_id)s::uuid is null or %(arrival_id)s::uuid in (arrival_id, successor_id))
        order by changed_at, id
        """,
        {"workspace_id": workspace_id, "arrival_id": arrival_id},
    )


def _leave(
    connection: Connection, old: Arrival, status: Literal["replaced", "retracted"], cause: Cause
) -> None:
    changed = connection.execute(
        """
        update arrivals set status = %s, message = %s
        where workspace_id = %s and id = %s and status = 'landed'
        """,
        (status, cause.reason, old.workspace_id, old.id),
    )
    if not changed.rowcount:
        raise NotAllowed("Only an analyst or an admin of the workspace can correct an arrival.")


def _note(connection: Connection, old: Arrival, new: Arrival | None, cause: Cause) -> None:
    after = {**(_account(new) if new else {}), **({"run_id": cause.run_id} if cause.run_id else {})}
    connection.execute(
        """
        insert into arrival_changes
            (workspace_id, arrival_id, successor_id, kind, reason, before, after, changed_by)
        values (%s, %s, %s, %s, %s, %s, %s, nullif(current_setting('casetrail.user_id', true), '')::uuid)
        """,
        (
            old.workspace_id,
            old.id,
            new.id if new else None,
            cause.kind,
            cause.reason,
            Jsonb(_account(old)),
            Jsonb(after),
        ),
    )


def _account(arrival: Arrival) -> dict[str, Any]:
    """What the trail keeps of a version."""
    return {
        "file_name": arrival.file_name,
        "sha256": arrival.sha256,
        "mapping": arrival.mapping,
        "landing_rules": arrival.landing_rules,
        "records": arrival.records,
        "landed": arrival.landed,
        "non_event": arrival.non_event,
        "quarantined": arrival.quarantined,
    }
