"""A connector's status is true, its secrets are sealed and stay out of everything that is written down."""

import logging
from typing import Any

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict
from pydantic import SecretStr

from orchestration.control_plane import connector_secrets, connectors, database
from orchestration.control_plane.connectors import Connector, ConnectorTaken
from orchestration.control_plane.errors import InvalidInput
from orchestration.control_plane.workspaces import Workspace
from orchestration.services.postgres import Postgres
from orchestration.settings import Settings
from orchestration.sources.errors import ConfigurationError, TransientError
from orchestration.sources.types import postgres
from orchestration.stages.source_access import (
    UnexpectedFailure,
    change_source,
    check_source,
    discover_source,
    using_source,
)
from tests.sources.conftest import EVENTS, PASSWORD, Connect, SourceDatabase, state_of


def change(settings: Settings, connector: Connector, values: dict[str, Any], **secrets: str) -> Connector:
    with database.as_user(settings.app_dsn, settings.operator) as connection:
        change_source(connection, settings, connector, values, {k: SecretStr(v) for k, v in secrets.items()})
    return state_of(settings, connector)


def test_a_connector_is_disabled_until_it_is_checked(
    settings: Settings, workspace: Workspace, connect: Connect, source_database: SourceDatabase
) -> None:
    made = connect(check=False)
    assert (made.status, made.message) == ("disabled", "It was not checked yet.")
    # A check alone enables nothing.
    source_database.owner.execute(EVENTS)
    assert [check.stream for check in check_source(settings, workspace, made)] == ["events"]
    assert state_of(settings, made).status == "disabled"
    check_source(settings, workspace, made, enable=True)
    assert (state_of(settings, made).status, state_of(settings, made).message) == ("connected", None)
    with pytest.raises(ConnectorTaken):
        connect(check=False)


def test_the_status_follows_each_check(
    settings: Settings, workspace: Workspace, connect: Connect, source_database: SourceDatabase
) -> None:
    source_database.owner.execute(EVENTS)
    made = connect()
    source_database.owner.execute("alter table events rename to other")
    with pytest.raises(ConfigurationError, match=r'events: relation "public\.events" does not exist'):
        check_source(settings, workspace, made)
    assert (state_of(settings, made).status, "does not exist" in str(state_of(settings, made).message)) == (
        "error",
        True,
    )
    source_database.owner.execute("alter table other rename to events")
    check_source(settings, workspace, made)
    assert (state_of(settings, made).status, state_of(settings, made).message) == ("connected", None)
    # What may be gone the next time is told, and is no error.
    moved = change(settings, made, {"port": 1}, password=PASSWORD)
    with pytest.raises(TransientError):
        check_source(settings, workspace, moved)
    after = state_of(settings, made)
    assert (after.status, "cannot be reached" in str(after.message)) == ("connected", True)
    with database.as_user(settings.app_dsn, settings.operator) as connection:
        connectors.set_status(connection, workspace.id, made.id, "disabled")
    change(settings, moved, {"port": source_database.port, "database": "nowhere"}, password=PASSWORD)
    with pytest.raises(ConfigurationError):
        check_source(settings, workspace, state_of(settings, made))
    assert state_of(settings, made).status == "disabled"


def test_a_changed_connector_keeps_its_secret_unless_it_would_go_elsewhere(
    settings: Settings, workspace: Workspace, connect: Connect, source_database: SourceDatabase
) -> None:
    source_database.owner.execute(EVENTS)
    made = connect()
    changed = change(settings, made, {"every_minutes": 5})
    assert changed.config["every_minutes"] == 5
    assert check_source(settings, workspace, changed)
    with pytest.raises(InvalidInput, match="With another host the secret password must be given again"):
        change(settings, changed, {"host": "attacker.example.com"})
    with pytest.raises(InvalidInput, match="With another port"):
        change(settings, changed, {"port": 9}, other="x")
    assert state_of(settings, made).config["host"] == source_database.host
    referred = change(settings, changed, {"password": {"$ref": "file:db"}})
    with database.as_system(settings.system_dsn, workspace.id) as connection:
        assert connector_secrets.set_secrets(connection, workspace.id, made.id) == {}
    assert settings.secrets_folder is not None
    folder = settings.secrets_folder / workspace.slug
    folder.mkdir(parents=True)
    (folder / "db").write_text(PASSWORD)
    assert check_source(settings, workspace, referred)


def test_a_seal_opens_in_its_own_row_only(
    settings: Settings, installation: Settings, workspace: Workspace, connect: Connect
) -> None:
    made = connect(check=False)
    with database.as_user(settings.app_dsn, settings.operator) as connection:
        other = connectors.add_connector(connection, workspace.id, "postgres", "other", made.config)
    name = conninfo_to_dict(settings.owner_dsn.get_secret_value())["dbname"]
    with psycopg.connect(Postgres(installation.home).admin_dsn(str(name)).get_secret_value()) as superuser:
        superuser.execute(
            "insert into connector_secrets select workspace_id, %s, name, sealed from connector_secrets"
            " where connector_id = %s",
            (other.id, made.id),
        )
    with pytest.raises(ConfigurationError, match="cannot be opened"):
        discover_source(settings, workspace, other)
    discover_source(settings, workspace, made)


def test_a_host_inside_is_refused_unless_the_operator_names_it(
    settings: Settings, workspace: Workspace, connect: Connect
) -> None:
    made = connect(check=False, sslmode="require")
    strict = settings.model_copy(update={"connector_internal_hosts": []})
    with pytest.raises(ConfigurationError, match="is an internal address"):
        check_source(strict, workspace, made, enable=True)
    assert state_of(settings, made).status == "error"


def test_secrets_are_in_no_table_log_or_exception(
    settings: Settings,
    installation: Settings,
    workspace: Workspace,
    connect: Connect,
    source_database: SourceDatabase,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    source_database.owner.execute(EVENTS)
    made = connect()
    told = []
    with caplog.at_level(logging.DEBUG):
        for password in (PASSWORD, "wrong-" + PASSWORD):
            changed = change(settings, made, {"port": source_database.port}, password=password)
            try:
                check_source(settings, workspace, changed)
            except ConfigurationError as error:
                told.append(str(error))

        def broken(config: Any, _context: Any) -> Any:
            logging.getLogger("a.library").debug("opening %s", config.password.get_secret_value())
            raise ValueError(f"cannot use {config.password.get_secret_value()}")

        monkeypatch.setattr(postgres, "check", broken)
        with pytest.raises(UnexpectedFailure) as caught:
            check_source(settings, workspace, changed)
        told.append(str(caught.value))
    assert len(told) == 2
    assert "ValueError: cannot use [secret]" in told[1]
    assert "opening [secret]" in caplog.text
    assert PASSWORD not in "".join(told) + caplog.text
    assert PASSWORD.encode() not in dump(settings, installation)
    with using_source(settings, workspace, changed) as source:
        assert PASSWORD not in repr(source.config)


def dump(settings: Settings, installation: Settings) -> bytes:
    """Every row of every table of the control plane."""
    name = conninfo_to_dict(settings.owner_dsn.get_secret_value())["dbname"]
    with psycopg.connect(Postgres(installation.home).admin_dsn(str(name)).get_secret_value()) as superuser:
        tables = superuser.execute("select tablename from pg_tables where schemaname = 'public'").fetchall()
        content = b""
        for (table,) in tables:
            with superuser.cursor().copy(
                psycopg.sql.SQL("copy {} to stdout (format binary)").format(psycopg.sql.Identifier(table))
            ) as copy:
                content += b"".join(map(bytes, copy))
    return content
