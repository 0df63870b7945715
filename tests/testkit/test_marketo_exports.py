"""Marketo's Bulk Extract, as its documentation describes it, through a plain client."""

import csv
import hashlib
import io
from datetime import timedelta
from typing import Any

import httpx
import pytest

from casetrail_testkit import MarketoServer
from casetrail_testkit.marketo.store import ACTIVITY_COLUMNS
from tests.testkit.conftest import token_of
from tests.testkit.test_marketo_rest import code

DAY = {"startAt": "2026-03-04T00:00:00Z", "endAt": "2026-03-05T00:00:00Z"}
LEADS: dict[str, Any] = {"format": "CSV", "fields": ["id", "email"], "filter": {"createdAt": DAY}}
ACTIVITIES: dict[str, Any] = {"format": "CSV", "filter": {"createdAt": DAY}}


@pytest.fixture(autouse=True)
def _many_calls(marketo: MarketoServer) -> None:
    """The clock stands, so the window of 20 seconds never ends."""
    marketo.limits.calls_in_window = 10_000


def post(subscription: httpx.Client, path: str, document: Any = None) -> dict[str, Any]:
    return dict(subscription.post(f"/bulk/v1/{path}", json=document).json())


def create(subscription: httpx.Client, kind: str, document: dict[str, Any]) -> str:
    answer = post(subscription, f"{kind}/export/create.json", document)
    assert answer["success"], answer
    return str(answer["result"][0]["exportId"])


def status(subscription: httpx.Client, kind: str, job: str) -> dict[str, Any]:
    return dict(subscription.get(f"/bulk/v1/{kind}/export/{job}/status.json").json()["result"][0])


