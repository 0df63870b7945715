"""Bulk API 2.0 queries, /deleted and /updated, as Salesforce documents them, through a plain client."""

import csv
import gzip
import io
from datetime import datetime, timedelta
from typing import Any

import httpx
import pytest

from casetrail_testkit import SalesforceServer
from casetrail_testkit.salesforce import changes
from tests.testkit.conftest import HTTP, NOON, log_in
from tests.testkit.test_salesforce_rest import error


def start(org: httpx.Client, soql: str, operation: str = "query", **members: str) -> dict[str, Any]:
    answer = org.post("/jobs/query", json={"operation": operation, "query": soql, **members})
    return dict(answer.raise_for_status().json())


def finished(org: httpx.Client, soql: str, operation: str = "query", **members: str) -> str:
    """The id of a job that is complete."""
    job = start(org, soql, operation, **members)["id"]
    for _ in range(2):
        state = org.get(f"/jobs/query/{job}").json()["state"]
    assert state == "JobComplete"
    return str(job)


def pages(org: httpx.Client, job: str, **parameters: Any) -> list[httpx.Response]:
    read = [org.get(f"/jobs/query/{job}/results", params=parameters)]
    while (locator := read[-1].headers["Sforce-Locator"]) != "null":
        read.append(org.get(f"/jobs/query/{job}/results", params={**parameters, "locator": locator}))
    return read


def rows(page: httpx.Response) -> list[list[str]]:
    return list(csv.reader(io.StringIO(page.content.decode(), newline="")))


@pytest.fixture
def leads(salesforce: SalesforceServer) -> list[str]:
    salesforce.store.load("Lead", ["LastName"], ([f"n{number}"] for number in range(25)))
    return [row["Id"] for row in salesforce.store.rows("Lead")]


def test_a_job_is_created_and_goes_through_its_states(
    salesforce: SalesforceServer, org: httpx.Client
) -> None:
    salesforce.bulk.polls_until_complete = 4
    job = start(org, "SELECT Id FROM Lead", "queryAll")
    assert job == {
        "id": job["id"],
        "operation": "queryAll",
        "object": "Lead",
        "createdById": job["createdById"],
        "createdDate": "2026-03-04T12:00:00.000+0000",
        "systemModstamp": "2026-03-04T12:00:00.000+0000",
        "state": "UploadComplete",
        "concurrencyMode": "Parallel",
        "contentType": "CSV",
        "apiVersion": 62.0,
        "lineEnding": "LF",
        "columnDelimiter": "COMMA",
    }
    assert org.get(f"/jobs/query/{job['id']}/results").status_code == 204
    states = [org.get(f"/jobs/query/{job['id']}").json()["state"] for _ in range(5)]
    assert states == ["UploadComplete", "UploadComplete", "InProgress", "JobComplete", "JobComplete"]


def test_every_page_has_the_header_and_a_locator_that_stays(leads: list[str], org: httpx.Client) -> None:
    job = finished(org, "SELECT Id, LastName FROM Lead")
    assert org.get(f"/jobs/query/{job}").json()["numberRecordsProcessed"] == 25
    read = pages(org, job, maxRecords=10)
    assert [page.headers["Sforce-NumberOfRecords"] for page in read] == ["10", "10", "5"]
    assert [page.headers["Sforce-Locator"] for page in read] == ["MTA", "MjA", "null"]
    assert all(rows(page)[0] == ["Id", "LastName"] for page in read)
    assert [row[0] for page in read for row in rows(page)[1:]] == leads
    again = org.get(f"/jobs/query/{job}/results", params={"maxRecords": 10, "locator": "MjA"})
    assert again.content == read[2].content


def test_a_result_looks_as_documented(salesforce: SalesforceServer, org: httpx.Client) -> None:
    salesforce.store.create("Opportunity", {"Name": 'a "b",\x00c\rd\ne', "Amount": 5.0, "IsWon": True})
    salesforce.store.create("Opportunity", {"Name": ""})
    fields = "Name, Amount, IsWon, IsDeleted, CloseDate, SystemModstamp"
    (page,) = pages(org, finished(org, f"SELECT {fields} FROM Opportunity"))
    assert page.headers["Content-Type"] == "text/csv;charset=UTF-8"
    assert page.content == (
        b'"Name","Amount","IsWon","IsDeleted","CloseDate","SystemModstamp"\n'
        b'"a ""b"",\x00c\rd\ne","5.0","true","false","","2026-03-04T12:00:00.000Z"\n'
        b'"","","","false","","2026-03-04T12:00:00.000Z"\n'
    )


