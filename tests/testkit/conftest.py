"""Fixtures of the test servers: one of each, standing at one instant, and a plain client that is logged in."""

from collections.abc import Iterator
from datetime import UTC, datetime

import httpx
import pytest

from casetrail_testkit import Clock, MarketoServer, SalesforceServer

NOON = datetime(2026, 3, 4, 12, 0, tzinfo=UTC)
# One client for calls without a session: to make one takes longer than a test.
HTTP = httpx.Client(verify=False)


@pytest.fixture
def salesforce() -> Iterator[SalesforceServer]:
    with SalesforceServer(clock=Clock(NOON)) as server:
        yield server
        assert server.failures == []


def log_in(server: SalesforceServer) -> str:
    answer = HTTP.post(
        f"{server.url}/services/oauth2/token",
        data={"grant_type": "client_credentials"},
        auth=(server.sessions.consumer_key, server.sessions.consumer_secret),
    )
    return str(answer.raise_for_status().json()["access_token"])


@pytest.fixture
def org(salesforce: SalesforceServer) -> Iterator[httpx.Client]:
    """A client whose paths begin behind ``/services/data/v62.0``."""
    headers = {"Authorization": f"Bearer {log_in(salesforce)}"}
    with httpx.Client(
        base_url=f"{salesforce.url}/services/data/v62.0", headers=headers, verify=False
    ) as client:
        yield client


@pytest.fixture
def marketo() -> Iterator[MarketoServer]:
    with MarketoServer(clock=Clock(NOON)) as server:
        yield server
        assert server.failures == []


def token_of(server: MarketoServer) -> str:
    parameters = {
        "grant_type": "client_credentials",
        "client_id": server.identity.client_id,
        "client_secret": server.identity.client_secret,
    }
    answer = HTTP.get(f"{server.url}/identity/oauth/token", params=parameters)
    return str(answer.raise_for_status().json()["access_token"])


@pytest.fixture
def subscription(marketo: MarketoServer) -> Iterator[httpx.Client]:
    """A client with a token, for all paths of the server."""
    headers = {"Authorization": f"Bearer {token_of(marketo)}"}
    with httpx.Client(base_url=marketo.url, headers=headers, verify=False) as client:
        yield client
