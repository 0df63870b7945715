"""Calls of a Marketo subscription: refusals in answers of status 200, tokens, pace, quotas, and what a check tells."""

import logging
import time
from datetime import UTC, datetime
from typing import Any

import pytest
from pydantic import ValidationError

from casetrail_testkit import MarketoServer
from orchestration.connectors.mapping import Mapping as EventMapping
from orchestration.sources.errors import ConfigurationError, QuotaExhausted, SourceError, TransientError
from orchestration.sources.protocol import Context
from orchestration.sources.redaction import Redactor
from orchestration.sources.types import marketo as connector
from orchestration.sources.types.marketo import subscription as calls
from orchestration.sources.types.marketo.refusals import next_midnight
from orchestration.sources.types.marketo.subscription import Subscription, subscription
from tests.sources.marketo_puller import Make, config_of, context

TYPES = "/rest/v1/activities/types.json"


def refuse(marketo: MarketoServer, code: str, message: str = "because", **when: Any) -> None:
    """The next call is refused so."""
    document = {"requestId": "1#2", "success": False, "errors": [{"code": code, "message": message}]}
    marketo.faults.add(**{"path": TYPES, **when}, status=200, json=document)


def ask(marketo: MarketoServer, **changes: Any) -> dict[str, Any]:
    with subscription(config_of(marketo, **changes), context()) as source:
        return source.get(TYPES)


@pytest.mark.parametrize(
    ("code", "message", "kind", "retry_after"),
    [
        ("603", "Access denied", ConfigurationError, None),
        ("605", "HTTP Method not supported", ConfigurationError, None),
        ("610", "Requested resource not found", ConfigurationError, None),
        ("614", "Invalid subscription", ConfigurationError, None),
        ("1003", "Value is wrong", ConfigurationError, None),
        ("1006", "Field 'x' not found", ConfigurationError, None),
        ("1035", "Unsupported filter type", ConfigurationError, None),
        ("502", "Bad gateway", TransientError, None),
        ("604", "Request timed out", TransientError, None),
        ("608", "API temporarily unavailable", TransientError, None),
        ("611", "System error", TransientError, None),
        ("713", "Transient error", TransientError, None),
        ("1029", "Too many jobs in queue", TransientError, 120),
    ],
)
def test_a_refusal_is_told_as_its_kind(
    marketo: MarketoServer, code: str, message: str, kind: type[SourceError], retry_after: float | None
) -> None:
    refuse(marketo, code, message)
    with pytest.raises(kind, match=rf"{message} \({code}\)") as caught:
        ask(marketo)
    assert getattr(caught.value, "retry_after", None) == retry_after
    # It is told at once, and the next call goes well.
    assert len([r for r in marketo.requests if r.target == TYPES]) == 1
    assert ask(marketo)["result"]


@pytest.mark.parametrize(
    ("code", "message"), [("607", "Daily quota '50000' reached"), ("1029", "Export daily quota exceeded")]
)
def test_a_quota_of_the_day_is_over_at_midnight_in_chicago(
    marketo: MarketoServer, code: str, message: str
) -> None:
    refuse(marketo, code, message)
    with pytest.raises(QuotaExhausted, match=message) as caught:
        ask(marketo)
    assert caught.value.resume_at == datetime(2026, 3, 5, 6, tzinfo=UTC)


@pytest.mark.parametrize(
    ("now", "midnight"),
    [
        # Winter, summer, and the days on which the clocks change there.
        ("2026-01-10T05:59:00", "2026-01-10T06:00:00"),
        ("2026-01-10T06:00:00", "2026-01-11T06:00:00"),
        ("2026-07-10T04:59:00", "2026-07-10T05:00:00"),
        ("2026-03-08T05:59:00", "2026-03-08T06:00:00"),
        ("2026-03-08T06:00:00", "2026-03-09T05:00:00"),
        ("2026-11-01T05:00:00", "2026-11-02T06:00:00"),
    ],
)
def test_midnight_follows_summer_time(now: str, midnight: str) -> None:
    def utc(text: str) -> datetime:
        return datetime.fromisoformat(text).replace(tzinfo=UTC)

    assert next_midnight(utc(now)) == utc(midnight)


@pytest.mark.parametrize(("code", "seconds"), [("606", 20), ("615", 5)])
def test_a_call_that_came_too_fast_is_made_again_a_little_later(
    marketo: MarketoServer, code: str, seconds: int
) -> None:
    began = marketo.clock.now()
    refuse(marketo, code, times=calls.WAITS)
    assert ask(marketo)["success"]
    assert (marketo.clock.now() - began).total_seconds() == calls.WAITS * seconds
    refuse(marketo, code, times=0)
    with pytest.raises(TransientError) as caught:
        ask(marketo)
    assert caught.value.retry_after == seconds