def test_delimiters_and_line_endings(leads: list[str], org: httpx.Client) -> None:
    soql = "SELECT Id, LastName FROM Lead LIMIT 1"
    (page,) = pages(org, finished(org, soql, columnDelimiter="PIPE", lineEnding="CRLF"))
    assert page.content == f'"Id"|"LastName"\r\n"{leads[0]}"|"n0"\r\n'.encode()


def test_results_are_gzipped_for_who_accepts_it(leads: list[str], org: httpx.Client) -> None:
    path = f"/jobs/query/{finished(org, 'SELECT Id FROM Lead')}/results"
    plain = org.get(path, headers={"Accept-Encoding": "identity"})
    assert "Content-Encoding" not in plain.headers
    with org.stream("GET", path, headers={"Accept-Encoding": "gzip"}) as packed:
        assert packed.headers["Content-Encoding"] == "gzip"
        assert gzip.decompress(b"".join(packed.iter_raw())) == plain.content


def test_rows_are_those_of_the_moment_of_completion(
    salesforce: SalesforceServer, leads: list[str], org: httpx.Client
) -> None:
    job = start(org, "SELECT LastName FROM Lead")["id"]
    salesforce.store.create("Lead", {"LastName": "in time"})
    for _ in range(2):
        org.get(f"/jobs/query/{job}")
    salesforce.store.create("Lead", {"LastName": "too late"})
    (page,) = pages(org, job)
    assert rows(page)[-1] == ["in time"]
    assert len(rows(page)) == 27


def test_query_all_has_what_is_in_the_bin(
    salesforce: SalesforceServer, leads: list[str], org: httpx.Client
) -> None:
    salesforce.store.merge("Lead", leads[0], leads[1])
    soql = "SELECT Id, IsDeleted, MasterRecordId FROM Lead ORDER BY Id LIMIT 2"
    (page,) = pages(org, finished(org, soql, "queryAll"))
    assert rows(page)[1:] == [[leads[0], "false", ""], [leads[1], "true", leads[0]]]
    (page,) = pages(org, finished(org, soql))
    assert rows(page)[2] == [leads[2], "false", ""]


def test_another_version_may_not_read_the_results(
    salesforce: SalesforceServer, leads: list[str], org: httpx.Client
) -> None:
    job = finished(org, "SELECT Id FROM Lead")
    other = org.get(f"{salesforce.url}/services/data/v61.0/jobs/query/{job}/results")
    assert other.status_code == 409


@pytest.mark.parametrize(
    ("members", "code"),
    [
        ({"query": "SELECT Id FROM CaseStatus"}, "INVALIDENTITY"),
        ({"query": "SELECT Id, BillingAddress FROM Account"}, "API_ERROR"),
        ({"query": "SELECT count() FROM Account"}, "API_ERROR"),
        ({"query": "SELECT Nothing FROM Account"}, "INVALID_FIELD"),
        ({"query": "SELECT"}, "MALFORMED_QUERY"),
        ({"query": ""}, "INVALIDJOB"),
        ({"operation": "insert"}, "INVALIDJOB"),
        ({"columnDelimiter": "SPACE"}, "INVALIDJOB"),
    ],
)
def test_jobs_that_are_refused(org: httpx.Client, members: dict[str, str], code: str) -> None:
    job = {"operation": "query", "query": "SELECT Id FROM Account", **members}
    assert error(org.post("/jobs/query", json=job)) == (400, code)


def test_what_bulk_refuses_rest_serves(org: httpx.Client) -> None:
    for soql in ("SELECT Id FROM CaseStatus", "SELECT BillingAddress FROM Account"):
        assert org.get("/query", params={"q": soql}).status_code == 200


