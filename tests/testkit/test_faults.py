"""What the script of faults does on the wire, and how another process steers a server."""

import time
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from casetrail_testkit import Clock, Fault, SalesforceServer
from tests.testkit.conftest import HTTP

PATH = "/services/data"


def get(server: SalesforceServer, path: str = PATH) -> httpx.Response:
    return HTTP.get(f"{server.url}{path}")


def test_a_fault_hits_the_nth_matching_request_and_so_many_after_it(salesforce: SalesforceServer) -> None:
    fault = salesforce.faults.add(path="/data$", method="GET", nth=2, times=2, status=503)
    assert [get(salesforce).status_code for _ in range(4)] == [200, 503, 503, 200]
    assert get(salesforce, "/services").status_code == 404
    assert salesforce.faults.fired() == [(fault, 2)]
    assert [served.status for served in salesforce.requests] == [200, 503, 503, 200, 404]


def test_an_answer_of_the_script_has_its_headers_and_body(salesforce: SalesforceServer) -> None:
    salesforce.faults.add(status=503, headers={"Retry-After": "7"}, text="<html>Down</html>")
    salesforce.faults.add(nth=2, status=400, json=[{"errorCode": "QUERY_TIMEOUT"}])
    page, error = get(salesforce), get(salesforce)
    assert (page.headers["Retry-After"], page.headers["Content-Type"]) == ("7", "text/html;charset=UTF-8")
    assert page.text == "<html>Down</html>"
    assert error.json() == [{"errorCode": "QUERY_TIMEOUT"}]


def test_an_answer_of_the_script_repeats_what_was_sent(salesforce: SalesforceServer) -> None:
    salesforce.faults.add(status=500, text="<p>{authorization} {name} {other}")
    salesforce.faults.add(nth=2, status=400, json={"error": "{body}"})
    headers, form = {"Authorization": "Bearer x"}, {"name": 'a "b" & c'}
    page, error = (HTTP.post(salesforce.url, headers=headers, data=form) for _ in range(2))
    assert page.text == "<p>Bearer x a &quot;b&quot; &amp; c {other}"
    assert error.json() == {"error": "name=a+%22b%22+%26+c"}


def test_a_connection_is_dropped_before_the_status_line(salesforce: SalesforceServer) -> None:
    salesforce.faults.add(drop_after=0)
    with pytest.raises(httpx.RemoteProtocolError, match="without sending a response"):
        get(salesforce)
    assert [served.status for served in salesforce.requests] == [0]
    assert get(salesforce).status_code == 200


def test_a_connection_is_dropped_in_mid_body(salesforce: SalesforceServer) -> None:
    salesforce.faults.add(drop_after=10)
    with HTTP.stream("GET", f"{salesforce.url}{PATH}") as answer:
        received = answer.iter_raw()
        assert len(next(received)) == 10
        with pytest.raises(httpx.RemoteProtocolError, match="peer closed"):
            next(received)


def test_a_truncated_body_looks_whole(salesforce: SalesforceServer) -> None:
    whole = get(salesforce).content
    salesforce.faults.add(truncate_after=25)
    answer = get(salesforce)
    assert (answer.status_code, answer.content) == (200, whole[:25])


def test_a_slow_answer_takes_its_time(salesforce: SalesforceServer) -> None:
    whole = len(get(salesforce).content)
    salesforce.faults.add(delay_seconds=0.1)
    salesforce.faults.add(nth=2, bytes_per_second=whole * 5)
    for least in (0.1, 0.19):
        began = time.monotonic()
        get(salesforce)
        assert time.monotonic() - began >= least


