"""Channels of a workspace, the outbox of what they are told, and what a look at all workspaces needs to know.

Not here: what is an incident, what is said, and how it is sent (``orchestration.notify``).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal
from uuid import uuid4

from psycopg import errors
from psycopg.types.json import Jsonb

from orchestration.control_plane.database import Connection, columns, fetch_all, fetch_one
from orchestration.control_plane.errors import ControlPlaneError, InvalidInput, NotAllowed

ChannelKind = Literal["webhook", "email"]
Event = Literal["failure", "stale", "connector_error", "recovered"]
NotificationStatus = Literal["queued", "sent", "failed"]

EVENTS: tuple[Event, ...] = ("failure", "stale", "connector_error", "recovered")
LEASE_SECONDS = 120
"""A sender that died keeps a notification for so long."""


@dataclass(frozen=True, slots=True)
class Channel:
    """A row of ``notification_channels``. ``target`` is what may be shown of it."""

    id: str
    workspace_id: str
    name: str
    kind: ChannelKind
    target: str
    events: list[Event]
    stale_after_seconds: int
    enabled: bool
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Notification:
    """A row of ``notifications``."""

    id: str
    workspace_id: str
    channel_id: str
    event: str
    subject: str
    since: datetime
    payload: dict[str, Any]
    status: NotificationStatus
    attempts: int
    next_attempt_at: datetime
    last_error: str | None
    created_at: datetime
    sent_at: datetime | None
    ended_at: datetime | None


@dataclass(frozen=True, slots=True)
class Watch:
    """What one enabled channel watches, and what it was told and has not seen the end of.

    Attributes:
        failed_at: End of the standing analysis' last refresh, if that failed.
        waiting_since: Since when something waits for its release: as the planner says, or, should that not look,
            the landing of the oldest arrival that no refresh has seen.
        broken_connectors: id, type, name and message of each connector in error.
        ongoing: id, event, subject and since of each notification whose incident goes on.
        due: A notification waits to be sent now.
    """

    workspace_id: str
    slug: str
    channel_id: str
    events: list[Event]
    stale_after_seconds: int
    analysis_id: str
    status: str
    error_message: str | None
    failed_at: datetime | None
    waiting_since: datetime | None
    broken_connectors: list[dict[str, Any]]
    ongoing: list[dict[str, Any]]
    due: bool


@dataclass(frozen=True, slots=True)
class ChannelOptions:
    """What is chosen for a new channel, whatever its kind."""

    name: str
    events: Sequence[Event] = EVENTS
    stale_after_seconds: int = 3600


class UnknownChannel(ControlPlaneError):
    """The workspace has no such channel."""


class ChannelTaken(InvalidInput):
    """The workspace has a channel of this name."""


def add_channel(
    connection: Connection,
    workspace_id: str,
    options: ChannelOptions,
    *,
    kind: ChannelKind,
    target: str,
    channel_id: str | None = None,
    sealed: bytes | None = None,
) -> Channel:
    """Make a channel. ``sealed`` is encrypted by the caller, for the ``channel_id`` that the caller chose.

    Raises:
        ChannelTaken: the workspace has one of this name.
        NotAllowed: the acting user is no admin of the workspace.
    """
    channel_id, name = channel_id or str(uuid4()), options.name
    try:
        connection.execute(
            """
            insert into notification_channels
                (workspace_id, id, name, kind, target, events, stale_after_seconds, created_by)
            values (%s, %s, %s, %s, %s, %s, %s, current_user_id())
            """,
            (workspace_id, channel_id, name, kind, target, list(options.events), options.stale_after_seconds),
        )
    except errors.UniqueViolation:
        raise ChannelTaken(
            f"There is a channel {name} already: give the new one a name with --name."
        ) from None
    if sealed is not None:
        connection.execute(
            "insert into notification_secrets (workspace_id, channel_id, sealed) values (%s, %s, %s)",
            (workspace_id, channel_id, sealed),
        )
    return find_channel(connection, workspace_id, name)


def list_channels(connection: Connection, workspace_id: str) -> list[Channel]:
    """The channels of a workspace, by name."""
    return fetch_all(
        connection,
        Channel,
        f"select {columns(Channel)} from notification_channels where workspace_id = %s order by name",
        (workspace_id,),
    )


def find_channel(connection: Connection, workspace_id: str, name: str) -> Channel:
    """The channel of this name.

    Raises:
        UnknownChannel: there is none; the message lists those there are.
    """
    found = {channel.name: channel for channel in list_channels(connection, workspace_id)}
    if name not in found:
        raise UnknownChannel(f"There is no channel {name}. There are: {', '.join(found) or 'none'}.")
    return found[name]


def set_enabled(connection: Connection, workspace_id: str, channel_id: str, enabled: bool) -> None:
    """Let a channel hear of incidents, or no longer.

    Raises:
        NotAllowed: the acting user is no admin of the workspace.
    """
    changed = connection.execute(
        "update notification_channels set enabled = %s where workspace_id = %s and id = %s",
        (enabled, workspace_id, channel_id),
    )
    _expect_a_row(changed.rowcount)


def remove_channel(connection: Connection, workspace_id: str, channel_id: str) -> None:
    """Remove a channel with all that it was told.

    Raises:
        NotAllowed: the acting user is no admin of the workspace.
    """
    removed = connection.execute(
        "delete from notification_channels where workspace_id = %s and id = %s", (workspace_id, channel_id)
    )
    _expect_a_row(removed.rowcount)


def sealed_secret(connection: Connection, workspace_id: str, channel_id: str) -> bytes | None:
    """What was sealed for a channel; for the pipeline alone."""
    row = connection.execute(
        "select sealed from notification_secrets where workspace_id = %s and channel_id = %s",
        (workspace_id, channel_id),
    ).fetchone()
    return row["sealed"] if row else None


def watches(connection: Connection) -> list[Watch]:
    """What every enabled channel watches, of all workspaces, in one query; for the planner."""
    return fetch_all(connection, Watch, _WATCHES)


def queue(
    connection: Connection,
    workspace_id: str,
    channel_id: str,
    event: str,
    subject: str,
    since: datetime,
    payload: Mapping[str, Any],
) -> bool:
    """Put a notification in the outbox; False if the channel has heard of this incident already."""
    queued = connection.execute(
        """
        insert into notifications (workspace_id, channel_id, event, subject, since, payload)
        values (%s, %s, %s, %s, %s, %s)
        on conflict do nothing
        """,
        (workspace_id, channel_id, event, subject, since, Jsonb(payload)),
    )
    return bool(queued.rowcount)


def end(connection: Connection, workspace_id: str, notification_id: str) -> bool:
    """Note that the incident of a notification is over; False if somebody else did."""
    ended = connection.execute(
        "update notifications set ended_at = now() where workspace_id = %s and id = %s and ended_at is null",
        (workspace_id, notification_id),
    )
    return bool(ended.rowcount)


def take_due(connection: Connection, workspace_id: str, channel_id: str) -> Notification | None:
    """The channel's oldest queued notification if its time has come, leased to the caller for ``LEASE_SECONDS``.

    Only the oldest: a channel gets them in order, and one that cannot be reached is tried once, not once for each.
    """
    return fetch_one(
        connection,
        Notification,
        f"""
        update notifications
        set attempts = attempts + 1, next_attempt_at = now() + make_interval(secs => {LEASE_SECONDS})
        where workspace_id = %(workspace_id)s and next_attempt_at <= now() and id = (
            select id from notifications
            where workspace_id = %(workspace_id)s and channel_id = %(channel_id)s and status = 'queued'
            order by created_at, id
            limit 1
            for update skip locked
        )
        returning {columns(Notification)}
        """,
        {"workspace_id": workspace_id, "channel_id": channel_id},
    )


def note_sent(connection: Connection, notification: Notification) -> None:
    """The receiver has taken it."""
    connection.execute(
        """
        update notifications set status = 'sent', sent_at = now(), last_error = null
        where workspace_id = %s and id = %s and status = 'queued'
        """,
        (notification.workspace_id, notification.id),
    )


def note_not_sent(
    connection: Connection, notification: Notification, error: str, retry_seconds: float | None
) -> None:
    """The receiver has not taken it: it is tried again after so long, or never (None)."""
    connection.execute(
        """
        update notifications
        set
            last_error = %(error)s,
            status = case when %(retry)s::float8 is null then 'failed' else 'queued' end,
            next_attempt_at = now() + make_interval(secs => coalesce(%(retry)s::float8, 0))
        where workspace_id = %(workspace_id)s and id = %(id)s and status = 'queued'
        """,
        {
            "error": error[:1000],
            "retry": retry_seconds,
            "workspace_id": notification.workspace_id,
            "id": notification.id,
        },
    )


def list_notifications(
    connection: Connection, workspace_id: str, limit: int | None = None
) -> list[Notification]:
    """What the channels of a workspace were told, newest first."""
    return fetch_all(
        connection,
        Notification,
        f"""
        select {columns(Notification)} from notifications where workspace_id = %s
        order by created_at desc, id desc limit %s
        """,
        (workspace_id, limit),
    )


def _expect_a_row(rows: int) -> None:
    if not rows:
        raise NotAllowed("The channel was not changed: only an admin of the workspace may.")


_WATCHES = """
select
    channel.workspace_id,
    workspaces.slug,
    channel.id as channel_id,
    channel.events,
    channel.stale_after_seconds,
    job.id as analysis_id,
    job.status,
    job.error_message,
    case when job.status = 'failed' then job.finished_at end as failed_at,
    case
        when marks.plan_subject is not null or marks.changed > marks.planned then least(
            marks.stale_since,
            (
                select min(arrivals.created_at) from arrivals
                where
                    arrivals.workspace_id = channel.workspace_id
                    and arrivals.status = 'landed'
                    and arrivals.created_at > coalesce(
                        greatest(release.created_at, case when job.status = 'succeeded' then job.finished_at end),
                        '-infinity'
                    )
            )
        )
    end as waiting_since,
    (
        select coalesce(jsonb_agg(to_jsonb(broken) order by broken.id), '[]')
        from (
            select
                connectors.id,
                connectors.type,
                connectors.name,
                coalesce(connectors.message, (
                    select inbox_files.message from inbox_files
                    where
                        inbox_files.workspace_id = connectors.workspace_id
                        and inbox_files.connector_id = connectors.id
                        and inbox_files.status = 'failed'
                    order by inbox_files.seen_at desc
                    limit 1
                )) as message
            from connectors
            where connectors.workspace_id = channel.workspace_id and connectors.status = 'error'
        ) as broken
    ) as broken_connectors,
    (
        select coalesce(jsonb_agg(jsonb_build_object(
            'id', told.id, 'event', told.event, 'subject', told.subject, 'since', told.since
        ) order by told.id), '[]')
        from notifications as told
        where
            told.workspace_id = channel.workspace_id
            and told.channel_id = channel.id
            and told.ended_at is null
            and told.event in ('failure', 'stale', 'connector_error')
    ) as ongoing,
    coalesce((
        select queued.next_attempt_at <= now() from notifications as queued
        where
            queued.workspace_id = channel.workspace_id
            and queued.channel_id = channel.id
            and queued.status = 'queued'
        order by queued.created_at, queued.id
        limit 1
    ), false) as due
from notification_channels as channel
join workspaces on workspaces.id = channel.workspace_id
join planner_marks as marks on marks.workspace_id = channel.workspace_id
join analysis_jobs as job on job.workspace_id = channel.workspace_id and job.kind = 'standing'
left join provenance as release
    on release.workspace_id = job.workspace_id and release.id = job.provenance_id
where channel.enabled
order by workspaces.slug, channel.name
"""
