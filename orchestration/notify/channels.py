"""Making a channel: its target is checked, and what must stay secret is sealed before it is stored."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from uuid import uuid4

from pydantic import SecretStr, TypeAdapter, ValidationError

from orchestration.control_plane import notifications
from orchestration.control_plane.database import Connection
from orchestration.control_plane.errors import InvalidInput
from orchestration.control_plane.notifications import EVENTS, Channel, ChannelOptions, Event
from orchestration.control_plane.sealing import Keys, seal, unseal
from orchestration.notify.signing import new_signing_key
from orchestration.notify.targets import parse_target
from orchestration.settings import Email, Settings

_EMAIL: TypeAdapter[str] = TypeAdapter(Email)


@dataclass(frozen=True)
class WebhookSecret:
    """What it takes to call a webhook."""

    url: SecretStr
    signing_key: SecretStr


def add_webhook(
    connection: Connection,
    settings: Settings,
    workspace_id: str,
    url: str,
    options: ChannelOptions,
) -> tuple[Channel, str]:
    """A webhook channel, and its signing key, which is shown this once.

    Raises:
        TargetRefused: the URL cannot be one of a webhook.
        NoSecretKey: the installation cannot keep secrets.
    """
    target = parse_target(url, settings.notify_internal_hosts)
    key, channel_id = new_signing_key(), str(uuid4())
    secret = json.dumps({"url": url, "signing_key": key})
    channel = notifications.add_channel(
        connection,
        workspace_id,
        options,
        kind="webhook",
        target=target.shown,
        channel_id=channel_id,
        sealed=seal(settings.secret_keys, _place(workspace_id, channel_id), secret),
    )
    return channel, key


def add_email(
    connection: Connection,
    workspace_id: str,
    address: str,
    options: ChannelOptions,
) -> Channel:
    """An e-mail channel.

    Raises:
        InvalidInput: this is no e-mail address.
    """
    try:
        address = _EMAIL.validate_python(address)
    except ValidationError:
        raise InvalidInput(f"{address!r} is no e-mail address.") from None
    if any(character in address for character in ",;<>\"'()[]\\:"):
        raise InvalidInput(f"{address!r} is not one plain e-mail address.")
    return notifications.add_channel(connection, workspace_id, options, kind="email", target=address)


def checked_events(names: Iterable[str]) -> list[Event]:
    """The events of these names, each once.

    Raises:
        InvalidInput: there is no event of one of them.
    """
    wanted = set(names)
    if unknown := wanted - set(EVENTS):
        raise InvalidInput(f"There is no event {', '.join(sorted(unknown))}. There are: {', '.join(EVENTS)}.")
    return [event for event in EVENTS if event in wanted]


def open_secret(keys: Keys, channel: Channel, sealed: bytes) -> WebhookSecret:
    """What was sealed for a channel.

    Raises:
        SealBroken: it was sealed with another key.
    """
    opened = unseal(keys, _place(channel.workspace_id, channel.id), sealed)
    values = json.loads(opened.get_secret_value())
    return WebhookSecret(SecretStr(values["url"]), SecretStr(values["signing_key"]))


def _place(workspace_id: str, channel_id: str) -> str:
    return f"notification_secrets/{workspace_id}/{channel_id}"