def test_a_job_fails_or_is_aborted_or_deleted(
    salesforce: SalesforceServer, leads: list[str], org: httpx.Client
) -> None:
    salesforce.faults.add(method="POST", path="jobs/query", effects=["fail_next_bulk_job"])
    failed, aborted = (start(org, "SELECT Id FROM Lead")["id"] for _ in range(2))
    org.get(f"/jobs/query/{failed}")
    answer = org.get(f"/jobs/query/{failed}").json()
    assert answer["state"] == "Failed"
    assert "fifteen times" in answer["errorMessage"]
    assert error(org.delete(f"/jobs/query/{aborted}")) == (400, "INVALIDJOBSTATE")
    assert org.patch(f"/jobs/query/{aborted}", json={"state": "Aborted"}).json()["state"] == "Aborted"
    assert org.delete(f"/jobs/query/{aborted}").status_code == 204
    assert error(org.get(f"/jobs/query/{aborted}")) == (404, "NOT_FOUND")


def test_jobs_are_kept_for_a_week(salesforce: SalesforceServer, leads: list[str], org: httpx.Client) -> None:
    job = finished(org, "SELECT Id FROM Lead")
    salesforce.clock.advance(timedelta(days=7).total_seconds() - 1)
    org.headers["Authorization"] = f"Bearer {log_in(salesforce)}"
    assert len(pages(org, job)) == 1
    salesforce.clock.advance(1)
    assert error(org.get(f"/jobs/query/{job}/results")) == (404, "NOT_FOUND")


def test_jobs_and_bytes_are_metered(
    salesforce: SalesforceServer, leads: list[str], org: httpx.Client
) -> None:
    job = finished(org, "SELECT Id FROM Lead")
    limits = salesforce.limits
    assert limits.bulk_storage.used() == len(org.get(f"/jobs/query/{job}/results").content)
    shown = org.get("/limits").json()
    assert shown["DailyBulkV2QueryJobs"] == {"Max": 10_000, "Remaining": 9_999}
    salesforce.effects["exhaust_bulk_jobs"]()
    soql = {"operation": "query", "query": "SELECT Id FROM Lead"}
    assert error(org.post("/jobs/query", json=soql)) == (400, "LIMIT_EXCEEDED")
    salesforce.clock.advance(24 * 3600)
    org.headers["Authorization"] = f"Bearer {log_in(salesforce)}"
    assert org.post("/jobs/query", json=soql).status_code == 200
    limits.bulk_storage.exhaust()
    refused = org.post("/jobs/query", json=soql)
    assert error(refused) == (400, "LIMIT_EXCEEDED")
    assert "result size" in refused.json()[0]["message"]


def test_a_token_ends_in_mid_download(
    salesforce: SalesforceServer, leads: list[str], org: httpx.Client
) -> None:
    job = finished(org, "SELECT Id FROM Lead")
    salesforce.faults.add(path="/results", nth=2, effects=["expire_tokens"])
    first = org.get(f"/jobs/query/{job}/results", params={"maxRecords": 10})
    path, after = f"/jobs/query/{job}/results", {"maxRecords": 10, "locator": first.headers["Sforce-Locator"]}
    assert error(org.get(path, params=after)) == (401, "INVALID_SESSION_ID")
    org.headers["Authorization"] = f"Bearer {log_in(salesforce)}"
    assert rows(org.get(path, params=after))[1] == [leads[10]]


@pytest.mark.parametrize("parameters", [{"locator": "???"}, {"locator": "OTk5"}, {"maxRecords": "0"}])
def test_a_locator_that_is_none(leads: list[str], org: httpx.Client, parameters: dict[str, str]) -> None:
    job = finished(org, "SELECT Id FROM Lead")
    assert error(org.get(f"/jobs/query/{job}/results", params=parameters)) == (400, "INVALID_QUERY_LOCATOR")


# --- deleted and updated


def window(start: datetime, end: datetime) -> dict[str, str]:
    return {"start": start.isoformat(), "end": end.isoformat()}


