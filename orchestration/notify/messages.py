"""What is said: the JSON of a webhook and the text of an e-mail, from one payload."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from email.message import EmailMessage
from email.utils import formatdate
from typing import Any

from orchestration.control_plane.notifications import Notification
from orchestration.notify.incidents import Incident, Told

LONGEST_MESSAGE = 2000

_WHAT = {
    "failure": "a refresh failed",
    "stale": "the analysis is stale",
    "connector_error": "a connector is in error",
    "test": "a test of this channel",
}
_ADVICE = {
    "failure": "The last release stays. `casetrail analysis show {workspace}` says more.",
    "stale": "Look at the workspace's runs in Dagster, and whether its daemon runs: `casetrail status`.",
    "connector_error": "`casetrail workspace show {workspace}` lists the connectors.",
}


def begun(workspace: str, incident: Incident) -> dict[str, Any]:
    """The payload for the begin of an incident."""
    return {
        "workspace": workspace,
        "message": incident.message[:LONGEST_MESSAGE],
        "details": incident.details,
    }


def over(workspace: str, told: Told) -> dict[str, Any]:
    """The payload for its end."""
    return {
        "workspace": workspace,
        "message": f"It is over: {_WHAT[told.event]}.",
        "details": {"recovered_from": told.event, "notification": told.notification_id},
    }


def of_a_test(workspace: str) -> dict[str, Any]:
    """The payload of a test."""
    message = "Nothing is wrong: somebody asked for a test of this channel."
    return {"workspace": workspace, "message": message, "details": {}}


def webhook_body(notification: Notification) -> bytes:
    """The JSON object that a webhook gets; the same bytes at each attempt, so that they can be told apart by id."""
    body = {
        "type": notification.event,
        "id": notification.id,
        "timestamp": _iso(notification.created_at),
        "data": {
            **notification.payload,
            "subject": notification.subject,
            "since": _iso(notification.since),
        },
    }
    return json.dumps(body, ensure_ascii=False, sort_keys=True).encode()


def mail(notification: Notification, sender: str, receiver: str) -> EmailMessage:
    """The e-mail. Its Message-ID is that of the notification, so that a second delivery is recognised."""
    workspace, event = str(notification.payload["workspace"]), notification.event
    message = EmailMessage()
    message["From"], message["To"] = sender, receiver
    message["Subject"] = f"[casetrail] {workspace}: {_headline(event, notification.payload)}"
    message["Date"] = formatdate(notification.created_at.timestamp())
    message["Message-ID"] = f"<{notification.id}@{sender.rpartition('@')[2]}>"
    message["Auto-Submitted"] = "auto-generated"
    lines = [
        str(notification.payload["message"]),
        f"Workspace: {workspace}\nSince: {notification.since.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC",
    ]
    if event in _ADVICE:
        lines.append(_ADVICE[event].format(workspace=workspace))
    message.set_content("\n\n".join(lines) + "\n")
    return message


def _headline(event: str, payload: Mapping[str, Any]) -> str:
    return f"over: {_WHAT[payload['details']['recovered_from']]}" if event == "recovered" else _WHAT[event]


def _iso(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat()
