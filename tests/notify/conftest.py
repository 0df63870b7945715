"""A workspace on a migrated database of its own, with channels to real receivers."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict
from pydantic import SecretStr

from orchestration.control_plane import database, jobs, notifications, workspaces
from orchestration.control_plane.migrate import migrate
from orchestration.control_plane.notifications import ChannelOptions, Notification
from orchestration.control_plane.users import ensure_operator
from orchestration.control_plane.workspaces import Workspace
from orchestration.notify import channels
from orchestration.services.postgres import Postgres
from orchestration.settings import Settings
from tests.notify.receivers import MailReceiver, WebhookReceiver, serving


@pytest.fixture(scope="module")
def settings(empty_database: Settings) -> Settings:
    migrate(empty_database.owner_dsn)
    ensure_operator(empty_database.owner_dsn, empty_database.operator)
    chosen = {
        "secret_key": SecretStr("k" * 32),
        "notify_internal_hosts": ["localhost"],
        "smtp_host": "localhost",
        "smtp_security": "none",
        "smtp_from": "casetrail@acme.test",
    }
    return empty_database.model_copy(update=chosen)


@pytest.fixture(scope="module")
def superuser(installation: Settings, settings: Settings) -> Iterator[psycopg.Connection[Any]]:
    """Bends the ledgers into the state that a test is about."""
    name = conninfo_to_dict(settings.owner_dsn.get_secret_value())["dbname"]
    dsn = Postgres(installation.home).admin_dsn(str(name)).get_secret_value()
    with psycopg.connect(dsn, autocommit=True) as connection:
        yield connection


@pytest.fixture
def web() -> Iterator[WebhookReceiver]:
    with serving(WebhookReceiver()) as receiver:
        yield receiver


@pytest.fixture
def post() -> Iterator[MailReceiver]:
    with serving(MailReceiver()) as receiver:
        yield receiver


@dataclass(frozen=True)
class Tenant:
    """A workspace whose standing job can be set to any state."""

    settings: Settings
    superuser: psycopg.Connection[Any]
    workspace: Workspace

    def add_webhook(self, url: str, **options: Any) -> str:
        """The signing key of a new channel."""
        with database.as_user(self.settings.app_dsn, self.settings.operator) as connection:
            chosen = ChannelOptions(**{"name": "hook", **options})
            return channels.add_webhook(connection, self.settings, self.workspace.id, url, chosen)[1]

    def add_email(self, address: str, **options: Any) -> None:
        with database.as_user(self.settings.app_dsn, self.settings.operator) as connection:
            channels.add_email(
                connection, self.workspace.id, address, ChannelOptions(**{"name": "mail", **options})
            )

    def job_is(self, status: str, message: str | None = None) -> None:
        """The standing job's last refresh is, or ended just now, like this."""
        with database.as_system(self.settings.system_dsn, self.workspace.id) as connection:
            job = jobs.standing_job(connection, self.workspace.id)
            started = jobs.start(connection, self.workspace.id, job.id)
            if status == "failed":
                jobs.fail(connection, self.workspace.id, job.id, started.attempt, message or "it broke")
            elif status == "succeeded":
                jobs.succeed(connection, self.workspace.id, job.id, started.attempt)

    def told(self) -> list[Notification]:
        """What the channels were told, oldest first."""
        with database.as_user(self.settings.app_dsn, self.settings.operator) as connection:
            return notifications.list_notifications(connection, self.workspace.id)[::-1]

    def time_passes(self) -> None:
        """What waits for its next attempt is due."""
        self.superuser.execute(
            "update notifications set next_attempt_at = now() where workspace_id = %s", (self.workspace.id,)
        )


@pytest.fixture
def tenant(settings: Settings, superuser: psycopg.Connection[Any]) -> Iterator[Tenant]:
    """A workspace of the test's own; its channels are gone afterwards, so that no other test's round serves them."""
    slug = f"t-{uuid4().hex[:12]}"
    with database.as_user(settings.app_dsn, settings.operator) as connection:
        made = workspaces.create_workspace(connection, slug, "EU", "pro", settings.operator, slug)
    yield Tenant(settings, superuser, made)
    superuser.execute("delete from notification_channels where workspace_id = %s", (made.id,))


@pytest.fixture
def queries(monkeypatch: pytest.MonkeyPatch) -> Callable[[], int]:
    """Counts the transactions that are opened from now on."""
    count = 0
    original = database.transaction

    def counted(dsn: Any) -> Any:
        nonlocal count
        count += 1
        return original(dsn)

    monkeypatch.setattr(database, "transaction", counted)
    return lambda: count
