"""One round: look at all workspaces with a channel, note what began and what is over, send what is due.

Where nothing has changed and nothing is due, a round is one query.
"""

from dataclasses import dataclass, field
from datetime import UTC, datetime

from orchestration.control_plane import notifications
from orchestration.control_plane.database import as_system
from orchestration.control_plane.notifications import Watch
from orchestration.notify import incidents, messages
from orchestration.notify.incidents import Changes
from orchestration.notify.outbox import Delivery, deliver
from orchestration.settings import Settings


@dataclass(frozen=True)
class Round:
    """What a round did: notifications put in the outbox, and attempts to send some."""

    queued: int = 0
    deliveries: list[Delivery] = field(default_factory=list)


def run_round(settings: Settings) -> Round:
    """Do one round. What it puts in the outbox it sends at once."""
    watches = _look(settings)
    now, queued = datetime.now(UTC), 0
    for watch in watches:
        found = incidents.changes(watch, now)
        if found.begun or found.over:
            queued += _note(settings, watch, found)
    return Round(queued, deliver(settings, _look(settings) if queued else watches))


def report_failure(settings: Settings, workspace_id: str, message: str) -> None:
    """A run of the workspace's standing analysis has failed just now.

    A round would see that as well, unless the next attempt has begun meanwhile; this way it is told in any case.
    """
    now = datetime.now(UTC)
    for watch in _look(settings):
        if watch.workspace_id == workspace_id and "failure" in watch.events:
            _note(settings, watch, Changes([incidents.failure(watch.analysis_id, now, message)], []))


def _look(settings: Settings) -> list[Watch]:
    with as_system(settings.system_dsn, None) as connection:
        return notifications.watches(connection)


def _note(settings: Settings, watch: Watch, found: Changes) -> int:
    queued, place = 0, (watch.workspace_id, watch.channel_id)
    with as_system(settings.system_dsn, watch.workspace_id) as connection:
        for incident in found.begun:
            payload = messages.begun(watch.slug, incident)
            queued += notifications.queue(
                connection, *place, incident.event, incident.subject, incident.since, payload
            )
        for told in found.over:
            ended = notifications.end(connection, watch.workspace_id, told.notification_id)
            if ended and "recovered" in watch.events:
                payload = messages.over(watch.slug, told)
                queued += notifications.queue(
                    connection, *place, "recovered", told.subject, told.since, payload
                )
    return queued
