"""Another key: everything that is sealed is under it afterwards, wherever it is stopped, and nothing is lost."""

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from click.testing import Result
from pydantic import SecretStr
from typer.testing import CliRunner

from orchestration.cli import app
from orchestration.control_plane import connector_secrets, connectors, database, notifications, workspaces
from orchestration.control_plane.notifications import ChannelOptions
from orchestration.control_plane.resealing import SEALED_TABLES, Resealed, count_old, reseal
from orchestration.control_plane.sealing import Keys, SealBroken, seal, unseal
from orchestration.control_plane.workspace_keys import workspace_key
from orchestration.control_plane.workspaces import Workspace
from orchestration.services.secret_key import SecretKeyFile
from orchestration.services.stack import Stack
from orchestration.settings import Installation, Settings, load_settings
from tests.house.repository import PROJECT

OLD, NEW, LOST = (SecretStr(letter * 32) for letter in "onl")
NAMES = ("password", "token")


@dataclass(frozen=True)
class Sealed:
    """A workspace with one value of each kind, but for two of its connector's, sealed with a key."""

    workspace: Workspace
    connector_id: str
    channel_id: str
    key: bytes

    def open(self, settings: Settings, keys: Keys) -> list[str]:
        with database.as_system(settings.system_dsn, self.workspace.id) as connection:
            values = connector_secrets.open_secrets(connection, keys, self.workspace.id, self.connector_id)
            sealed = notifications.sealed_secret(connection, self.workspace.id, self.channel_id) or b""
            place = f"notification_secrets/{self.workspace.id}/{self.channel_id}"
            assert workspace_key(connection, keys, self.workspace.id) == self.key
            return [
                *(values[name].get_secret_value() for name in NAMES),
                unseal(keys, place, sealed).get_secret_value(),
            ]

    def reseal(self, settings: Settings, *keys: SecretStr) -> Resealed:
        with database.as_system(settings.system_dsn, self.workspace.id) as connection:
            return reseal(connection, keys, self.workspace.id)

    def count_old(self, settings: Settings, *keys: SecretStr) -> int:
        with database.as_system(settings.system_dsn, self.workspace.id) as connection:
            return count_old(connection, keys, self.workspace.id)


VALUES = ["s3cret password", "s3cret token", "s3cret url"]


def filled(settings: Settings, keys: Keys) -> Sealed:
    channel_id = str(uuid4())
    with database.as_user(settings.app_dsn, settings.operator) as connection:
        made = workspaces.create_workspace(connection, f"W {uuid4().hex}", "EU", "pro", settings.operator)
        connector = connectors.add_connector(connection, made.id, "postgres", "orders", {})
        secrets = dict(zip(NAMES, map(SecretStr, VALUES), strict=False))
        connector_secrets.put_secrets(connection, keys, made.id, connector.id, secrets)
        notifications.add_channel(
            connection,
            made.id,
            ChannelOptions("hook", ["failure"]),
            kind="webhook",
            target="https://example.org",
            channel_id=channel_id,
            sealed=seal(keys, f"notification_secrets/{made.id}/{channel_id}", VALUES[-1]),
        )
    with database.as_system(settings.system_dsn, made.id) as connection:
        return Sealed(made, connector.id, channel_id, workspace_key(connection, keys, made.id))


@pytest.fixture(autouse=True)
def _nothing_of_other_tests(superuser: psycopg.Connection[Any]) -> None:
    for table in SEALED_TABLES:
        superuser.execute(psycopg.sql.SQL("delete from {}").format(psycopg.sql.Identifier(table)))
    superuser.commit()


def test_every_table_with_sealed_values_is_known(superuser: psycopg.Connection[Any]) -> None:
    rows = superuser.execute(
        "select table_name from information_schema.columns where column_name = 'sealed'"
        " and table_schema = 'public'"
    ).fetchall()
    assert {table for (table,) in rows} == set(SEALED_TABLES)


def test_all_is_under_the_new_key_and_opens_as_before(control_plane: Settings) -> None:
    tenant, other = filled(control_plane, [OLD]), filled(control_plane, [OLD])
    assert tenant.count_old(control_plane, NEW, OLD) == 4
    assert tenant.reseal(control_plane, NEW, OLD) == Resealed(4, 0, ())
    assert tenant.open(control_plane, [NEW]) == VALUES
    with pytest.raises(SealBroken):
        tenant.open(control_plane, [OLD])
    assert tenant.reseal(control_plane, NEW, OLD) == Resealed(0, 4, ())
    assert tenant.count_old(control_plane, NEW) == 0
    assert other.open(control_plane, [OLD]) == VALUES


def test_what_no_key_opens_stays_and_is_named(control_plane: Settings) -> None:
    tenant = filled(control_plane, [OLD])
    with database.as_user(control_plane.app_dsn, control_plane.operator) as connection:
        connector_secrets.put_secrets(
            connection, [LOST], tenant.workspace.id, tenant.connector_id, {"token": SecretStr(VALUES[1])}
        )
    place = f"connector_secrets/{tenant.workspace.id}/{tenant.connector_id}/token"
    assert tenant.reseal(control_plane, NEW, OLD) == Resealed(3, 0, (place,))
    assert tenant.reseal(control_plane, NEW, LOST) == Resealed(1, 3, ())
    assert tenant.open(control_plane, [NEW]) == VALUES


