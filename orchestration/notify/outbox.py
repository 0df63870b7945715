"""From the outbox to the receivers: at least once, in order for each channel, with growing pauses between attempts.

A sender that dies after the receiver took a message, and before that was noted, sends it again with the same id.
"""

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass

from orchestration.control_plane import notifications
from orchestration.control_plane.database import as_system
from orchestration.control_plane.errors import ControlPlaneError
from orchestration.control_plane.notifications import Channel, Notification, Watch
from orchestration.notify import mail, messages, webhook
from orchestration.notify.channels import open_secret
from orchestration.notify.errors import NotDelivered
from orchestration.notify.targets import TargetRefused, parse_target
from orchestration.settings import Settings

PAUSES = (10, 30, 120, 600, 1800, 3600, 7200, 14400, 28800, 28800)
"""Seconds after the first, second, ... failed attempt; after the last one it is given up: about 24 hours."""

MOST_AT_ONCE = 16


@dataclass(frozen=True)
class Delivery:
    """What became of one attempt. ``error`` is None when it was taken."""

    notification: Notification
    error: str | None = None


@dataclass(frozen=True)
class _Taken:
    notification: Notification
    channel: Channel
    sealed: bytes | None


def deliver(settings: Settings, watches: Iterable[Watch]) -> list[Delivery]:
    """Attempt the oldest due notification of each channel once, all at the same time, and note what became of it."""
    taken = [found for watch in watches if watch.due and (found := _take(settings, watch))]
    if not taken:
        return []
    return asyncio.run(_attempt_all(settings, taken))


def pause_after(attempts: int) -> float | None:
    """Seconds to wait after so many failed attempts; None: no more."""
    return PAUSES[attempts - 1] if attempts <= len(PAUSES) else None


def _take(settings: Settings, watch: Watch) -> _Taken | None:
    with as_system(settings.system_dsn, watch.workspace_id) as connection:
        notification = notifications.take_due(connection, watch.workspace_id, watch.channel_id)
        if notification is None:
            return None
        channels = {c.id: c for c in notifications.list_channels(connection, watch.workspace_id)}
        sealed = notifications.sealed_secret(connection, watch.workspace_id, watch.channel_id)
    channel = channels.get(watch.channel_id)
    return _Taken(notification, channel, sealed) if channel else None


async def _attempt_all(settings: Settings, taken: list[_Taken]) -> list[Delivery]:
    slots = asyncio.Semaphore(MOST_AT_ONCE)

    async def attempt(one: _Taken) -> Delivery:
        async with slots:
            return await _attempt(settings, one)

    return await asyncio.gather(*(attempt(one) for one in taken))


async def _attempt(settings: Settings, taken: _Taken) -> Delivery:
    notification, refused = taken.notification, None
    try:
        await _send(settings, taken)
    except NotDelivered as error:
        refused = error
    except Exception as error:
        # Whatever is wrong with one message must not keep the others of this round from their receivers.
        refused = NotDelivered(f"The message could not be sent: {type(error).__name__}.")
    with as_system(settings.system_dsn, notification.workspace_id) as connection:
        if refused is None:
            notifications.note_sent(connection, notification)
            return Delivery(notification)
        pause = None if refused.final else pause_after(notification.attempts)
        notifications.note_not_sent(connection, notification, str(refused), pause)
    return Delivery(notification, str(refused))


async def _send(settings: Settings, taken: _Taken) -> None:
    notification, channel = taken.notification, taken.channel
    if channel.kind == "email":
        message = messages.mail(notification, settings.smtp_from, channel.target)
        await asyncio.to_thread(mail.send, settings, message)
        return
    try:
        secret = open_secret(settings.secret_keys, channel, taken.sealed or b"")
        target = parse_target(secret.url.get_secret_value(), settings.notify_internal_hosts)
    except TargetRefused as error:
        raise NotDelivered(str(error), final=True) from None
    except ControlPlaneError as error:
        raise NotDelivered(str(error)) from None
    await webhook.post(
        target,
        secret.signing_key.get_secret_value(),
        notification.id,
        messages.webhook_body(notification),
        settings.notify_internal_hosts,
    )
