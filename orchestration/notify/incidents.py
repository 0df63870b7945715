"""What is an incident, when it begins and when it is over: pure functions over what a channel watches."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from orchestration.control_plane.notifications import Event, Watch


@dataclass(frozen=True)
class Incident:
    """Something that needs attention. ``subject`` names what: ``analysis/ID`` or ``connector/ID``.

    Attributes:
        since: Since when it is so.
        message: Why, in the words of whoever noticed it.
        details: Machine-readable particulars; never a secret.
    """

    event: Event
    subject: str
    since: datetime
    message: str
    details: dict[str, Any]


@dataclass(frozen=True)
class Told:
    """An incident that a channel was told of, by the notification with this id."""

    notification_id: str
    event: str
    subject: str
    since: datetime


@dataclass(frozen=True)
class Changes:
    """What a channel has to be told now, and which of the incidents that it was told of are over."""

    begun: list[Incident]
    over: list[Told]


def changes(watch: Watch, now: datetime) -> Changes:
    """Compare what is with what the channel was told: each incident once, and each end once."""
    current = {(i.event, i.subject): i for i in incidents(watch, now)}
    told = {(t.event, t.subject): t for t in _told(watch)}
    begun = [i for key, i in current.items() if key not in told and i.event in watch.events]
    over = [t for key, t in told.items() if key not in current and not _undecided(t, watch)]
    return Changes(begun, over)


def incidents(watch: Watch, now: datetime) -> list[Incident]:
    """All that needs attention in the channel's workspace, whether it wants to hear of it or not."""
    found = []
    if watch.failed_at is not None:
        found.append(failure(watch.analysis_id, watch.failed_at, watch.error_message or "no reason is known"))
    if watch.waiting_since is not None and now - watch.waiting_since >= _patience(watch):
        found.append(_staleness(watch, watch.waiting_since))
    found += [
        Incident(
            "connector_error",
            f"connector/{broken['id']}",
            now,
            broken["message"] or "The connector's last synchronisation failed.",
            {"connector": broken["name"], "connector_type": broken["type"]},
        )
        for broken in watch.broken_connectors
    ]
    return found


def failure(analysis_id: str, since: datetime, message: str) -> Incident:
    """The last refresh of an analysis failed."""
    return Incident("failure", f"analysis/{analysis_id}", since, message, {})


def _staleness(watch: Watch, since: datetime) -> Incident:
    message = f"What changed at {since:%Y-%m-%d %H:%M} UTC is in no release yet."
    details = {"stale_after_seconds": watch.stale_after_seconds, "analysis_status": watch.status}
    return Incident("stale", f"analysis/{watch.analysis_id}", since, message, details)


def _patience(watch: Watch) -> timedelta:
    return timedelta(seconds=watch.stale_after_seconds)


def _undecided(told: Told, watch: Watch) -> bool:
    """A failure is over when a refresh has succeeded, not when the next one begins: it may fail as well."""
    return told.event == "failure" and watch.status != "succeeded"


def _told(watch: Watch) -> list[Told]:
    return [
        Told(row["id"], row["event"], row["subject"], datetime.fromisoformat(row["since"]))
        for row in watch.ongoing
    ]
