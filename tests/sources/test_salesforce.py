"""The type ``salesforce`` against the test server: nothing of an org is lost or doubled, whatever goes wrong."""

from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from casetrail_testkit import SalesforceServer
from casetrail_testkit.salesforce import bulk as served_bulk
from casetrail_testkit.salesforce.catalog import Field
from orchestration.sources.errors import QuotaExhausted, TransientError
from orchestration.sources.types.salesforce import bulk, reading
from tests.sources.salesforce_org import NOON, Connected, Crash, load_leads, opened_org, stamp

Connect = Callable[..., Connected]


@pytest.fixture
def org() -> Iterator[SalesforceServer]:
    with opened_org() as server:
        yield server


@pytest.fixture
def connect(org: SalesforceServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Connect:
    monkeypatch.setattr(bulk, "FIRST_PAUSE", 0.0)
    return lambda *streams, **changes: Connected(org, tmp_path, streams=streams or ("Lead",), **changes)


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bulk from the eleventh record on, in pages of 10 and windows of 60; checkpoints after each page."""
    monkeypatch.setattr("orchestration.sources.types.salesforce.CHECKPOINT_ROWS", 1)
    monkeypatch.setattr(reading, "REST_ROWS", 10)
    monkeypatch.setattr(reading, "BULK_WINDOW_ROWS", 60)
    monkeypatch.setattr(reading, "WHOLE_WINDOW_ROWS", 40)
    monkeypatch.setattr(bulk, "PAGE_ROWS", 10)


def truth(org: SalesforceServer, name: str = "Lead") -> list[str]:
    return sorted(row["Id"] for row in org.store.rows(name))


def asked(org: SalesforceServer, part: str) -> list[str]:
    return [served.target for served in org.requests if part in served.target]


@pytest.mark.parametrize("count", [0, 1, 10, 11, 130])
def test_a_first_read_brings_every_record_once_by_rest_or_bulk(
    org: SalesforceServer, connect: Connect, small: None, count: int
) -> None:
    load_leads(org, count)
    connected = connect()
    connected.sync()
    assert connected.ids("Lead") == truth(org)
    assert len(set(connected.ids("Lead"))) == count
    assert bool(asked(org, "jobs/query")) == (count > 10)
    assert connected.duplicates == 0


def test_values_are_the_same_by_rest_and_by_bulk(
    org: SalesforceServer, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    odd = 'a "quoted", \r\n and \r lone\x00 ü漢 \\N \t'
    values: dict[str, Any] = {"Name": odd, "Amount": 1250.5, "Probability": 40.0, "IsClosed": False}
    org.store.create("Opportunity", {**values, "CloseDate": "2026-03-09", "StageName": "Quote"})
    org.store.add_field("Opportunity", Field("Note__c"))
    org.clock.advance(120)
    by_rest, by_bulk = connect("Opportunity"), connect("Opportunity")
    by_rest.sync()
    monkeypatch.setattr(reading, "REST_ROWS", 0)
    by_bulk.sync()
    assert asked(org, "jobs/query")
    assert by_rest.rows == by_bulk.rows
    (row,) = by_rest.rows["Opportunity"]
    expected = {
        "Name": odd, "Amount": "1250.5", "Probability": "40", "IsClosed": "false", "CloseDate": "2026-03-09",
        "CreatedDate": stamp(0), "Note__c": None,
    }  # fmt: skip
    assert {name: row[name] for name in expected} == expected
    assert len(row["Id"] or "") == 18
    assert "ExpectedRevenue" not in row, "a formula is not read by itself"
    assert "Description" not in row, "nor is a long text"


def test_changes_come_once_with_ties_and_late_commits(org: SalesforceServer, connect: Connect) -> None:
    first = [org.store.create("Lead", {"LastName": "A"}) for _ in range(3)]
    org.clock.advance(120)
    connected = connect()
    connected.sync()
    connected.sync()
    assert (connected.ids("Lead"), connected.pulls) == (sorted(first), 1)
    # In the very second of the newest that was read, and stamped before it but seen after it.
    late = org.store.create("Lead", {"LastName": "Late"}, commits_in=400)
    org.clock.advance(100)
    tie = org.store.create("Lead", {"LastName": "Tie"})
    org.clock.advance(61)
    connected.sync()
    org.store.load("Lead", ["LastName", "SystemModstamp"], [["Tie too", stamp(220)]])
    org.clock.advance(300)
    connected.sync()
    assert connected.ids("Lead") == truth(org)
    assert {late, tie} <= set(connected.ids("Lead"))
    org.store.update("Lead", tie, {"Status": "Working"})
    org.clock.advance(61)
    connected.sync()
    assert [row["Status"] for row in connected.rows["Lead"] if row["Id"] == tie] == [None, "Working"]
    pulls = connected.pulls
    for _hour in range(3):
        org.clock.advance(3600)
        connected.sync()
    assert connected.pulls == pulls, "nothing new is no pull"


def test_where_a_read_goes_on_does_not_move_back(org: SalesforceServer, connect: Connect) -> None:
    """What lies behind the overlap has been forgotten, and would land twice."""
    kept = org.store.create("Lead", {"LastName": "A"})
    org.clock.advance(500)
    newest = org.store.create("Lead", {"LastName": "B"})
    org.clock.advance(61)
    connected = connect()
    connected.sync()
    before = connected.state
    org.store.delete("Lead", newest, hard=True)
    connected.sync()
    org.store.delete("Lead", kept, hard=True)
    connected.sync()
    assert connected.state == before


def test_what_is_younger_than_the_lag_waits_by_the_clock_of_the_org(
    org: SalesforceServer, connect: Connect
) -> None:
    org.store.create("Lead", {"LastName": "Young"})
    connected = connect()
    org.clock.advance(60)
    connected.sync()
    assert connected.ids("Lead") == []
    org.clock.advance(1)
    connected.sync()
    assert connected.ids("Lead") == truth(org)


def test_a_start_leaves_out_what_is_older_and_an_earlier_one_reads_anew(
    org: SalesforceServer, connect: Connect
) -> None:
    load_leads(org, 24, span=86_400)
    connected = connect()
    half = NOON - timedelta(hours=12)
    connected.sync(start=half)
    assert len(connected.ids("Lead")) == 12
    connected.sync(start=half)
    connected.sync()
    assert set(connected.ids("Lead")) == set(truth(org))


def test_a_crash_in_a_bulk_job_goes_on_behind_the_last_page(
    org: SalesforceServer, connect: Connect, small: None
) -> None:
    load_leads(org, 55)
    connected = connect()
    with pytest.raises(Crash):
        connected.sync(crash_at_page=4)
    assert len(connected.ids("Lead")) == 30
    before = len(org.requests)
    connected.sync()
    assert connected.ids("Lead") == truth(org)
    assert connected.duplicates <= 1
    again = [served for served in org.requests[before:] if "jobs/query" in served.target]
    assert not [served for served in again if served.method == "POST"], "the job is not asked for again"
    assert [served.target.count("locator=") for served in again if "results" in served.target] == [1, 1, 1]


@pytest.mark.parametrize("change", ["gone", "expired", "version", "fields"])
def test_a_bulk_job_that_cannot_be_gone_on_with_is_begun_again(
    org: SalesforceServer, connect: Connect, small: None, change: str
) -> None:
    load_leads(org, 55)
    connected = connect()
    with pytest.raises(Crash):
        connected.sync(crash_at_page=4)
    match change:
        case "gone":
            org.faults.add(
                path="jobs/query/750", times=1, status=404, json=[{"errorCode": "NOT_FOUND", "message": ""}]
            )
        case "expired":
            org.clock.advance(8 * 86_400)
        case "version":
            connected.config = connected.config.model_copy(update={"api_version": "63.0"})
        case "fields":
            org.store.add_field("Lead", Field("Region__c"))
    connected.sync()
    assert connected.ids("Lead") == truth(org)
    assert connected.duplicates >= 30


def test_a_session_that_ends_in_mid_download_is_renewed(
    org: SalesforceServer, connect: Connect, small: None
) -> None:
    load_leads(org, 100)
    for path, nth in (("results", 2), ("results", 5), ("jobs/query/750[^/]*$", 3), ("count", 2)):
        org.faults.add(path=path, nth=nth, effects=["expire_tokens"])
    connected = connect()
    connected.sync()
    assert connected.ids("Lead") == truth(org)
    assert connected.duplicates == 0


@pytest.mark.parametrize(
    "fault",
    [
        {"path": "results", "nth": 2, "truncate_after": 700},
        {"path": "results", "nth": 2, "truncate_after": 703},
        {"path": "results", "nth": 3, "drop_after": 150},
        {"path": "results", "nth": 2, "status": 200, "text": "<html>Maintenance</html>"},
        {"path": "results", "nth": 2, "status": 503, "headers": {"Retry-After": "5"}},
        {"path": "describe", "nth": 1, "truncate_after": 300},
        {"path": "jobs/query/750[^/]*$", "nth": 1, "status": 200, "text": "<html>Maintenance</html>"},
        {"path": "count", "nth": 1, "status": 200, "json": {"done": True}},
        {"path": "count", "nth": 1, "status": 500, "json": [{"errorCode": "UNKNOWN_EXCEPTION", "message": "x"}]},
    ],
)  # fmt: skip
def test_a_damaged_answer_loses_and_doubles_nothing(
    org: SalesforceServer, connect: Connect, small: None, fault: dict[str, Any]
) -> None:
    load_leads(org, 55)
    org.faults.add(**fault)
    connected = connect()
    with pytest.raises(TransientError):
        connected.sync()
    ((_fault, fired),) = org.faults.fired()
    assert fired == 1
    connected.sync()
    assert connected.ids("Lead") == truth(org)
    assert len(set(connected.ids("Lead"))) == len(connected.ids("Lead"))


@pytest.mark.parametrize("wrong", [1, -1])
def test_a_job_that_gives_another_number_of_records_is_done_again(
    org: SalesforceServer, connect: Connect, small: None, monkeypatch: pytest.MonkeyPatch, wrong: int
) -> None:
    load_leads(org, 55)
    shown = served_bulk._shown

    def miscounted(job: Any, *, with_result: bool) -> dict[str, Any]:
        told = shown(job, with_result=with_result)
        return told | {"numberRecordsProcessed": told.get("numberRecordsProcessed", 0) + wrong}

    connected = connect()
    with monkeypatch.context() as patch:
        patch.setattr(served_bulk, "_shown", miscounted)
        with pytest.raises(TransientError, match="has processed"):
            connected.sync()
    assert "Lead" not in (connected.state or {})
    connected.sync()
    assert connected.ids("Lead") == truth(org)
    assert connected.duplicates >= 50


def test_a_page_with_too_few_records_is_asked_for_again(
    org: SalesforceServer, connect: Connect, small: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    load_leads(org, 55)
    read, pages = bulk._whole, list[bytearray]()

    def kept(download: Any) -> bytearray:
        pages.append(read(download))
        return pages[-1]

    monkeypatch.setattr(bulk, "_whole", kept)
    connect().sync()
    last = pages[1].rindex(b'\n"00Q') + 1
    org.faults.add(path="results", nth=2, truncate_after=last)
    connected = connect()
    with pytest.raises(TransientError, match="promised 10 records and has 9"):
        connected.sync()
    jobs = len([served for served in org.requests if served.method == "POST"])
    connected.sync()
    assert connected.ids("Lead") == truth(org)
    again = len([served for served in org.requests if served.method == "POST"])
    assert again == jobs + 1, "a sign-in: the job is gone on with"


def test_a_query_that_gives_fewer_records_than_it_promised_is_asked_again(
    org: SalesforceServer, connect: Connect
) -> None:
    load_leads(org, 5)
    empty = {"totalSize": 5, "done": True, "records": []}
    org.faults.add(path="ORDER BY", status=200, json=empty)
    connected = connect()
    with pytest.raises(TransientError, match="promised 5 records and gave 0"):
        connected.sync()
    connected.sync()
    assert connected.ids("Lead") == truth(org)


def test_a_page_that_ends_within_a_record_is_not_taken(
    org: SalesforceServer, connect: Connect, small: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Wherever the last record of a page of CSV ends early, no value is cut."""
    org.store.add_field("Lead", Field("Note__c"))
    note = 'said "so"\nand "then, after\n\n"'
    stamps = ("CreatedDate", "SystemModstamp")
    org.store.load("Lead", ["Note__c", *stamps], ([note, stamp(-600), stamp(-600)] for _ in range(11)))
    read, lengths = bulk._whole, list[int]()

    def measured(download: Any) -> bytearray:
        lengths.append(len(content := read(download)))
        return content

    monkeypatch.setattr(bulk, "PAGE_ROWS", 11)
    monkeypatch.setattr(bulk, "_whole", measured)
    connect().sync()
    for cut in range(1, 30):
        connected = connect()
        org.faults.clear()
        org.faults.add(path="results", truncate_after=lengths[0] - cut)
        with pytest.raises(TransientError):
            connected.sync()
        assert connected.rows == {}


@pytest.mark.parametrize("page", ["Id\n00Q,Ada Lovelace\n", "00Q,Ada Lovelace\n"])
def test_what_is_no_page_of_a_bulk_job_is_not_shown(
    org: SalesforceServer, connect: Connect, small: None, page: str
) -> None:
    """A row that is too long, or in the place of the header, has somebody's name in it."""
    load_leads(org, 11)
    org.faults.add(path="results", status=200, headers={"Content-Type": "text/csv"}, text=page)
    with pytest.raises(TransientError, match=r"is no CSV\.$|other columns than were asked for\.$"):
        connect().sync()


def test_a_long_query_is_divided_until_it_is_answered(
    org: SalesforceServer, connect: Connect, small: None
) -> None:
    load_leads(org, 50)
    org.faults.add(
        path="count", times=2, status=400, json=[{"errorCode": "QUERY_TIMEOUT", "message": "slow"}]
    )
    org.bulk.fail_next()
    connected = connect()
    connected.sync()
    assert connected.ids("Lead") == truth(org)


@pytest.mark.parametrize(
    ("status", "code", "message"),
    [
        (400, "API_ERROR", "Selecting compound data not supported in Bulk Query"),
        (400, "INVALIDENTITY", "Entity 'Lead' is not supported by the Bulk API."),
        (403, "INSUFFICIENT_ACCESS", "no"),
    ],
)
def test_what_bulk_refuses_comes_by_rest(
    org: SalesforceServer, connect: Connect, small: None, status: int, code: str, message: str
) -> None:
    load_leads(org, 55)
    refusal = [{"errorCode": code, "message": message}]
    org.faults.add(path="jobs/query$", method="POST", times=0, status=status, json=refusal)
    connected = connect()
    connected.sync()
    assert connected.ids("Lead") == truth(org)


def test_what_bulk_does_not_serve_comes_by_rest(org: SalesforceServer, connect: Connect, small: None) -> None:
    org.store.load(
        "CaseStatus", ["MasterLabel", "SystemModstamp"], ([f"S{n}", stamp(-n * 60)] for n in range(2, 92))
    )
    connected = connect("CaseStatus")
    connected.sync()
    assert connected.ids("CaseStatus") == truth(org, "CaseStatus")
    assert {
        served.status for served in org.requests if served.method == "POST" and "jobs" in served.target
    } == {400}


def test_deleted_and_merged_records_become_tombstones(org: SalesforceServer, connect: Connect) -> None:
    kept, gone, loser, purged = (org.store.create("Lead", {"LastName": n}) for n in "ABCD")
    org.clock.advance(3600)
    connected = connect()
    connected.sync()
    org.store.delete("Lead", gone)
    org.store.merge("Lead", kept, loser)
    org.clock.advance(3600)
    connected.sync()
    connected.sync()
    assert connected.ids("Lead deleted") == sorted([gone, loser])
    masters = {row["Id"]: row["MasterRecordId"] for row in connected.rows["Lead deleted"]}
    assert masters == {gone: None, loser: kept}
    # One that leaves the recycle bin before anybody looked is but an id, and comes once.
    org.store.delete("Lead", purged)
    org.store.empty_recycle_bin("Lead")
    for _hour in range(3):
        org.clock.advance(3600)
        org.store.create("Lead", {"LastName": "Meanwhile"})
        connected.sync()
    assert connected.ids("Lead deleted") == sorted([gone, loser, purged])
    assert set(connected.ids("Lead")) >= {kept, gone, loser, purged}
    (bare,) = [row for row in connected.rows["Lead deleted"] if row["Id"] == purged]
    assert (bare["IsDeleted"], bare["event_time"]) == ("true", None)


def test_a_log_of_deletes_that_was_purged_is_told(org: SalesforceServer, connect: Connect) -> None:
    org.store.create("Lead", {"LastName": "A"})
    org.clock.advance(3600)
    connected = connect()
    connected.sync()
    org.clock.advance(7200)
    org.store.purge_delete_log("Lead")
    org.clock.advance(60)
    connected.sync()
    assert connected.requests[-1]["Lead"]["deletes_not_told"][1] == "2026-03-04T15:00:00+00:00"


def test_columns_that_come_and_go_stop_nothing(org: SalesforceServer, connect: Connect) -> None:
    org.store.create("Lead", {"LastName": "A"})
    org.clock.advance(3600)
    connected = connect()
    connected.sync()
    org.store.add_field("Lead", Field("Region__c"))
    second = org.store.create("Lead", {"LastName": "B", "Region__c": "North"})
    org.clock.advance(3600)
    connected.sync()
    org.store.remove_field("Lead", "Region__c")
    org.store.retype_field("Lead", "AnnualRevenue", "string")
    org.store.create("Lead", {"LastName": "C", "AnnualRevenue": "much"})
    org.clock.advance(3600)
    connected.sync()
    # Without a column that it had, a record that is read again is another version of itself.
    assert set(connected.ids("Lead")) == set(truth(org))
    assert {(row["Id"], row.get("Region__c")) for row in connected.rows["Lead"]} >= {(second, "North")}


def test_an_object_that_may_not_be_read_holds_up_no_other(org: SalesforceServer, connect: Connect) -> None:
    org.store.create("Lead", {"LastName": "A"})
    org.store.create("Contact", {"LastName": "A"})
    org.clock.advance(3600)
    org.faults.add(
        path="FROM Contact", times=0, status=403, json=[{"errorCode": "INSUFFICIENT_ACCESS", "message": "no"}]
    )
    connected = connect("Contact", "Lead")
    with pytest.raises(TransientError, match="Contact: INSUFFICIENT_ACCESS") as caught:
        connected.sync()
    assert caught.value.retry_after == 3600
    assert connected.ids("Lead") == truth(org)
    org.faults.clear()
    connected.sync()
    assert connected.ids("Contact") == truth(org, "Contact")


def test_a_quota_stops_a_read_which_goes_on_where_it_was(
    org: SalesforceServer, connect: Connect, small: None
) -> None:
    load_leads(org, 130)
    org.faults.add(path="results", nth=7, effects=["exhaust_calls"])
    connected = connect()
    with pytest.raises(QuotaExhausted) as caught:
        connected.sync()
    assert caught.value.resume_at == org.clock.now() + timedelta(hours=1)
    assert 40 < len(connected.ids("Lead")) < 110
    org.clock.advance(86_400)
    connected.sync()
    assert connected.ids("Lead") == truth(org)


def test_a_field_history_is_read_by_the_time_of_its_creation(org: SalesforceServer, connect: Connect) -> None:
    """ActivityFieldHistory has a SystemModstamp that cannot be filtered by."""
    org.store.create("ActivityFieldHistory", {"Field": "Status"})
    org.clock.advance(3600)
    connected = connect("ActivityFieldHistory")
    connected.sync()
    assert connected.ids("ActivityFieldHistory") == truth(org, "ActivityFieldHistory")
    assert connected.state == {
        "ActivityFieldHistory": {
            "cursor": "CreatedDate",
            "newest": 1772625600000000,
            "covered": "2026-03-04T12:50:00Z",
        }
    }


def test_an_object_with_very_many_fields_is_asked_for_in_a_body(
    org: SalesforceServer, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(380):
        org.store.add_field("Lead", Field(f"An_Uncommonly_Long_Name_Of_A_Field_{number}__c"))
    org.store.create("Lead", {"LastName": "A"})
    org.clock.advance(3600)
    connected = connect()
    connected.sync()
    connected.sync()
    assert connected.ids("Lead") == truth(org)
    assert {served.status for served in org.requests} == {200}
    monkeypatch.setattr(reading, "_ADDRESS_CHARACTERS", 100_000)
    unwarned = connect()
    unwarned.sync()
    unwarned.sync()
    assert unwarned.ids("Lead") == truth(org)
    assert {served.status for served in org.requests} == {200, 414}