def test_a_clock_stands_runs_and_dates_the_answers(salesforce: SalesforceServer) -> None:
    assert get(salesforce).headers["Date"] == "Wed, 04 Mar 2026 12:00:00 GMT"
    salesforce.faults.add(advance_seconds=90)
    assert get(salesforce).headers["Date"] == "Wed, 04 Mar 2026 12:01:30 GMT"
    clock = Clock()
    before = clock.now()
    clock.advance(3600)
    assert 3600 <= (clock.now() - before).total_seconds() < 3660
    clock.set(datetime(2001, 1, 1, tzinfo=UTC))
    assert clock.now() == clock.now()
    clock.run()
    assert clock.now().year == 2001
    with pytest.raises(ValueError, match="time zone"):
        clock.set(datetime(2001, 1, 1))


@pytest.mark.parametrize(
    ("attributes", "message"),
    [
        ({"path": "("}, "no regular expression"),
        ({"nth": 0}, "counts from 1"),
        ({"text": "x"}, "needs a status"),
        ({"when": 3}, "a fault has no when; it has path"),
    ],
)
def test_a_fault_that_makes_no_sense_is_refused(attributes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Fault.from_json(attributes)


def test_an_effect_that_the_server_has_not_is_refused(salesforce: SalesforceServer) -> None:
    with pytest.raises(ValueError, match="there is no effect explode; there are expire_tokens"):
        salesforce.faults.add(effects=["explode"])


def test_another_process_steers_the_server(salesforce: SalesforceServer) -> None:
    testkit = httpx.Client(base_url=f"{salesforce.url}/_testkit", verify=False)
    assert testkit.post("/clock", json={"set": "2026-05-06T07:08:09+02:00"}).json() == {
        "now": "2026-05-06T05:08:09Z"
    }
    assert testkit.post("/clock", json={"advance": 60}).json() == {"now": "2026-05-06T05:09:09Z"}
    testkit.post(
        "/faults", json=[{"path": PATH, "status": 502, "text": "<html/>"}, {"effects": ["expire_tokens"]}]
    )
    assert get(salesforce).status_code == 502
    assert [fault["hits"] for fault in testkit.get("/faults").json()] == [1, 1]
    testkit.delete("/faults")
    assert testkit.get("/faults").json() == []
    create = {"do": "create", "object": "Lead", "values": {"LastName": "Doe"}}
    (lead,) = testkit.post("/changes", json=create).json()
    changes = [
        {"do": "add_field", "object": "Lead", "field": "Score__c", "type": "double"},
        {"do": "update", "object": "Lead", "id": lead, "values": {"Score__c": 3}, "commits_in": 60},
    ]
    assert testkit.post("/changes", json=changes).status_code == 200
    assert salesforce.store.rows("Lead")[0]["Score__c"] is None
    testkit.post("/clock", json={"advance": 60})
    assert salesforce.store.rows("Lead")[0]["Score__c"] == 3
    assert [served["status"] for served in testkit.get("/requests").json()] == [502]
    assert testkit.get("/stats").json()["failures"] == []


@pytest.mark.parametrize(
    ("path", "document", "message"),
    [
        ("/clock", {"set": "2026-05-06T07:08:09"}, "has no time zone"),
        ("/clock", {"stop": 1}, "can set, advance or run"),
        ("/faults", {"effects": ["explode"]}, "there is no effect explode"),
        ("/effects/explode", {}, "there is no effect explode"),
        ("/changes", {"do": "create", "object": "Nothing", "values": {}}, "no object Nothing"),
        ("/changes", {"do": "explode", "object": "Lead"}, "do create, update"),
    ],
)
def test_what_cannot_be_understood_is_told(
    salesforce: SalesforceServer, path: str, document: Any, message: str
) -> None:
    answer = HTTP.post(f"{salesforce.url}/_testkit{path}", json=document)
    assert answer.status_code == 400
    assert message in answer.json()["error"]


def test_a_stopped_server_answers_nobody() -> None:
    with SalesforceServer() as server, httpx.Client(base_url=server.url, verify=False) as client:
        assert client.get(PATH).status_code == 200
        server.stop()
        with pytest.raises(httpx.TransportError):
            client.get(PATH)