def test_deleted_looks_as_documented(
    salesforce: SalesforceServer, leads: list[str], org: httpx.Client
) -> None:
    salesforce.clock.advance(90)
    salesforce.store.delete("Lead", leads[0])
    salesforce.store.merge("Lead", leads[2], leads[1])
    salesforce.store.delete("Lead", leads[3], hard=True)
    salesforce.clock.advance(30)
    salesforce.store.delete("Lead", leads[4])
    salesforce.clock.advance(30)
    # Seconds are ignored: the window is [12:01, 12:02).
    parameters = window(NOON + timedelta(seconds=119), NOON + timedelta(seconds=130))
    assert org.get("/sobjects/Lead/deleted/", params=parameters).json() == {
        "deletedRecords": [
            {"id": leads[0], "deletedDate": "2026-03-04T12:01:30.000+0000"},
            {"id": leads[1], "deletedDate": "2026-03-04T12:01:30.000+0000"},
        ],
        "earliestDateAvailable": "2026-03-04T12:01:00.000+0000",
        "latestDateCovered": "2026-03-04T12:02:00.000+0000",
    }


def test_an_open_transaction_holds_the_covered_time_back(
    salesforce: SalesforceServer, leads: list[str], org: httpx.Client
) -> None:
    salesforce.clock.advance(300)
    salesforce.store.delete("Lead", leads[0], commits_in=3600)
    salesforce.clock.advance(300)
    salesforce.store.create("Lead", {}, commits_in=7200)
    salesforce.clock.advance(300)
    parameters = window(NOON, NOON + timedelta(minutes=15))
    answer = org.get("/sobjects/Lead/deleted", params=parameters).json()
    assert (answer["deletedRecords"], answer["latestDateCovered"]) == ([], "2026-03-04T12:05:00.000+0000")
    salesforce.clock.advance(3000)
    (deleted,) = org.get("/sobjects/Lead/deleted", params=parameters).json()["deletedRecords"]
    assert deleted == {"id": leads[0], "deletedDate": "2026-03-04T12:05:00.000+0000"}


def test_a_purged_log_says_when_it_begins(
    salesforce: SalesforceServer, leads: list[str], org: httpx.Client
) -> None:
    salesforce.store.delete("Lead", leads[0])
    salesforce.clock.advance(3600)
    salesforce.store.purge_delete_log("Lead")
    answer = org.get("/sobjects/Lead/deleted", params=window(NOON, NOON + timedelta(hours=1))).json()
    assert answer["deletedRecords"] == []
    assert answer["earliestDateAvailable"] == "2026-03-04T13:00:00.000+0000"


def test_updated_lists_what_was_made_or_changed(
    salesforce: SalesforceServer, leads: list[str], org: httpx.Client
) -> None:
    salesforce.clock.advance(3600)
    salesforce.store.update("Lead", leads[4], {"Status": "Working"})
    salesforce.store.delete("Lead", leads[5])
    hour = NOON + timedelta(hours=1)
    answer = org.get("/sobjects/Lead/updated/", params=window(hour, hour + timedelta(hours=1))).json()
    assert answer == {"ids": [leads[4]], "latestDateCovered": "2026-03-04T13:00:00.000+0000"}


@pytest.mark.parametrize(
    ("path", "days", "minutes", "expected"),
    [
        ("Lead/deleted", 16, 10, (400, "INVALID_REPLICATION_DATE")),
        ("Lead/updated", 31, 10, (400, "INVALID_REPLICATION_DATE")),
        ("Lead/updated", 1, 0, (400, "INVALID_REPLICATION_DATE")),
        ("LeadHistory/deleted", 1, 10, (400, "INVALID_TYPE_FOR_OPERATION")),
        ("Nothing/deleted", 1, 10, (404, "NOT_FOUND")),
    ],
)
def test_windows_that_are_refused(
    org: httpx.Client, path: str, days: int, minutes: int, expected: tuple[int, str]
) -> None:
    begin = NOON - timedelta(days=days)
    parameters = window(begin, begin + timedelta(minutes=minutes))
    assert error(org.get(f"/sobjects/{path}", params=parameters)) == expected


def test_too_many_deletes_for_one_answer(
    salesforce: SalesforceServer, leads: list[str], org: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(changes, "MOST_IDS", 1)
    for lead in leads[:2]:
        salesforce.store.delete("Lead", lead)
    answer = org.get("/sobjects/Lead/deleted", params=window(NOON, NOON + timedelta(minutes=5)))
    assert error(answer) == (400, "EXCEEDED_ID_LIMIT")


def test_no_token_no_answer(salesforce: SalesforceServer) -> None:
    assert HTTP.post(f"{salesforce.url}/services/data/v62.0/jobs/query", json={}).status_code == 401
