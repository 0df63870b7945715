"""From a trouble in the ledgers to the receiver, over real sockets: once, in order, signed, retried, told when over."""

import time
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest
from pydantic import SecretStr

from orchestration.control_plane import connectors, database, notifications
from orchestration.control_plane.notifications import ChannelOptions
from orchestration.notify import channels, outbox
from orchestration.notify.rounds import report_failure, run_round
from orchestration.notify.targets import TargetRefused
from tests.notify.conftest import Tenant
from tests.notify.receivers import MailReceiver, WebhookReceiver, certified, serving


def events(web: WebhookReceiver) -> list[str]:
    return [body["type"] for body in web.bodies()]


def test_a_failure_is_told_once_over_all_its_retries_and_then_that_it_is_over(
    tenant: Tenant, web: WebhookReceiver
) -> None:
    key = tenant.add_webhook(web.url)
    for _attempt in range(3):
        tenant.job_is("failed", "a column is missing")
        run_round(tenant.settings)
        tenant.job_is("running")
        run_round(tenant.settings)
    assert events(web) == ["failure"]
    assert web.is_signed_with(key)
    (body,) = web.bodies()
    assert body["data"]["message"] == "a column is missing"
    assert body["data"]["workspace"] == tenant.workspace.slug
    assert body["id"] == web.requests[0][0]["webhook-id"] == tenant.told()[0].id
    tenant.job_is("succeeded")
    for _ in range(3):
        run_round(tenant.settings)
    assert events(web) == ["failure", "recovered"]
    assert web.bodies()[1]["data"]["details"] == {"recovered_from": "failure", "notification": body["id"]}


def test_a_failed_run_is_told_although_the_next_attempt_has_begun(
    tenant: Tenant, web: WebhookReceiver
) -> None:
    tenant.add_webhook(web.url)
    tenant.job_is("running")
    for _ in range(2):
        report_failure(tenant.settings, tenant.workspace.id, "its process was killed")
        run_round(tenant.settings)
    assert [body["data"]["message"] for body in web.bodies()] == ["its process was killed"]


def test_records_that_wait_too_long_for_their_release_are_told(tenant: Tenant, web: WebhookReceiver) -> None:
    tenant.add_webhook(web.url, stale_after_seconds=600)
    change = (
        "update planner_marks set plan_subject = 'p', stale_since = now() - make_interval(mins => %s)"
        " where workspace_id = %s"
    )
    tenant.superuser.execute(change, (9, tenant.workspace.id))
    run_round(tenant.settings)
    assert events(web) == []
    tenant.superuser.execute(change, (11, tenant.workspace.id))
    run_round(tenant.settings)
    tenant.superuser.execute(
        "update planner_marks set plan_subject = null, stale_since = null, planned = changed"
        " where workspace_id = %s",
        (tenant.workspace.id,),
    )
    run_round(tenant.settings)
    assert events(web) == ["stale", "recovered"]


def test_an_arrival_that_nobody_plans_for_is_told_although_the_planner_is_silent(
    tenant: Tenant, web: WebhookReceiver
) -> None:
    tenant.add_webhook(web.url, stale_after_seconds=600)
    with database.as_user(tenant.settings.app_dsn, tenant.settings.operator) as connection:
        made = connectors.ensure_connector(connection, tenant.workspace.id, "csv_upload", "default")
    tenant.superuser.execute(
        "insert into arrivals (workspace_id, connector_id, sha256, file_name, format, bytes, status, rank,"
        " records, landed, non_event, quarantined, created_at)"
        " values (%s, %s, repeat('a', 64), 'f', 'csv', 1, 'landed', 1, 1, 1, 0, 0, now() - interval '1 hour')",
        (tenant.workspace.id, made.id),
    )
    run_round(tenant.settings)
    assert events(web) == ["stale"]


def test_a_connector_in_error_is_told_until_records_come_in_again(tenant: Tenant, post: MailReceiver) -> None:
    settings = tenant.settings.model_copy(update={"smtp_port": post.port})
    tenant.add_email("data@acme.test")
    with database.as_system(settings.system_dsn, tenant.workspace.id) as system:
        with database.as_user(settings.app_dsn, settings.operator) as connection:
            made = connectors.ensure_connector(connection, tenant.workspace.id, "csv_upload", "till")
        connectors.set_status(system, tenant.workspace.id, made.id, "error")
    run_round(settings)
    with database.as_system(settings.system_dsn, tenant.workspace.id) as system:
        connectors.record_sync(system, tenant.workspace.id, made.id)
    run_round(settings)
    slug = tenant.workspace.slug
    assert [mail["Subject"] for mail in post.mails] == [
        f"[casetrail] {slug}: a connector is in error",
        f"[casetrail] {slug}: over: a connector is in error",
    ]
    assert post.mails[0]["To"] == "data@acme.test"
    assert post.mails[0]["Message-ID"] == f"<{tenant.told()[0].id}@acme.test>"
    assert slug in post.mails[0].get_content()