class Home:
    """An installation that has made its key itself, on the database of these tests."""

    def __init__(self, folder: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
        self.installation = Installation(home=folder)
        shown = {
            name: value.get_secret_value() if isinstance(value, SecretStr) else value
            for name, value in settings.model_dump(exclude={"home", "old_secret_keys", "secret_key"}).items()
        }
        shown |= SecretKeyFile(folder).keys().endpoints()
        self.installation.endpoints_file.write_text(json.dumps(shown, default=str))
        monkeypatch.setenv("CASETRAIL_HOME", str(folder))

    @property
    def keys(self) -> tuple[SecretStr, ...]:
        return load_settings().secret_keys

    def run(self, command: str, *options: str) -> Result:
        result = CliRunner().invoke(app, ["key", command, *options])
        assert not any(key.get_secret_value() in result.output for key in self.keys)
        return result


@pytest.fixture
def home(tmp_path: Path, control_plane: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[Home]:
    return Home(tmp_path, control_plane, monkeypatch)


def test_an_installation_exchanges_the_key_that_it_has_made(home: Home, control_plane: Settings) -> None:
    (before,) = home.keys
    tenants = [filled(control_plane, [before]) for _ in range(2)]
    rotated = json.loads(home.run("rotate", "--json").stdout)
    assert (rotated["resealed"], rotated["current"], rotated["unreadable"]) == (8, 0, [])
    after, old = home.keys
    assert (old, after != before) == (before, True)
    # Again: no third key.
    assert "0 secrets sealed anew, 8 were so already" in home.run("rotate").output
    assert json.loads(home.run("status", "--json").stdout) == {"keys": 2, "old": 0}
    assert "Only the newest" in home.run("forget").output
    assert home.keys == (after,)
    assert SecretKeyFile(home.installation.home).keys().old_secret_keys == []
    assert all(tenant.open(control_plane, [after]) == VALUES for tenant in tenants)


def test_an_old_key_is_not_forgotten_while_something_needs_it(home: Home, control_plane: Settings) -> None:
    (before,) = home.keys
    home.run("rotate")
    tenant = filled(control_plane, [before])  # by a process that began before
    refused = home.run("forget")
    assert (refused.exit_code, "4 stored secret(s) are not under the newest key" in refused.output) == (
        2,
        True,
    )
    assert home.run("rotate").exit_code == home.run("forget").exit_code == 0
    assert tenant.open(control_plane, home.keys) == VALUES


def test_an_exchange_that_dies_between_its_files_goes_on_with_the_same_key(
    home: Home, control_plane: Settings
) -> None:
    (before,) = home.keys
    tenant = filled(control_plane, [before])
    begun = Stack(home.installation).key_file.begin_exchange()
    assert home.keys == (before,)
    assert home.run("forget").exit_code == 2
    assert home.run("rotate").exit_code == 0
    assert [key.get_secret_value() for key in home.keys] == [begun.secret_key, before.get_secret_value()]
    assert tenant.open(control_plane, home.keys[:1]) == VALUES


DIES = """
import os, signal
from orchestration.cli import app
from orchestration.control_plane import resealing

seal, sealed = resealing.seal, []

def dying(*arguments):
    sealed.append(1)
    if len(sealed) == 7:
        os.kill(os.getpid(), signal.SIGKILL)
    return seal(*arguments)

resealing.seal = dying
app(["key", "rotate"])
"""


def test_an_exchange_that_is_killed_is_finished_by_the_next(home: Home, control_plane: Settings) -> None:
    (before,) = home.keys
    tenants = [filled(control_plane, [before]) for _ in range(3)]
    killed = subprocess.run(
        [sys.executable, "-c", DIES], cwd=PROJECT, capture_output=True, timeout=60, check=False
    )
    assert killed.returncode == -9
    # One workspace is through, the next is as it was.
    assert sorted(tenant.count_old(control_plane, *home.keys) for tenant in tenants) == [0, 4, 4]
    assert all(tenant.open(control_plane, home.keys) == VALUES for tenant in tenants)
    rotated = json.loads(home.run("rotate", "--json").stdout)
    assert (rotated["resealed"], rotated["current"]) == (8, 4)
    assert all(tenant.open(control_plane, home.keys[:1]) == VALUES for tenant in tenants)


def test_a_key_that_the_operator_has_set_is_theirs_to_exchange(
    home: Home, control_plane: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    tenant = filled(control_plane, [OLD])
    monkeypatch.setenv("CASETRAIL_SECRET_KEY", NEW.get_secret_value())
    lost = home.run("rotate")
    assert lost.exit_code == 1
    assert "4 stored secret(s) open with none of the 1 key(s)" in lost.output
    assert "CASETRAIL_OLD_SECRET_KEYS" in lost.output
    monkeypatch.setenv("CASETRAIL_OLD_SECRET_KEYS", json.dumps([OLD.get_secret_value()]))
    assert home.run("rotate").exit_code == 0
    told = home.run("forget")
    assert (told.exit_code, "take CASETRAIL_OLD_SECRET_KEYS out" in told.output) == (2, True)
    monkeypatch.delenv("CASETRAIL_OLD_SECRET_KEYS")
    assert home.run("forget").exit_code == 0
    assert tenant.open(control_plane, [NEW]) == VALUES
