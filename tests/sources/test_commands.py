"""``casetrail connector add``, ``set``, ``check``, ``discover``, ``enable``, ``disable`` and ``list``."""

import json
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from click.testing import Result
from typer.testing import CliRunner

from casetrail_testkit import SalesforceServer
from orchestration.cli import app, desk, source
from orchestration.cli import workspace as workspace_commands
from orchestration.control_plane import database, members
from orchestration.control_plane.workspaces import Workspace
from orchestration.settings import Settings
from tests.sources.conftest import EVENTS, PASSWORD, STREAM, Connect, SourceDatabase, state_of

T0 = datetime(2024, 3, 1, tzinfo=UTC)


@pytest.fixture(autouse=True)
def _installation(monkeypatch: pytest.MonkeyPatch, settings: Settings) -> None:
    for module in (source, desk, workspace_commands):
        monkeypatch.setattr(module, "load_settings", lambda: settings)


def run(*arguments: str, stdin: str | None = None) -> Result:
    result = CliRunner().invoke(app, ["connector", *arguments], input=stdin, env={"COLUMNS": "250"})
    assert PASSWORD not in result.output
    return result


def printed(result: Result) -> Any:
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def test_a_connector_from_nothing_to_disabled(
    workspace: Workspace, source_database: SourceDatabase, tmp_path: Path
) -> None:
    source_database.owner.execute(EVENTS)
    config = tmp_path / "orders.json"
    config.write_text(json.dumps(source_database.config()))
    secrets = json.dumps({"password": PASSWORD})
    made = printed(
        run(
            "add",
            workspace.slug,
            "postgres",
            "--config",
            str(config),
            "--secrets-stdin",
            "--json",
            stdin=secrets,
        )
    )
    assert (made["type"], made["name"], made["status"]) == ("postgres", "postgres", "connected")
    assert made["config"]["password"] == {"$secret": "password"}
    (table,) = printed(run("discover", workspace.slug, "postgres", "--json"))
    assert (table["name"], table["key"]) == ("public.events", ["id"])
    streams = json.dumps([STREAM])
    changed = printed(run("set", workspace.slug, "postgres", "--set", f"streams={streams}", "--json"))
    assert changed["config"]["streams"][0]["name"] == "events"
    assert "is connected. Streams: events." in run("check", workspace.slug, "postgres/postgres").output
    personal = json.dumps({"events": {"gone": "drop", "status": "pseudonym", "id": "keep"}})
    run("set", workspace.slug, "postgres", "--set", f"personal={personal}", "--json")
    checked = run("check", workspace.slug, "postgres")
    assert "Personal fields of events: gone (drop), status (pseudonym)." in checked.output
    hidden = printed(run("check", workspace.slug, "postgres", "--json"))["personal"]
    assert hidden == {"events": {"gone": "drop", "status": "pseudonym"}}
    (table,) = printed(run("discover", workspace.slug, "postgres", "--json"))
    assert table["personal"] == {}
    changed = printed(run("set", workspace.slug, "postgres", "--set", "personal={}", "--json"))
    source_database.add_events((1, "a", "new", T0, T0), (2, "a", "paid", None, T0))
    assert (
        "2 records in 1 pull(s): 1 landed, 0 non-event, 0 duplicate, 1 quarantined."
        in run("sync", workspace.slug, "postgres").output
    )
    again = printed(run("sync", workspace.slug, "postgres", "--json"))
    assert (again["pulls"], again["records"], again["landed"]) == ([], 0, 0)
    told = run("sync", workspace.slug, "postgres").output
    assert f"Nothing is new. `casetrail connector pulls {workspace.slug} postgres`" in told
    (pull,) = printed(run("pulls", workspace.slug, "postgres", "--json"))
    assert (pull["number"], pull["mapped"], pull["quarantined"], pull["superseded"]) == (1, 1, 1, 0)
    assert "nothing was done" in run("remap", workspace.slug, "postgres").output
    assert "in its configuration" in run("remap", workspace.slug, "postgres", "--set", "role=x").output
    assert printed(run("disable", workspace.slug, "postgres", "--json"))["status"] == "disabled"
    refused = run("sync", workspace.slug, "postgres")
    assert (refused.exit_code, "connector enable" in refused.output) == (2, True)
    assert "is disabled" in run("check", workspace.slug, "postgres").output
    assert "is connected" in run("enable", workspace.slug, "postgres").output
    (listed,) = printed(run("list", workspace.slug, "--json"))
    assert listed["config"] == changed["config"]
    assert "password=(set)" in run("list", workspace.slug).output


def test_a_secret_is_asked_for_and_never_an_argument(
    workspace: Workspace, source_database: SourceDatabase
) -> None:
    config = source_database.config()
    fields = [f"--set={name}={value}" for name, value in config.items() if name != "streams"]
    refused = run("add", workspace.slug, "postgres", *fields, "--set", "password=in-clear", stdin="")
    assert refused.exit_code == 2
    assert "password is a secret: give it when asked" in refused.output
    assert "in-clear" not in refused.output
    asked = run("add", workspace.slug, "postgres", *fields, stdin=f"{PASSWORD}\n")
    assert "postgres/postgres is connected" in asked.output
    referred = run(
        "add", workspace.slug, "postgres", "--name", "two", *fields, "--secret-ref", "password=env:HOME"
    )
    assert referred.exit_code == 1
    assert "is named CASETRAIL_SECRET_T_" in referred.output