def exported(subscription: httpx.Client, kind: str, document: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """A job that is complete, and its last status."""
    job = create(subscription, kind, document)
    assert post(subscription, f"{kind}/export/{job}/enqueue.json")["success"]
    for _ in range(3):
        last = status(subscription, kind, job)
    assert last["status"] == "Completed"
    return job, last


def download(subscription: httpx.Client, kind: str, job: str, **headers: str) -> httpx.Response:
    return subscription.get(f"/bulk/v1/{kind}/export/{job}/file.json", headers=headers)


def rows(answer: httpx.Response) -> list[list[str]]:
    return list(csv.reader(io.StringIO(answer.content.decode(), newline="")))


def test_a_job_goes_through_its_states(marketo: MarketoServer, subscription: httpx.Client) -> None:
    marketo.store.create_lead({"email": "a@acme.example"})
    created = post(subscription, "leads/export/create.json", LEADS)["result"][0]
    job = created["exportId"]
    assert created == {
        "exportId": job,
        "format": "CSV",
        "status": "Created",
        "createdAt": "2026-03-04T12:00:00Z",
    }
    answer = download(subscription, "leads", job)
    assert (answer.status_code, answer.headers["Content-Type"]) == (404, "text/plain")
    marketo.clock.advance(60)
    post(subscription, f"leads/export/{job}/enqueue.json")
    states = [status(subscription, "leads", job) for _ in range(3)]
    assert [state["status"] for state in states] == ["Processing", "Processing", "Completed"]
    content = b"id,email\n1,a@acme.example\n"
    assert states[2] == {
        "exportId": job,
        "format": "CSV",
        "status": "Completed",
        "createdAt": "2026-03-04T12:00:00Z",
        "queuedAt": "2026-03-04T12:01:00Z",
        "startedAt": "2026-03-04T12:01:00Z",
        "finishedAt": "2026-03-04T12:01:00Z",
        "numberOfRecords": 1,
        "fileSize": len(content),
        "fileChecksum": f"sha256:{hashlib.sha256(content).hexdigest()}",
    }
    assert download(subscription, "leads", job).content == content
    assert subscription.get("/bulk/v1/leads/export.json").json()["result"] == [states[2]]
    assert subscription.get("/bulk/v1/activities/export.json").json()["result"] == []


def test_activities_look_as_documented(marketo: MarketoServer, subscription: httpx.Client) -> None:
    store = marketo.store
    lead = store.create_lead({"email": "a@acme.example"})
    store.log_activity(
        "Send Email", lead, {"Step ID": 7}, primary_id=5, primary="A, \r\x00B", campaign=9, result="skipped"
    )
    store.log_activity("New Lead", lead)
    store.log_activity("Delete Lead", lead)
    job, _ = exported(subscription, "activities", ACTIVITIES)
    assert download(subscription, "activities", job).content == (
        b"marketoGUID,leadId,activityDate,activityTypeId,campaignId,primaryAttributeValueId,"
        b"primaryAttributeValue,attributes\n"
        b'1,1,2026-03-04T12:00:00Z,6,9,5,"A, \r\x00B","{""Step ID"": 7}"\n'
        b"2,1,2026-03-04T12:00:00Z,12,null,null,null,{}\n"
    )
    chosen = {**ACTIVITIES, "fields": ["marketoGUID", "actionResult"]}
    chosen["filter"] = {"createdAt": DAY, "activityTypeIds": [6]}
    job, _ = exported(subscription, "activities", chosen)
    assert rows(download(subscription, "activities", job)) == [
        ["marketoGUID", "actionResult"],
        ["1", "skipped"],
    ]


def test_leads_by_update_other_formats_and_headers(
    marketo: MarketoServer, subscription: httpx.Client
) -> None:
    marketo.store.create_lead({"email": "old@acme.example", "updatedAt": "2026-01-01T00:00:00Z"})
    marketo.store.create_lead({"unsubscribed": True, "company": "A;B"})
    document = {
        "format": "SSV",
        "fields": ["id", "email", "company", "unsubscribed"],
        "columnHeaderNames": {"email": "E-mail"},
        "filter": {"updatedAt": DAY},
    }
    job, _ = exported(subscription, "leads", document)
    assert (
        download(subscription, "leads", job).content == b'id;E-mail;company;unsubscribed\n2;null;"A;B";true\n'
    )
    marketo.exports.has_updated_at = False
    assert code(post(subscription, "leads/export/create.json", document)) == "1035"


def test_both_ends_of_a_range_belong_to_it(marketo: MarketoServer, subscription: httpx.Client) -> None:
    for at in ("2026-03-03T23:59:59Z", DAY["startAt"], DAY["endAt"], "2026-03-05T00:00:01Z"):
        marketo.store.create_lead({"createdAt": at})
    job, _ = exported(subscription, "leads", LEADS)
    assert [row[0] for row in rows(download(subscription, "leads", job))[1:]] == ["2", "3"]


def test_a_file_is_served_by_ranges(marketo: MarketoServer, subscription: httpx.Client) -> None:
    marketo.store.load_leads(["id", "createdAt"], ([n, DAY["startAt"]] for n in range(50)))
    job, last = exported(subscription, "leads", LEADS)
    whole = download(subscription, "leads", job).content
    first = download(subscription, "leads", job, Range="bytes=0-99")
    rest = download(subscription, "leads", job, Range="bytes=100-")
    assert (first.status_code, first.headers["Content-Range"]) == (206, f"bytes 0-99/{len(whole)}")
    assert first.content + rest.content == whole
    assert f"sha256:{hashlib.sha256(whole).hexdigest()}" == last["fileChecksum"]
    assert download(subscription, "leads", job, Range=f"bytes={len(whole)}-").status_code == 416


def test_two_run_and_ten_wait_or_run(marketo: MarketoServer, subscription: httpx.Client) -> None:
    jobs = [
        create(subscription, kind, LEADS if kind == "leads" else ACTIVITIES)
        for kind in ["leads", "activities"] * 5
    ]
    kinds = dict(zip(jobs, ["leads", "activities"] * 5, strict=True))
    for job in jobs:
        post(subscription, f"{kinds[job]}/export/{job}/enqueue.json")
    one_more = create(subscription, "leads", LEADS)
    refused = post(subscription, f"leads/export/{one_more}/enqueue.json")
    assert (code(refused), refused["errors"][0]["message"]) == ("1029", "Too many jobs in queue")
    marketo.exports.polls_until_complete = 99

    def states() -> list[str]:
        return [status(subscription, kinds[job], job)["status"] for job in jobs]

    assert states() == ["Processing"] * 2 + ["Queued"] * 8
    assert post(subscription, f"leads/export/{jobs[0]}/cancel.json")["result"][0]["status"] == "Cancelled"
    assert states() == ["Cancelled", "Processing", "Processing"] + ["Queued"] * 7
    assert post(subscription, f"leads/export/{one_more}/enqueue.json")["success"]
    assert code(post(subscription, f"leads/export/{jobs[0]}/cancel.json")) == "1003"


def test_the_bytes_of_a_day_are_metered(marketo: MarketoServer, subscription: httpx.Client) -> None:
    created = create(subscription, "leads", LEADS)
    _, last = exported(subscription, "leads", LEADS)
    assert marketo.limits.export_bytes.used() == last["fileSize"]
    marketo.limits.export_bytes.most = last["fileSize"]
    refused = post(subscription, "leads/export/create.json", LEADS)
    assert (code(refused), refused["errors"][0]["message"]) == ("1029", "Export daily quota exceeded")
    assert code(post(subscription, f"leads/export/{created}/enqueue.json")) == "1029"
    marketo.clock.advance(timedelta(hours=18).total_seconds())
    subscription.headers["Authorization"] = f"Bearer {token_of(marketo)}"
    assert post(subscription, f"leads/export/{created}/enqueue.json")["success"]


def test_files_are_kept_for_a_week(marketo: MarketoServer, subscription: httpx.Client) -> None:
    job, _ = exported(subscription, "leads", LEADS)
    marketo.clock.advance(timedelta(days=7).total_seconds())
    subscription.headers["Authorization"] = f"Bearer {token_of(marketo)}"
    assert download(subscription, "leads", job).status_code == 404


@pytest.mark.parametrize(
    ("kind", "changes", "expected"),
    [
        ("leads", {"fields": []}, "1002"),
        ("leads", {"fields": ["nothing"]}, "1006"),
        ("leads", {"format": "XML"}, "1003"),
        ("leads", {"filter": {}}, "1035"),
        ("leads", {"filter": {"createdAt": DAY, "updatedAt": DAY}}, "1035"),
        ("leads", {"filter": {"staticListId": 3}}, "1035"),
        ("leads", {"filter": {"createdAt": {**DAY, "endAt": "2026-04-04T00:00:01Z"}}}, "1003"),
        ("leads", {"filter": {"createdAt": {**DAY, "endAt": "2026-03-05T00:00:00.000Z"}}}, "1003"),
        ("leads", {"filter": {"createdAt": {**DAY, "endAt": "2026-03-03T00:00:00Z"}}}, "1003"),
        ("leads", {"filter": {"createdAt": {"startAt": "2026-03-05T00:00:00"}}}, "1003"),
        ("activities", {"filter": {"activityTypeIds": [6]}}, "1002"),
        ("activities", {"filter": {"createdAt": DAY, "activityTypeIds": [37]}}, "1003"),
        ("activities", {"filter": {"createdAt": DAY, "leadIds": [1]}}, "1035"),
        ("activities", {"fields": ["nothing"]}, "1006"),
    ],
)
def test_jobs_that_are_refused(
    subscription: httpx.Client, kind: str, changes: dict[str, Any], expected: str
) -> None:
    document = {**(LEADS if kind == "leads" else ACTIVITIES), **changes}
    assert code(post(subscription, f"{kind}/export/create.json", document)) == expected


def test_31_days_are_a_range(subscription: httpx.Client) -> None:
    month = {"startAt": "2026-03-04T00:00:00Z", "endAt": "2026-04-04T00:00:00Z"}
    assert create(subscription, "leads", {**LEADS, "filter": {"createdAt": month}})


def test_a_job_is_known_by_its_kind_and_id(subscription: httpx.Client) -> None:
    job = create(subscription, "leads", LEADS)
    assert code(post(subscription, f"activities/export/{job}/enqueue.json")) == "1013"
    assert code(post(subscription, "leads/export/nothing/enqueue.json")) == "1013"


def test_faults_of_the_field(marketo: MarketoServer, subscription: httpx.Client) -> None:
    marketo.store.load_activities(
        (n, 1, DAY["startAt"], 1, None, None, None, "{}", None) for n in range(1, len(ACTIVITY_COLUMNS) * 20)
    )
    job, last = exported(subscription, "activities", ACTIVITIES)
    path = r"file\.json"
    marketo.faults.add(path=path, nth=1, status=404, text="not there although complete")
    marketo.faults.add(path=path, nth=2, truncate_after=100)
    marketo.faults.add(path=path, nth=3, status=200, json={"success": False, "errors": [{"code": "713"}]})
    marketo.faults.add(path=path, nth=4, effects=["expire_tokens"])
    answers = [download(subscription, "activities", job) for _ in range(4)]
    assert answers[0].status_code == 404
    assert (answers[1].status_code, len(answers[1].content)) == (200, 100)
    assert f"sha256:{hashlib.sha256(answers[1].content).hexdigest()}" != last["fileChecksum"]
    assert [code_of(answer) for answer in answers[2:]] == ["713", "602"]


def code_of(answer: httpx.Response) -> str:
    return str(answer.json()["errors"][0]["code"])