@pytest.mark.parametrize("code", ["601", "602"])
def test_a_token_that_is_refused_is_renewed_once(marketo: MarketoServer, code: str) -> None:
    refuse(marketo, code)
    assert ask(marketo)["success"]
    assert len([r for r in marketo.requests if "oauth" in r.target]) == 2
    refuse(marketo, code, times=0)
    kind = ConfigurationError if code == "601" else TransientError
    with pytest.raises(kind, match="because"):
        ask(marketo)


def test_a_token_that_dies_between_two_calls_is_renewed(marketo: MarketoServer) -> None:
    with subscription(config_of(marketo), context()) as source:
        assert source.get(TYPES)["success"]
        marketo.clock.advance(4_000)
        assert source.get(TYPES)["success"]
        assert source.now == marketo.clock.now()
    assert len([r for r in marketo.requests if "oauth" in r.target]) == 2


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        ({"status": 200, "text": "<html>Maintenance</html>"}, TransientError),
        ({"status": 200, "json": {"requestId": "1#2"}}, TransientError),
        ({"status": 200, "json": {"success": False, "errors": []}}, TransientError),
        ({"status": 200, "json": []}, TransientError),
        ({"truncate_after": 40}, TransientError),
        ({"drop_after": 40}, TransientError),
        ({"status": 503, "headers": {"Retry-After": "9"}}, TransientError),
        ({"status": 404, "text": "<html>Not found</html>"}, ConfigurationError),
        ({"status": 302, "headers": {"Location": "https://elsewhere.example/"}}, ConfigurationError),
    ],
)
def test_an_answer_that_is_none_is_told_as_its_kind(
    marketo: MarketoServer, answer: dict[str, Any], kind: type[SourceError]
) -> None:
    marketo.faults.add(path=TYPES, **answer)
    with pytest.raises(kind):
        ask(marketo)


def test_wrong_credentials_are_for_a_person(marketo: MarketoServer) -> None:
    with pytest.raises(ConfigurationError, match="Check client_id and client_secret"):
        ask(marketo, client_secret="wrong")
    marketo.faults.add(path="oauth", status=200, json={"token_type": "bearer"})
    with pytest.raises(TransientError, match="gave no token"):
        ask(marketo)


def test_secrets_are_in_no_url_and_no_log(marketo: MarketoServer, caplog: pytest.LogCaptureFixture) -> None:
    redactor = Redactor()
    caplog.set_level(logging.DEBUG)
    with subscription(config_of(marketo), context(redactor)) as source:
        source.get(TYPES)
    token = str(source._token)
    told = "".join(request.target for request in marketo.requests)
    for secret in (marketo.identity.client_secret, token):
        assert secret not in told
        assert secret not in caplog.text
    assert token not in redactor.redact(f"Bearer {token}")


def test_an_address_that_is_not_marketos_gets_no_secret(marketo: MarketoServer) -> None:
    nobody = Context(lambda host, _port: host, Redactor())
    with pytest.raises(ConfigurationError, match=r"is no endpoint of Marketo"):
        connector.check(config_of(marketo), nobody)
    with pytest.raises(ConfigurationError, match="without encryption"):
        connector.check(config_of(marketo, url="http://123-abc-456.mktorest.com"), nobody)
    assert marketo.requests == []


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("https://123-ABC-456.mktorest.com/rest", "https://123-ABC-456.mktorest.com"),
        ("https://123-ABC-456.mktorest.com/identity/", "https://123-ABC-456.mktorest.com"),
        ("http://127.0.0.1:8702", "http://127.0.0.1:8702"),
    ],
)
def test_the_endpoint_is_taken_as_marketo_shows_it(marketo: MarketoServer, given: str, kept: str) -> None:
    assert config_of(marketo, url=given).url == kept