def test_what_goes_wrong_is_told_and_noted(workspace: Workspace, source_database: SourceDatabase) -> None:
    fields = [
        f"--set={n}={v}" for n, v in source_database.config(database="nowhere").items() if n != "streams"
    ]
    failed = run("add", workspace.slug, "postgres", *fields, stdin="not-it\n")
    assert failed.exit_code == 1
    assert "postgres/postgres is error" in failed.output
    assert "The database refuses" in failed.output
    assert f"`casetrail connector check {workspace.slug} postgres` lets it be synced again" in failed.output
    nobody = [field for field in fields if not field.startswith("--set=port=")]
    rests = run(
        "add", workspace.slug, "postgres", "--name", "other", *nobody, "--set=port=1", stdin="not-it\n"
    )
    assert (rests.exit_code, "postgres/other is disabled" in rests.output) == (1, True)
    assert f"`casetrail connector enable {workspace.slug} other` lets it be synced" in rests.output
    assert "not-it" not in failed.output
    unknown = run("check", workspace.slug, "crm")
    assert (
        "no connector to be pulled from called crm. There are: postgres/other, postgres/postgres."
        in " ".join(unknown.output.split())
    )
    assert "There is no connector type nosuch" in run("add", workspace.slug, "nosuch").output
    assert "takes FIELD=VALUE" in run("set", workspace.slug, "postgres", "--set", PASSWORD).output


def test_only_admins_reach_a_source(
    settings: Settings, workspace: Workspace, source_database: SourceDatabase
) -> None:
    fields = [f"--set={n}={v}" for n, v in source_database.config().items() if n != "streams"]
    assert run("add", workspace.slug, "postgres", *fields, stdin=f"{PASSWORD}\n").exit_code == 0
    with database.as_user(settings.app_dsn, settings.operator) as connection:
        members.set_member(connection, workspace.id, "lea@acme.test", "analyst")
    for command in ("check", "discover", "enable", "disable", "set"):
        refused = run(command, workspace.slug, "postgres", "--as", "lea@acme.test")
        assert (refused.exit_code, "only an admin" in refused.output) == (1, True)
    refused = run(
        "add", workspace.slug, "postgres", "--name", "other", *fields, "--as", "lea@acme.test", stdin="p4ss\n"
    )
    assert (refused.exit_code, "may not" in refused.output) == (1, True)


def test_another_cadence_holds_from_the_next_sync_on(
    settings: Settings, workspace: Workspace, connect: Connect, source_database: SourceDatabase
) -> None:
    source_database.owner.execute(EVENTS)
    connector = connect(every_minutes=10_000)
    run("sync", workspace.slug, "orders")
    late = state_of(settings, connector).next_sync_at
    run("set", workspace.slug, "orders", "--set", "lag_seconds=5")
    assert state_of(settings, connector).next_sync_at == late
    run("set", workspace.slug, "orders", "--set", "every_minutes=1")
    early = state_of(settings, connector).next_sync_at
    assert early is not None
    assert early <= datetime.now(UTC) + timedelta(minutes=1)
    run("set", workspace.slug, "orders", "--set", "every_minutes=10000")
    assert state_of(settings, connector).next_sync_at == early


def test_a_sync_waits_for_the_one_that_is_under_way(
    settings: Settings,
    workspace: Workspace,
    connect: Connect,
    source_database: SourceDatabase,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    source_database.owner.execute(EVENTS)
    connector, waits = connect(), ExitStack()
    waits.enter_context(database.connector_lock(settings.system_dsn, connector.id))
    monkeypatch.setattr(source, "time", SimpleNamespace(sleep=lambda _seconds: waits.close()))
    told = run("sync", workspace.slug, "orders")
    assert (told.exit_code, "waiting for that to end" in told.output) == (0, True)
    assert state_of(settings, connector).last_sync_at is not None


def test_of_two_ways_in_a_person_gives_the_secret_of_one(workspace: Workspace) -> None:
    with SalesforceServer() as org:
        fields = [
            f"--set=url={org.url}",
            f"--set=client_id={org.sessions.consumer_key}",
            '--set=streams=["Lead"]',
        ]
        made = run("add", workspace.slug, "salesforce", *fields, stdin=f"{org.sessions.consumer_secret}\n\n")
        assert "salesforce/salesforce is connected. Streams: Lead." in made.output
        shown = run("discover", workspace.slug, "salesforce").output
    assert "Personal fields of Lead: Email (email)." in made.output
    assert "Personal fields of Case" not in made.output
    (lead,) = (line for line in shown.splitlines() if line.split()[:1] == ["Lead"])
    assert "FirstName (drop)" in lead
    assert "AssistantName" not in lead, "a field that this org does not have"
    listed = run("list", workspace.slug).output
    assert "client_secret=(set)" in listed
    assert org.sessions.consumer_secret not in made.output + shown + listed
