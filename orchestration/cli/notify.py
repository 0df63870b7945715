"""``casetrail notify``: who is told of failed refreshes, stale analyses and connectors in error."""

import time
from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from orchestration.cli.printing import print_json, print_rows
from orchestration.cli.workspace import ActingUser, AsJson, WorkspaceName, acting
from orchestration.control_plane import notifications, workspaces
from orchestration.control_plane.errors import InvalidInput
from orchestration.control_plane.notifications import EVENTS, Channel, ChannelOptions, Notification
from orchestration.notify import channels, messages
from orchestration.settings import load_settings

notify_app = typer.Typer(
    help="Tell people or machines when a workspace needs attention.", no_args_is_help=True
)

ChannelName = Annotated[str, typer.Argument(metavar="CHANNEL", help="Its name.")]


@notify_app.command()
def add(
    workspace: WorkspaceName,
    webhook: Annotated[str | None, typer.Option(metavar="URL", help="Post signed JSON there.")] = None,
    email: Annotated[str | None, typer.Option(metavar="ADDRESS", help="Send mail there.")] = None,
    event: Annotated[
        list[str] | None,
        typer.Option(help=f"What to tell: {', '.join(EVENTS)}. May be given again; all if not given."),
    ] = None,
    stale_after: Annotated[
        int, typer.Option(metavar="MINUTES", min=1, help="Records may wait so long for their release.")
    ] = 60,
    name: Annotated[str | None, typer.Option(help="Its name; `webhook` or `email` if not given.")] = None,
    acting_user: ActingUser = None,
    as_json: AsJson = False,
) -> None:
    """Add a channel. A webhook's signing key is shown this once."""
    signing_key = None
    with acting(acting_user) as connection:
        if (webhook is None) == (email is None):
            raise InvalidInput("Give either --webhook URL or --email ADDRESS.")
        found = workspaces.find_workspace(connection, workspace)
        options = ChannelOptions(
            workspaces.checked_slug(name or ("webhook" if webhook else "email")),
            channels.checked_events(event or EVENTS),
            stale_after * 60,
        )
        if webhook is not None:
            made, signing_key = channels.add_webhook(connection, load_settings(), found.id, webhook, options)
        else:
            made = channels.add_email(connection, found.id, email or "", options)
    if as_json:
        key = {"signing_key": signing_key} if signing_key else {}
        print_json({**asdict(made), **key})
        return
    typer.echo(f"{found.slug} tells {made.target} of: {', '.join(made.events)}. The channel is {made.name}.")
    if signing_key:
        typer.echo(f"Signing key, not shown again: {signing_key}")


@notify_app.command("list")
def list_channels(workspace: WorkspaceName, acting_user: ActingUser = None, as_json: AsJson = False) -> None:
    """List the channels of a workspace."""
    with acting(acting_user) as connection:
        found = workspaces.find_workspace(connection, workspace)
        rows = [asdict(channel) for channel in notifications.list_channels(connection, found.id)]
    if as_json:
        print_json(rows)
        return
    shown = [
        {
            **row,
            "events": ", ".join(row["events"]),
            "stale after": f"{row['stale_after_seconds'] // 60} min",
            "state": "on" if row["enabled"] else "paused",
        }
        for row in rows
    ]
    print_rows(shown, ("name", "kind", "target", "events", "stale after", "state"))


@notify_app.command()
def remove(
    workspace: WorkspaceName, channel: ChannelName, acting_user: ActingUser = None, as_json: AsJson = False
) -> None:
    """Remove a channel, with the log of what it was told."""
    with acting(acting_user) as connection:
        found = _find(connection, workspace, channel)
        notifications.remove_channel(connection, found.workspace_id, found.id)
    _say(as_json, asdict(found), f"The channel {found.name} is gone.")


