"""Getting at an org: both ways in, what its refusals mean, its quota, and where a token is never sent."""

from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from pydantic import SecretStr, ValidationError

from casetrail_testkit import SalesforceServer
from casetrail_testkit.messages import Refusal, json_response
from casetrail_testkit.salesforce.catalog import Field, fields_of, sobject
from orchestration.sources.errors import ConfigurationError, QuotaExhausted, SourceError, TransientError
from orchestration.sources.protocol import Context, Stream
from orchestration.sources.redaction import Redactor
from orchestration.sources.types import salesforce
from tests.sources.salesforce_org import LOCAL, Connected, config_of, opened_org

Connect = Callable[..., Connected]


@pytest.fixture
def org() -> Iterator[SalesforceServer]:
    with opened_org() as server:
        server.store.create("Lead", {"LastName": "A"})
        server.clock.advance(3600)
        yield server


@pytest.fixture
def connect(org: SalesforceServer, tmp_path: Path) -> Connect:
    return lambda *streams, **changes: Connected(org, tmp_path, streams=streams or ("Lead",), **changes)


def with_key(org: SalesforceServer, **changes: Any) -> dict[str, Any]:
    key = SecretStr(org.sessions.private_key)
    return {"client_secret": None, "private_key": key, "username": org.sessions.username, **changes}


@pytest.mark.parametrize("way", ["secret", "key"])
def test_both_ways_in_lead_to_the_records(org: SalesforceServer, connect: Connect, way: str) -> None:
    connected = connect(**(with_key(org) if way == "key" else {}))
    connected.sync()
    assert len(connected.ids("Lead")) == 1
    assert salesforce.check(connected.config, connected.context)[0].problem is None


def test_a_configuration_has_one_way_in(org: SalesforceServer) -> None:
    for changes in ({"client_secret": None}, with_key(org, username=None), {"private_key": SecretStr("k")}):
        with pytest.raises(ValidationError):
            config_of(org, **changes)
    for url in ("ftp://a.example", "https://a.example/path", "https://user@a.example", "a.example"):
        with pytest.raises(ValidationError):
            config_of(org, url=url)
    for changes in ({"streams": ["Lead WHERE"]}, {"streams": ["Lead", "Lead"]}, {"links": {"Lead": "erp"}}):
        with pytest.raises(ValidationError):
            config_of(org, **changes)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"client_secret": SecretStr("wrong-secret-1")}, "invalid_client"),
        ({"client_id": "nobody"}, "invalid_client_id"),
        ({"private_key": SecretStr("no key")}, "no RSA key"),
        ({"private_key": "elliptic"}, "no RSA key"),
        ({"private_key": "own", "username": "somebody@else.example"}, "hasn't approved"),
    ],
)
def test_wrong_credentials_are_for_a_person_and_not_tried_again(
    org: SalesforceServer, connect: Connect, changes: dict[str, Any], told: str
) -> None:
    if "private_key" in changes:
        elliptic = ec.generate_private_key(ec.SECP256R1()).private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        keys = {"own": org.sessions.private_key, "elliptic": elliptic.decode()}
        given = changes["private_key"]
        key = SecretStr(keys[given]) if isinstance(given, str) else given
        changes = with_key(org, **{**changes, "private_key": key})
    connected = connect(**changes)
    with pytest.raises(ConfigurationError, match=told) as caught:
        connected.sync()
    assert "wrong-secret-1" not in str(caught.value)
    assert len([served for served in org.requests if served.method == "POST"]) <= 1


def test_no_secret_and_no_token_is_in_a_message(org: SalesforceServer, connect: Connect) -> None:
    """Whatever an org repeats of what it was sent."""
    connected = connect()
    connected.redactor.add(SecretStr(org.sessions.consumer_secret))
    tokens: list[str] = []
    require = org.sessions.require

    def repeat(request: Any) -> None:
        require(request)
        tokens.append(request.bearer)
        body = [{"errorCode": "STRANGE", "message": f"{request.bearer} {org.sessions.consumer_secret}"}]
        raise Refusal(json_response(body, 400))

    org.sessions.require = repeat  # type: ignore[method-assign]
    with pytest.raises(ConfigurationError) as caught:
        connected.sync()
    told = connected.redactor.redact(str(caught.value))
    assert tokens
    assert tokens[0] not in told
    assert org.sessions.consumer_secret not in told
    assert "[secret]" in told


ERRORS: list[tuple[int, str, str, type[SourceError], str]] = [
    (403, "REQUEST_LIMIT_EXCEEDED", "TotalRequests Limit exceeded.", QuotaExhausted, "quota is used up"),
    (403, "REQUEST_LIMIT_EXCEEDED", "ConcurrentRequests Limit exceeded.", TransientError, "busy"),
    (400, "LIMIT_EXCEEDED", "Max bulk v2 query jobs", QuotaExhausted, "quota is used up"),
    (503, "SERVER_UNAVAILABLE", "later", TransientError, "503"),
    (500, "UNKNOWN_EXCEPTION", "x", TransientError, "500"),
    (502, "X", "x", TransientError, "502"),
    (420, "X", "x", TransientError, "420"),
    (406, "X", "x", TransientError, "406"),
    (429, "X", "x", TransientError, "429"),
    (400, "INVALID_QUERY_LOCATOR", "x", TransientError, "INVALID_QUERY_LOCATOR"),
    (410, "GONE", "retired", ConfigurationError, "api_version"),
    (404, "UNSUPPORTED_API_VERSION", "x", ConfigurationError, "api_version"),
    (400, "TXN_SECURITY_METERING_ERROR", "policy", ConfigurationError, "transaction security policy"),
    (403, "API_DISABLED_FOR_ORG", "x", ConfigurationError, "not enabled"),
    (400, "MALFORMED_QUERY", "unexpected token", ConfigurationError, "refuses"),
    (302, "X", "x", ConfigurationError, "not followed"),
]  # fmt: skip