def test_what_is_not_taken_is_sent_again_later_with_the_same_id_and_before_what_comes_after(
    tenant: Tenant, web: WebhookReceiver
) -> None:
    tenant.add_webhook(web.url)
    web.answers = [503, 500, 200]
    tenant.job_is("failed")
    run_round(tenant.settings)
    tenant.job_is("succeeded")
    run_round(tenant.settings)
    assert events(web) == ["failure"]
    assert [(n.status, n.attempts, n.last_error) for n in tenant.told()] == [
        ("queued", 1, "The receiver answered 503."),
        ("queued", 0, None),
    ]
    for _ in range(3):
        tenant.time_passes()
        run_round(tenant.settings)
    assert events(web) == ["failure", "failure", "failure", "recovered"]
    ids = [headers["webhook-id"] for headers, _body in web.requests]
    assert ids[0] == ids[1] == ids[2] != ids[3]
    assert [n.status for n in tenant.told()] == ["sent", "sent"]


def test_pauses_grow_until_it_is_given_up_after_about_a_day(tenant: Tenant, web: WebhookReceiver) -> None:
    assert list(outbox.PAUSES) == sorted(outbox.PAUSES)
    assert 22 * 3600 < sum(outbox.PAUSES) < 30 * 3600
    tenant.add_webhook(web.url)
    web.answers = [500]
    tenant.job_is("failed")
    for _ in range(len(outbox.PAUSES) + 3):
        run_round(tenant.settings)
        tenant.time_passes()
    assert len(web.requests) == len(outbox.PAUSES) + 1
    assert [n.status for n in tenant.told()] == ["failed"]