@notify_app.command()
def pause(
    workspace: WorkspaceName, channel: ChannelName, acting_user: ActingUser = None, as_json: AsJson = False
) -> None:
    """Send nothing to a channel until it is resumed."""
    _set_enabled(workspace, channel, acting_user, as_json, enabled=False)


@notify_app.command()
def resume(
    workspace: WorkspaceName, channel: ChannelName, acting_user: ActingUser = None, as_json: AsJson = False
) -> None:
    """Send to a channel again; it is told of what goes on by then."""
    _set_enabled(workspace, channel, acting_user, as_json, enabled=True)


@notify_app.command("test")
def send_test(
    workspace: WorkspaceName,
    channel: ChannelName,
    wait: Annotated[int, typer.Option(metavar="SECONDS", min=0, help="Wait so long for the daemon.")] = 60,
    acting_user: ActingUser = None,
    as_json: AsJson = False,
) -> None:
    """Send a test through the daemon, as a real one is sent. Exit code 1 if it was not taken in time."""
    with acting(acting_user) as connection:
        found = _find(connection, workspace, channel)
        slug = workspaces.find_workspace(connection, workspace).slug
        subject, now = f"channel/{found.id}", datetime.now(UTC)
        notifications.queue(
            connection, found.workspace_id, found.id, "test", subject, now, messages.of_a_test(slug)
        )
    outcome = _newest_test(acting_user, found)
    deadline = time.monotonic() + wait
    while outcome.attempts == 0 and time.monotonic() < deadline:
        time.sleep(0.5)
        outcome = _newest_test(acting_user, found)
    while outcome.status == "queued" and outcome.last_error is None and time.monotonic() < deadline:
        time.sleep(0.2)
        outcome = _newest_test(acting_user, found)
    _say(as_json, asdict(outcome), _told(outcome, found))
    if outcome.status != "sent":
        raise typer.Exit(1)


@notify_app.command()
def log(
    workspace: WorkspaceName,
    limit: Annotated[int, typer.Option(min=1, help="So many, newest first.")] = 20,
    acting_user: ActingUser = None,
    as_json: AsJson = False,
) -> None:
    """Show what the channels of a workspace were told, and what waits to be sent."""
    with acting(acting_user) as connection:
        found = workspaces.find_workspace(connection, workspace)
        names = {c.id: c.name for c in notifications.list_channels(connection, found.id)}
        rows = [
            {**asdict(row), "channel": names[row.channel_id], "message": row.payload["message"]}
            for row in notifications.list_notifications(connection, found.id, limit)
        ]
    if as_json:
        print_json(rows)
        return
    print_rows(rows, ("created_at", "channel", "event", "status", "attempts", "last_error", "message"))


def _find(connection: Any, workspace: str, channel: str) -> Channel:
    found = workspaces.find_workspace(connection, workspace)
    return notifications.find_channel(connection, found.id, channel)


def _set_enabled(
    workspace: str, channel: str, acting_user: str | None, as_json: bool, *, enabled: bool
) -> None:
    with acting(acting_user) as connection:
        found = _find(connection, workspace, channel)
        notifications.set_enabled(connection, found.workspace_id, found.id, enabled)
        changed = _find(connection, workspace, channel)
    _say(as_json, asdict(changed), f"The channel {found.name} is {'on' if enabled else 'paused'}.")


def _newest_test(acting_user: str | None, channel: Channel) -> Notification:
    with acting(acting_user) as connection:
        rows = notifications.list_notifications(connection, channel.workspace_id)
    return next(row for row in rows if row.event == "test" and row.channel_id == channel.id)


def _told(outcome: Notification, channel: Channel) -> str:
    if outcome.status == "sent":
        return f"{channel.target} took the test."
    if outcome.last_error:
        return f"{channel.target} did not take it: {outcome.last_error}"
    return "Nothing has tried to send it yet: does Dagster's daemon run (`casetrail status`)?"


def _say(as_json: bool, value: Mapping[str, Any], text: str) -> None:
    if as_json:
        print_json(value)
    else:
        typer.echo(text)
