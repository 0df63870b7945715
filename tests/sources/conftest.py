"""A workspace, and a second database on the embedded server that its connectors pull from."""

import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict
from pydantic import SecretStr

from casetrail_testkit import Clock, MarketoServer
from orchestration.control_plane import connectors, database, workspaces
from orchestration.control_plane.connectors import Connector
from orchestration.control_plane.workspaces import Workspace
from orchestration.services.postgres import Postgres, create_database, drop_database
from orchestration.settings import Settings
from orchestration.sources.types.marketo.subscription import Subscription
from orchestration.stages.source_access import add_source, check_source
from tests.sources.marketo_puller import NOON, Make, Puller, config_of

PASSWORD = "canary-9f2c/7:p@ss"

EVENTS = """
create table events (
    id bigint primary key, order_id text, status text, at timestamptz, changed timestamptz, gone boolean default false
)
"""
STREAM: dict[str, Any] = {
    "name": "events",
    "table": "public.events",
    "key": ["id"],
    "cursor": "changed",
    "deleted": "gone",
    "events": {"case_id": "order_id", "activity": "status", "timestamp": "at"},
}


@dataclass(frozen=True)
class SourceDatabase:
    """A database of somebody else, whose owner works in ``owner`` and whose user ``reader`` may read."""

    owner: psycopg.Connection[Any]
    host: str
    port: int
    database: str
    user: str

    def config(self, *streams: dict[str, Any], **changes: Any) -> dict[str, Any]:
        """The configuration of a connector to it, without the password."""
        return {
            "host": self.host,
            "port": self.port,
            "database": self.database,
            "user": self.user,
            "sslmode": "disable",
            "lag_seconds": 0,
            "streams": list(streams),
            **changes,
        }

    def add_events(self, *rows: tuple[Any, ...]) -> None:
        """Rows of (id, order, status, at, changed)."""
        for row in rows:
            self.owner.execute(
                "insert into events (id, order_id, status, at, changed) values (%s, %s, %s, %s, %s)", row
            )


@contextmanager
def opened_database(installation: Settings) -> Iterator[SourceDatabase]:
    """A new one, which is gone afterwards."""
    server, name = Postgres(installation.home), f"source_{uuid.uuid4().hex}"
    create_database(server.admin_dsn(), name)
    parts = conninfo_to_dict(server.admin_dsn(name).get_secret_value())
    with psycopg.connect(server.admin_dsn(name).get_secret_value(), autocommit=True) as owner:
        user = sql.Identifier(name)
        owner.execute(sql.SQL("create role {} login password {}").format(user, sql.Literal(PASSWORD)))
        owner.execute(sql.SQL("grant connect on database {} to {}").format(user, user))
        owner.execute(sql.SQL("grant usage on schema public to {}").format(user))
        owner.execute(sql.SQL("alter default privileges grant select on tables to {}").format(user))
        yield SourceDatabase(owner, str(parts["host"]), int(str(parts["port"])), name, name)
    drop_database(server.admin_dsn(), name)
    with psycopg.connect(server.admin_dsn().get_secret_value(), autocommit=True) as owner:
        owner.execute(sql.SQL("drop role {}").format(sql.Identifier(name)))


@pytest.fixture
def source_database(installation: Settings) -> Iterator[SourceDatabase]:
    with opened_database(installation) as source:
        yield source


@pytest.fixture(scope="session")
def settings(installation: Settings) -> Settings:
    """The installation's, whose operator lets connectors reach the machine itself."""
    return installation.model_copy(
        update={
            "connector_internal_hosts": ["localhost", "127.0.0.1"],
            "secret_key": SecretStr("k" * 32),
            "secrets_folder": installation.home / "secrets",
        }
    )


@pytest.fixture
def workspace(settings: Settings) -> Workspace:
    slug = f"t-{uuid4().hex[:12]}"
    with database.as_user(settings.app_dsn, settings.operator) as connection:
        return workspaces.create_workspace(connection, slug, "EU", "pro", settings.operator, slug)


Connect = Callable[..., Connector]


@pytest.fixture
def connect(settings: Settings, workspace: Workspace, source_database: SourceDatabase) -> Connect:
    """Adds a connector to the source database, checks it, and gives it as it is then."""

    def add(*streams: dict[str, Any], check: bool = True, **changes: Any) -> Connector:
        config = source_database.config(*(streams or (STREAM,)), **changes)
        secrets = {"password": SecretStr(PASSWORD)}
        with database.as_user(settings.app_dsn, settings.operator) as connection:
            made = add_source(connection, settings, workspace.id, "postgres", "orders", config, secrets)
        if check:
            check_source(settings, workspace, made, enable=True)
        return state_of(settings, made)

    return add


@pytest.fixture
def marketo(monkeypatch: pytest.MonkeyPatch) -> Iterator[MarketoServer]:
    """A subscription whose clock stands, but for the pauses of its client."""
    with MarketoServer(clock=Clock(NOON)) as server:
        # Else the window of 20 seconds would never end.
        server.limits.calls_in_window = 100_000
        monkeypatch.setattr(Subscription, "pause", lambda _self, seconds: server.clock.advance(seconds))
        yield server
        assert server.failures == []


@pytest.fixture
def make(marketo: MarketoServer, tmp_path: Path) -> Make:
    return lambda **changes: Puller(marketo, tmp_path, config_of(marketo, **changes))


def state_of(settings: Settings, connector: Connector) -> Connector:
    """The connector as it is now."""
    with database.as_system(settings.system_dsn, connector.workspace_id) as connection:
        return connectors.get_connector(connection, connector.workspace_id, connector.id)