def test_a_sender_that_dies_leaves_it_to_the_next_one(
    tenant: Tenant, web: WebhookReceiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    tenant.add_webhook(web.url)
    tenant.job_is("failed")

    def dies(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(notifications, "note_sent", dies)
        with pytest.raises(KeyboardInterrupt):
            run_round(tenant.settings)
    run_round(tenant.settings)
    assert len(web.requests) == 1  # Leased: another sender may be at it.
    tenant.time_passes()
    run_round(tenant.settings)
    assert [body["id"] for body in web.bodies()] == [tenant.told()[0].id] * 2
    assert tenant.told()[0].status == "sent"


def test_a_receiver_that_hangs_holds_no_other_up(
    tenant: Tenant, web: WebhookReceiver, post: MailReceiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("orchestration.notify.webhook.DEADLINE_SECONDS", 1)
    settings = tenant.settings.model_copy(update={"smtp_port": post.port})
    web.answers = [0]
    for number in range(4):
        tenant.add_webhook(web.url, name=f"hook{number}")
    tenant.add_email("data@acme.test")
    tenant.job_is("failed")
    began = time.monotonic()
    done = run_round(settings)
    assert time.monotonic() - began < 3
    assert len(post.mails) == 1
    assert sorted(str(d.error) for d in done.deliveries) == ["No answer within 1 s."] * 4 + ["None"]


@pytest.mark.parametrize("answer", [302, 404])
def test_only_a_yes_is_a_yes(tenant: Tenant, web: WebhookReceiver, answer: int) -> None:
    tenant.add_webhook(web.url)
    web.answers = [answer]
    tenant.job_is("failed")
    run_round(tenant.settings)
    assert len(web.requests) == 1
    assert tenant.told()[0].last_error == f"The receiver answered {answer}."


def test_a_channel_is_told_of_what_it_asked_for_and_while_it_is_not_paused(
    tenant: Tenant, web: WebhookReceiver
) -> None:
    tenant.add_webhook(web.url, events=["stale"])
    tenant.add_webhook(web.url, name="paused")
    with database.as_user(tenant.settings.app_dsn, tenant.settings.operator) as connection:
        paused = notifications.find_channel(connection, tenant.workspace.id, "paused")
        notifications.set_enabled(connection, tenant.workspace.id, paused.id, False)
    tenant.job_is("failed")
    run_round(tenant.settings)
    assert events(web) == []
    with database.as_user(tenant.settings.app_dsn, tenant.settings.operator) as connection:
        notifications.set_enabled(connection, tenant.workspace.id, paused.id, True)
    run_round(tenant.settings)
    assert events(web) == ["failure"]


def test_an_internal_address_is_refused_for_good_also_if_it_became_internal_later(
    tenant: Tenant, web: WebhookReceiver
) -> None:
    strict = tenant.settings.model_copy(update={"notify_internal_hosts": []})
    with (
        pytest.raises(TargetRefused, match="https"),
        database.as_user(strict.app_dsn, strict.operator) as connection,
    ):
        channels.add_webhook(connection, strict, tenant.workspace.id, web.url, ChannelOptions("x"))
    with database.as_user(strict.app_dsn, strict.operator) as connection:
        url = web.url.replace("http:", "https:")
        channels.add_webhook(connection, strict, tenant.workspace.id, url, ChannelOptions("x"))
    tenant.job_is("failed")
    run_round(strict)
    (notification,) = tenant.told()
    assert notification.status == "failed"
    assert "internal address" in str(notification.last_error)
    assert web.requests == []


def test_no_secret_is_stored_in_clear_or_shown(tenant: Tenant, web: WebhookReceiver) -> None:
    key = tenant.add_webhook(web.url)
    web.server.server_close()
    tenant.job_is("failed")
    run_round(tenant.settings)
    stored = []
    for table in ("notification_channels", "notification_secrets", "notifications"):
        rows = tenant.superuser.execute(f"select t::text, t.* from {table} as t").fetchall()
        stored += [repr(row) for row in rows]
    assert "The connection failed" in "".join(stored)
    for secret in ("s3cret", key, key.removeprefix("whsec_")):
        assert secret not in "".join(stored)


def test_another_key_of_the_installation_is_told_and_not_fatal(tenant: Tenant, web: WebhookReceiver) -> None:
    tenant.add_webhook(web.url)
    tenant.job_is("failed")
    run_round(tenant.settings.model_copy(update={"secret_key": None}))
    assert tenant.told()[0].status == "queued"
    assert "CASETRAIL_SECRET_KEY" in str(tenant.told()[0].last_error)
    tenant.time_passes()
    run_round(tenant.settings)
    assert tenant.told()[0].status == "sent"


def test_a_round_in_which_nothing_happens_is_one_transaction(
    tenant: Tenant, web: WebhookReceiver, queries: Callable[[], int]
) -> None:
    tenant.add_webhook(web.url)
    tenant.job_is("failed")
    run_round(tenant.settings)
    before = queries()
    run_round(tenant.settings)
    assert queries() - before == 1
    assert events(web) == ["failure"]


@pytest.mark.parametrize(("host", "is_taken"), [("localhost", True), ("other.test", False)])
def test_a_webhook_over_tls_goes_to_the_holder_of_the_hosts_certificate_only(
    tenant: Tenant, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, host: str, is_taken: bool
) -> None:
    context, authority = certified(tmp_path, host)
    monkeypatch.setenv("SSL_CERT_FILE", str(authority))
    with serving(WebhookReceiver(context)) as web:
        tenant.add_webhook(web.url)
        tenant.job_is("failed")
        run_round(tenant.settings)
        assert len(web.requests) == is_taken
    assert (tenant.told()[0].status == "sent") is is_taken


def test_mail_is_encrypted_and_the_login_is_never_repeated(
    tenant: Tenant, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    context, authority = certified(tmp_path, "localhost")
    with serving(MailReceiver(context)) as post:
        login = {"smtp_user": "me", "smtp_password": SecretStr("hunter2"), "smtp_security": "starttls"}
        settings = tenant.settings.model_copy(update={"smtp_port": post.port, **login})
        tenant.add_email("data@acme.test")
        tenant.job_is("failed")
        run_round(settings)
        assert "AUTH" not in " ".join(post.lines), "the certificate was not trusted yet"
        assert tenant.told()[0].last_error == "The mail server could not be used: SSLCertVerificationError."
        monkeypatch.setenv("SSL_CERT_FILE", str(authority))
        post.refuses = "AUTH"
        tenant.time_passes()
        run_round(settings)
        assert tenant.told()[0].last_error == "The mail server answered 550."
        post.refuses = ""
        tenant.time_passes()
        run_round(settings)
    assert post.secured == [True]
    assert tenant.told()[0].status == "sent"


def test_two_senders_at_once_send_once(tenant: Tenant, web: WebhookReceiver) -> None:
    tenant.add_webhook(web.url)
    tenant.job_is("failed")
    report_failure(tenant.settings, tenant.workspace.id, "it broke")
    with database.as_system(tenant.settings.system_dsn, None) as connection:
        watches = notifications.watches(connection)
    outbox.deliver(tenant.settings, watches)
    outbox.deliver(tenant.settings, watches)
    assert len(web.requests) == 1


def test_removing_a_channel_removes_its_secret_and_its_log(tenant: Tenant, web: WebhookReceiver) -> None:
    tenant.add_webhook(web.url)
    tenant.job_is("failed")
    run_round(tenant.settings)
    with database.as_user(tenant.settings.app_dsn, tenant.settings.operator) as connection:
        channel = notifications.find_channel(connection, tenant.workspace.id, "hook")
        notifications.remove_channel(connection, tenant.workspace.id, channel.id)
    assert count(tenant.superuser, "notification_secrets", tenant) == 0
    assert count(tenant.superuser, "notifications", tenant) == 0


def count(connection: psycopg.Connection, table: str, tenant: Tenant) -> int:  # type: ignore[type-arg]
    row = connection.execute(
        f"select count(*) from {table} where workspace_id = %s",
        (tenant.workspace.id,),
    ).fetchone()
    assert row is not None
    return int(row[0])