@pytest.mark.parametrize(("status", "code", "message", "kind", "told"), ERRORS)
def test_what_a_refusal_means(
    org: SalesforceServer,
    connect: Connect,
    status: int,
    code: str,
    message: str,
    kind: type[SourceError],
    told: str,
) -> None:
    headers = {"Location": "https://elsewhere.example/"} if status == 302 else {}
    org.faults.add(
        path="FROM Lead",
        times=0,
        status=status,
        json=[{"errorCode": code, "message": message}],
        headers=headers,
    )
    with pytest.raises(kind, match=told) as caught:
        connect().sync()
    if isinstance(caught.value, QuotaExhausted):
        assert caught.value.resume_at == org.clock.now() + timedelta(hours=1)


@pytest.mark.parametrize(
    ("status", "code", "message", "told"),
    [
        (403, "INSUFFICIENT_ACCESS", "no", "May the app's user read"),
        (400, "INVALID_TYPE", "sObject type 'Lead' is not supported", "INVALID_TYPE"),
        (400, "API_ERROR", "Implementation restriction: x", "View All Data"),
        (404, "NOT_FOUND", "x", "NOT_FOUND"),
    ],
)
def test_a_refused_object_is_a_problem_of_its_stream(
    org: SalesforceServer, connect: Connect, status: int, code: str, message: str, told: str
) -> None:
    org.faults.add(
        path="Lead/describe", times=0, status=status, json=[{"errorCode": code, "message": message}]
    )
    connected = connect("Lead", "Contact")
    first, second = salesforce.check(connected.config, connected.context)
    assert told in (first.problem or "")
    assert second.problem is None


def test_a_session_that_ends_at_once_is_for_a_person(org: SalesforceServer, connect: Connect) -> None:
    org.sessions.lifetime = 0.0
    with pytest.raises(ConfigurationError, match="It had just begun"):
        connect().sync()


@pytest.mark.parametrize(
    "header",
    ["api-usage=80/100", "api-usage=1/100; per-app-api-usage=200/250(appName=casetrail)", "api-usage=99/100"],
)
def test_a_share_of_the_calls_is_left_to_others(org: SalesforceServer, connect: Connect, header: str) -> None:
    org.limits.header = lambda: header  # type: ignore[method-assign]
    with pytest.raises(QuotaExhausted, match="quota_percent is 80") as caught:
        connect().sync()
    assert caught.value.resume_at > org.clock.now()
    assert len(org.requests) == 2, "a sign-in, and the request that told"
    greedy = connect(quota_percent=100)
    greedy.sync()
    assert len(greedy.ids("Lead")) == 1


@pytest.mark.parametrize(
    ("instance", "allowed"),
    [
        ("https://acme.my.salesforce.com", True),
        ("https://na1.force.com", True),
        ("http://acme.my.salesforce.com", False),
        ("https://salesforce.com.evil.example", False),
        ("https://evilsalesforce.com", False),
        ("https://user@acme.my.salesforce.com", False),
        ("https://acme.my.salesforce.com:8443", False),
        ("http://127.0.0.1:1", False),
        ("nonsense", False),
    ],
)
def test_a_token_goes_to_salesforce_alone(
    org: SalesforceServer, connect: Connect, instance: str, allowed: bool
) -> None:
    org.faults.add(
        path="oauth2/token",
        times=0,
        status=200,
        json={"access_token": "token-1234", "instance_url": instance},
    )
    asked: list[str] = []

    def address(host: str, _port: int) -> str:
        asked.append(host)
        if host != "127.0.0.1":
            raise TransientError(f"{host} is not there")
        return host

    context = Context(address, Redactor(), LOCAL)
    with pytest.raises(SourceError) as caught:
        salesforce.check(connect().config, context)
    assert isinstance(caught.value, TransientError) == allowed
    assert (set(asked) != {"127.0.0.1"}) == allowed


def test_a_host_that_is_not_allowed_is_not_spoken_to(org: SalesforceServer, connect: Connect) -> None:
    with pytest.raises(ConfigurationError, match="without encryption"):
        salesforce.check(connect().config, Context(lambda host, _port: host, Redactor()))
    assert org.requests == []


def test_a_check_reads_no_records_and_tells_what_has_no_cursor(
    org: SalesforceServer, connect: Connect
) -> None:
    org.store.define(sobject("Plain__c", "a00", fields_of("Name")))
    connected = connect("Plain__c", "Lead", "Nothing__c", "lead")
    plain, lead, nothing, misspelt = salesforce.check(connected.config, connected.context)
    assert "nothing tells what is new" in (plain.problem or "")
    assert (lead.stream, lead.problem) == ("Lead", None)
    assert "NOT_FOUND" in (nothing.problem or "")
    assert "writes lead as Lead" in (misspelt.problem or "")


def test_what_could_be_read_is_discovered(org: SalesforceServer, connect: Connect) -> None:
    org.store.add_field("Lead", Field("Score__c", "double", calculated=True))
    found = {stream.name: stream for stream in salesforce.discover(connect().config, connect().context)}
    lead = dict(found["Lead"].columns)
    assert lead["Score__c"] == "double, calculated"
    assert (lead["Email"], lead["Street"]) == ("email", "string")
    assert "Address" not in lead
    assert found["Lead"].cursors == ("SystemModstamp", "LastModifiedDate", "CreatedDate")
    assert found["LeadHistory"].cursors == ("CreatedDate",)
    assert found["Lead"].key == ("Id",)
    assert found["Product2"] == Stream("Product2", ())
