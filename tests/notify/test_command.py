"""``casetrail notify``: channels by name, the key shown once, the log of what was told."""

import json
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from click.testing import Result
from typer.testing import CliRunner

from orchestration.cli import notify, workspace
from orchestration.cli.notify import notify_app
from orchestration.notify.rounds import run_round
from tests.notify.conftest import Tenant
from tests.notify.receivers import WebhookReceiver


@pytest.fixture(autouse=True)
def _commands_use_this_database(monkeypatch: pytest.MonkeyPatch, tenant: Tenant) -> None:
    monkeypatch.setattr(workspace, "load_settings", lambda: tenant.settings)
    monkeypatch.setattr(notify, "load_settings", lambda: tenant.settings)


@pytest.fixture
def daemon(tenant: Tenant) -> Iterator[None]:
    """Does rounds, as the sensor does, while a command waits."""
    over = threading.Event()

    def rounds() -> None:
        while not over.wait(0.1):
            run_round(tenant.settings)

    thread = threading.Thread(target=rounds)
    thread.start()
    yield
    over.set()
    thread.join()


def run(*arguments: str) -> Result:
    return CliRunner().invoke(notify_app, list(arguments), env={"COLUMNS": "250"})


def printed(*arguments: str) -> Any:
    result = run(*arguments, "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def test_add_shows_the_key_once_and_list_shows_no_secret(tenant: Tenant) -> None:
    slug = tenant.workspace.slug
    made = printed("add", slug, "--webhook", "https://hooks.example.com/T0/s3cret", "--stale-after", "5")
    assert made["signing_key"].startswith("whsec_")
    run("add", slug, "--email", "Data@Acme.test", "--event", "recovered", "--event", "failure")
    listed = {row["name"]: row for row in printed("list", slug)}
    assert listed["webhook"]["target"] == "https://hooks.example.com:443/…"
    assert listed["webhook"]["stale_after_seconds"] == 300
    assert listed["email"]["target"] == "data@acme.test"
    assert listed["email"]["events"] == ["failure", "recovered"]
    shown = run("list", slug).output + json.dumps(listed)
    assert "https://hooks.example.com:443/…" in shown
    assert "s3cret" not in shown
    assert made["signing_key"] not in shown


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ((), "either --webhook URL or --email ADDRESS"),
        (("--webhook", "https://a.test/", "--email", "a@b.test"), "either --webhook URL or --email ADDRESS"),
        (("--webhook", "http://a.test/"), "https"),
        (("--email", "a@b.test, c@d.test"), "no e-mail address"),
        (("--email", "<a@b.test>"), "one plain e-mail address"),
        (("--email", "a@b.test", "--event", "boom"), "failure, stale, connector_error, recovered"),
    ],
)
def test_unusable_input_is_told_and_nothing_is_made(
    tenant: Tenant, arguments: tuple[str, ...], told: str
) -> None:
    result = run("add", tenant.workspace.slug, *arguments)
    assert result.exit_code == 2
    assert told in result.stderr
    assert printed("list", tenant.workspace.slug) == []


def test_a_second_channel_of_a_kind_needs_a_name(tenant: Tenant) -> None:
    slug = tenant.workspace.slug
    printed("add", slug, "--email", "a@b.test")
    assert "--name" in run("add", slug, "--email", "c@d.test").stderr
    printed("add", slug, "--email", "c@d.test", "--name", "boss")
    assert run("remove", slug, "email").exit_code == 0
    assert [row["name"] for row in printed("list", slug)] == ["boss"]
    assert "There are: boss." in run("remove", slug, "email").stderr


@pytest.mark.usefixtures("daemon")
def test_a_test_tells_whether_the_receiver_took_it(tenant: Tenant, web: WebhookReceiver) -> None:
    slug = tenant.workspace.slug
    key = printed("add", slug, "--webhook", web.url)["signing_key"]
    assert printed("test", slug, "webhook")["status"] == "sent"
    assert web.is_signed_with(key)
    assert [body["type"] for body in web.bodies()] == ["test"]
    web.answers = [403]
    refused = run("test", slug, "webhook")
    assert refused.exit_code == 1
    assert "The receiver answered 403." in refused.output
    log = printed("log", slug)
    assert [(row["event"], row["status"], row["channel"]) for row in log] == [
        ("test", "queued", "webhook"),
        ("test", "sent", "webhook"),
    ]
    assert "403" in run("log", slug).output


def test_a_test_that_nobody_sends_says_so(tenant: Tenant) -> None:
    printed("add", tenant.workspace.slug, "--email", "a@b.test")
    began = time.monotonic()
    result = run("test", tenant.workspace.slug, "email", "--wait", "1")
    assert time.monotonic() - began < 10
    assert (result.exit_code, "daemon" in result.output) == (1, True)


def test_pause_and_resume(tenant: Tenant, web: WebhookReceiver) -> None:
    slug = tenant.workspace.slug
    printed("add", slug, "--webhook", web.url)
    assert printed("pause", slug, "webhook")["enabled"] is False
    assert "paused" in run("list", slug).output
    tenant.job_is("failed")
    run_round(tenant.settings)
    assert web.requests == []
    assert printed("resume", slug, "webhook")["enabled"] is True
    run_round(tenant.settings)
    assert len(web.requests) == 1


def test_only_an_admin_may(tenant: Tenant) -> None:
    tenant.superuser.execute(
        "insert into users (email, name) values ('vic@acme.test', 'Vic') on conflict do nothing"
    )
    tenant.superuser.execute(
        "insert into workspace_members select %s, id, 'analyst' from users where email = 'vic@acme.test'",
        (tenant.workspace.id,),
    )
    slug = tenant.workspace.slug
    printed("add", slug, "--email", "a@b.test")
    for arguments in (("add", slug, "--email", "c@d.test", "--name", "other"), ("remove", slug, "email")):
        refused = run(*arguments, "--as", "vic@acme.test")
        assert refused.exit_code == 1
        assert "admin" in refused.stderr
    assert run("list", slug, "--as", "vic@acme.test").exit_code == 0