@pytest.mark.parametrize(
    "changes",
    [
        {"url": "https://user:password@123-ABC-456.mktorest.com"},
        {"url": "https://123-ABC-456.mktorest.com/elsewhere"},
        {"start": None},
        {"window_days": 32},
        {"streams": ["lists"]},
        {"lead_fields": ["email", "Email"]},
    ],
)
def test_a_configuration_that_cannot_be_is_refused(marketo: MarketoServer, changes: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        config_of(marketo, **changes)


def test_calls_keep_below_marketos_pace(marketo: MarketoServer, monkeypatch: pytest.MonkeyPatch) -> None:
    now, pauses = [0.0], list[float]()

    def pause(_self: Subscription, seconds: float) -> None:
        pauses.append(seconds)
        now[0] += seconds

    monkeypatch.setattr(Subscription, "pause", pause)
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    made = list[float]()
    with subscription(config_of(marketo), context()) as source:
        for _ in range(120):
            source.get(TYPES)
            made.append(now[0])
            now[0] += 0.1
    most = max(sum(at <= other < at + 20 for other in made) for at in made)
    assert most == 45
    assert len(pauses) >= 2


def test_a_read_stops_at_its_share_of_the_days_calls_and_goes_on_when_the_day_is_over(
    marketo: MarketoServer, make: Make
) -> None:
    marketo.store.log_activity("Click Email", marketo.store.create_lead({}))
    marketo.clock.advance(1)
    marketo.limits.calls.use(79)
    puller = make(daily_calls=100, daily_share=0.8)
    with pytest.raises(
        QuotaExhausted, match="80 of the subscription's 100 calls of today are used"
    ) as caught:
        puller.pull()
    assert caught.value.resume_at == datetime(2026, 3, 5, 6, tzinfo=UTC)
    marketo.clock.set(caught.value.resume_at)
    puller.pull()
    assert puller.guids() == [1]


def test_usage_is_looked_at_on_the_way(marketo: MarketoServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calls, "CALLS_BETWEEN_LOOKS", 5)
    config = config_of(marketo, daily_calls=20, daily_share=1)
    with subscription(config, context()) as source, pytest.raises(QuotaExhausted):
        [source.get(TYPES) for _ in range(30)]
    assert len([r for r in marketo.requests if r.target == TYPES]) < 20


def test_who_may_not_look_at_the_usage_reads_all_the_same(marketo: MarketoServer) -> None:
    refuse(marketo, "603", path="usage", times=0)
    assert ask(marketo)["success"]


def test_a_check_tells_of_each_stream_what_keeps_it(marketo: MarketoServer) -> None:
    def problems(**changes: Any) -> dict[str, str | None]:
        found = connector.check(config_of(marketo, **changes), context())
        return {check.stream: check.problem for check in found}

    assert set(problems().values()) == {None}
    assert not [r for r in marketo.requests if "create" in r.target]
    wrong = problems(activity_types=["Click Email", "Dance"], lead_fields=["email", "shoeSize"])
    assert "no type of activities Dance. There are: Visit Webpage" in str(wrong["activities"])
    assert "no field shoeSize. There are: id, email" in str(wrong["leads"])
    assert wrong["campaigns"] is None
    refuse(marketo, "603", "Access denied", path="/bulk/v1/leads", times=0)
    refuse(marketo, "603", "Access denied", path="programs", times=0)
    denied = problems()
    assert "Access denied (603). Give the role" in str(denied["leads"])
    assert "Access denied (603)" in str(denied["programs"])
    assert denied["activities"] is None
    # A subscription that is not synced with a CRM has no links; by default that is no problem.
    marketo.store.remove_field("sfdcLeadId")
    marketo.faults.clear()
    assert set(problems().values()) == {None}


def test_what_there_is_is_told_with_columns(marketo: MarketoServer) -> None:
    config = config_of(marketo)
    streams = {stream.name: stream for stream in connector.discover(config, context())}
    assert list(streams) == list(connector.Config.model_fields["streams"].default)
    assert ("sfdcContactId", "string") in streams["leads"].columns
    assert ("Client IP Address", "string") in streams["activities"].columns
    assert (streams["leads"].key, streams["activities"].key) == (("id",), ("marketoGUID",))
    for check in connector.check(config, context()):
        assert set(check.columns or ()) <= {name for name, _ in streams[check.stream].columns} | {
            "sfdcAccountId"
        }


def test_what_the_records_mean_names_columns_that_they_have(marketo: MarketoServer, make: Make) -> None:
    winner, loser = (marketo.store.create_lead({"email": f"{n}@a.example"}) for n in range(2))
    marketo.store.merge_leads(winner, [loser])
    marketo.clock.advance(1)
    puller = make(lead_fields=["email", "firstName", "sfdcLeadId", "sfdcContactId"])
    puller.pull()
    mapping = connector.mappings(puller.config)["activities"]
    assert isinstance(mapping, EventMapping)
    mapping.check_columns(puller.columns["activities"])
    for stream, meaning in connector.identity(puller.config).items():
        named = [meaning.record, *meaning.key, *meaning.keys, *(same.column for same in meaning.same)]
        assert set(named) <= set(puller.columns[stream])
    personal = connector.personal(puller.config)
    assert personal["leads"] == {"email": "email", "firstName": "drop"}
    # Those of the standard types; of others the configuration knows.
    assert set(personal["activities"]) <= {*puller.columns["activities"], "Details"}
    assert personal["activities"]["Client IP Address"] == "drop"


def test_what_is_not_pulled_means_nothing(marketo: MarketoServer) -> None:
    config = config_of(marketo, streams=["leads"], lead_fields=["company"])
    assert connector.mappings(config) == {}
    assert connector.personal(config) == {"leads": {}}
    assert (connector.identity(config)["leads"].same, connector.identity(config)["leads"].keys) == ((), ())
    assert list(connector.identity(config)) == ["leads"]
