"""What a Marketo subscription has is pulled: all of it, each record once, wherever a read stops."""

import csv
import random
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from casetrail_testkit import MarketoServer, fivetran
from casetrail_testkit.marketo.catalog import ActivityType, LeadField
from orchestration.sources.errors import QuotaExhausted, TransientError
from orchestration.sources.types.marketo import exports, reading
from orchestration.sources.types.marketo.export_rows import export_rows
from tests.sources.marketo_puller import NOON, Died, Make, Puller, config_of, pages_of


def stamp(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def log(
    marketo: MarketoServer, lead: int, count: int, kind: str = "Click Email", **details: Any
) -> list[int]:
    return [
        marketo.store.log_activity(kind, lead, {"Link": f"https://x/{n}"}, **details) for n in range(count)
    ]


def test_everything_is_pulled_as_it_is_in_the_store(marketo: MarketoServer, make: Make) -> None:
    lead = marketo.store.create_lead(
        {"email": "a@acme.example", "sfdcLeadId": "00Q1", "unsubscribed": True, "leadScore": 7}
    )
    attributes = {"Link": 'a "b", c\r\nd', "Is Mobile Device": False, "Device": None, "Score": {"a": [1.50]}}
    marketo.store.log_activity("Click Email", lead, attributes, campaign=4, primary_id=9, primary="Mail, 1")
    marketo.store.log_activity("New Lead", lead, result="skipped")
    marketo.store.programs = [{"id": 1, "name": "P", "createdAt": "2026-01-02T03:04:05Z+0000"}]
    marketo.store.campaigns = [{"id": n, "name": f"C{n}", "active": True} for n in range(301)]
    marketo.clock.advance(60)
    puller = make()
    puller.pull()
    assert puller.live["leads"] == [
        {
            "id": "1",
            "createdAt": "2026-03-04T12:00:00Z",
            "updatedAt": "2026-03-04T12:00:00Z",
            "sfdcLeadId": "00Q1",
            "email": "a@acme.example",
            "leadScore": "7",
            "unsubscribed": "true",
        }
    ]
    clicked, made = puller.live["activities"]
    assert clicked == {
        "marketoGUID": "1",
        "leadId": "1",
        "activityDate": "2026-03-04T12:00:00Z",
        "activityTypeId": "11",
        "activityType": "Click Email",
        "campaignId": "4",
        "primaryAttributeValueId": "9",
        "primaryAttributeValue": "Mail, 1",
        "Link": 'a "b", c\r\nd',
        "Is Mobile Device": "false",
        # Not what the type lists: kept, as the vendor wrote it.
        "otherAttributes": '{"Score":{"a":["1.5"]}}',
    }
    assert (made["activityType"], made["actionResult"]) == ("New Lead", "skipped")
    assert puller.columns["activities"]["Is Mobile Device"] == "string"
    assert [row["createdAt"] for row in puller.live["programs"]] == ["2026-01-02T03:04:05Z"]
    assert (len(puller.live["campaigns"]), puller.live["campaigns"][300]["active"]) == (301, "true")
    assert {row["name"] for row in puller.live["activity_types"]} == set(marketo.store.types)
    assert puller.tombstones.get("leads", []) == []


def test_a_second_pull_brings_what_is_new_and_nothing_twice(marketo: MarketoServer, make: Make) -> None:
    lead = marketo.store.create_lead({"email": "a"})
    log(marketo, lead, 5)
    late = marketo.store.log_activity("Click Email", lead, commits_in=500)
    marketo.clock.advance(1)
    puller = make()
    puller.pull()
    assert puller.guids() == [1, 2, 3, 4, 5]
    # In the second at which the first window ended, before and after it was read.
    tie = log(marketo, lead, 1)
    puller.pull()
    tie += log(marketo, lead, 1)
    marketo.store.update_lead(lead, {"email": "b"})
    marketo.clock.advance(500)
    puller.pull()
    assert puller.guids() == [*range(1, 6), late, *tie]
    assert [row["email"] for row in puller.live["leads"]] == ["a", "b"]
    assert puller.pull() == 0
    marketo.clock.advance(5_000)
    assert puller.pull() == 0
    assert len(puller.live["activity_types"]) == len(marketo.store.types)


def test_a_window_that_ends_before_the_last_one_is_read_again_and_nothing_is_forgotten(
    marketo: MarketoServer, make: Make
) -> None:
    lead = marketo.store.create_lead({})
    late = marketo.store.log_activity("Click Email", lead, commits_in=400)
    log(marketo, lead, 3)
    marketo.clock.advance(399)
    puller = make()
    puller.pull()
    assert puller.guids() == [2, 3, 4]
    assert puller.state is not None
    until = puller.state["activities"]["until"]
    marketo.clock.advance(1)
    puller.end = marketo.clock.now() - timedelta(seconds=100)
    assert puller.pull() == 1
    assert puller.guids() == [late, 2, 3, 4]
    assert puller.state is not None
    assert puller.state["activities"]["until"] == until
    assert puller.pull() == 0


def test_windows_span_31_days_at_most_and_leave_nothing_between_them(
    marketo: MarketoServer, make: Make
) -> None:
    lead, start = marketo.store.create_lead({"email": "a"}), datetime(2025, 10, 1, tzinfo=UTC)
    seconds = int((NOON - start).total_seconds())
    dates = [start + timedelta(seconds=n * seconds // 400) for n in range(400)]
    # At the seam of two windows, and the second before and after.
    seam = start + timedelta(days=31)
    dates += [seam - timedelta(seconds=1), seam, seam + timedelta(seconds=1)]
    for date in dates:
        marketo.store.log_activity("Click Email", lead, at=stamp(date))
    puller = make(start=stamp(start))
    puller.pull()
    assert puller.guids() == list(range(1, 404))
    asked = [c.request["activities"] for c in puller.checkpoints if "activities" in c.request]
    spans = [(datetime.fromisoformat(one["from"]), datetime.fromisoformat(one["until"])) for one in asked]
    assert len(spans) == 5
    assert all(end - begin <= timedelta(days=31) for begin, end in spans)
    assert all(after[0] == before[1] - timedelta(seconds=600) for before, after in pairwise(spans))
    # One export of all types for a window, and one of leads.
    created = [r for r in marketo.requests if r.target.endswith("activities/export/create.json")]
    assert len(created) == 5


def test_only_wanted_types_and_fields_are_asked_for(marketo: MarketoServer, make: Make) -> None:
    lead = marketo.store.create_lead({"email": "a", "firstName": "Ann", "company": "Acme"})
    log(marketo, lead, 2)
    log(marketo, lead, 3, "Visit Webpage")
    gone = marketo.store.create_lead({})
    marketo.store.merge_leads(lead, [gone])
    marketo.clock.advance(10_000)
    puller = make(activity_types=["Visit Webpage"], lead_fields=["firstName"])
    puller.pull()
    assert {row["activityType"] for row in puller.live["activities"]} == {"Visit Webpage"}
    assert "Link" not in puller.columns["activities"]
    assert list(puller.columns["leads"]) == ["id", "createdAt", "updatedAt", "firstName"]
    assert len(puller.live["merges"]) == 1
    # Other fields are another question: it is asked from the beginning, of leads alone.
    puller.config = config_of(marketo, activity_types=["Visit Webpage"], lead_fields=["company"])
    puller.pull()
    assert puller.live["leads"][-1]["company"] == "Acme"
    assert len(puller.live["activities"]) == 3


def test_an_earlier_start_is_read_from_there_on(marketo: MarketoServer, make: Make) -> None:
    lead = marketo.store.create_lead({})
    marketo.store.log_activity("Click Email", lead, at="2026-02-01T00:00:00Z")
    marketo.store.log_activity("Click Email", lead, at="2026-03-02T00:00:00Z")
    puller = make()
    puller.pull()
    assert puller.guids() == [2]
    puller.config = config_of(marketo, start="2026-01-15T00:00:00Z")
    puller.pull()
    assert set(puller.guids()) == {1, 2}
    puller.config = config_of(marketo, start="2026-03-03T00:00:00Z")
    assert puller.pull() == 0


def test_merges_and_deletions_are_told_and_remove_nothing(marketo: MarketoServer, make: Make) -> None:
    winner, *losers = (marketo.store.create_lead({"email": f"{n}"}) for n in range(3))
    deleted = marketo.store.create_lead({"email": "gone"})
    log(marketo, deleted, 1)
    marketo.clock.advance(1)
    puller = make()
    puller.pull()
    before = [dict(row) for row in puller.live["leads"]]
    marketo.store.merge_leads(winner, losers)
    marketo.store.delete_lead(deleted)
    marketo.clock.advance(1)
    puller.pull()
    assert puller.live["leads"][: len(before)] == before
    assert [(row["winner"], row["loser"]) for row in puller.live["merges"]] == [("1", "2"), ("1", "3")]
    assert sorted(row["id"] for row in puller.tombstones["leads"]) == ["2", "3", "4"]
    assert {row["updatedAt"] for row in puller.tombstones["leads"]} == {"2026-03-04T12:00:01Z"}
    told = {row["activityType"]: row for row in puller.live["activities"]}
    assert set(told) == {"Click Email", "Merge Leads", "Delete Lead"}
    # The name of a lead stands in a column of its own, which is personal.
    assert told["Delete Lead"]["leadName"] == "Lead 4"
    assert "primaryAttributeValue" not in told["Delete Lead"]
    marketo.clock.advance(10)
    assert puller.pull() == 0


def test_deletions_are_found_behind_pages_that_are_empty(marketo: MarketoServer, make: Make) -> None:
    lead, gone = marketo.store.create_lead({}), marketo.store.create_lead({})
    log(marketo, lead, 700)
    marketo.store.delete_lead(gone)
    marketo.clock.advance(1)
    puller = make(streams=["leads"])
    puller.pull()
    assert [row["id"] for row in puller.tombstones["leads"]] == [str(gone)]
    assert "activities" not in puller.live


def test_types_go_by_their_names_whatever_their_ids(marketo: MarketoServer, make: Make) -> None:
    for name, number in (("Merge Leads", 1_001), ("Delete Lead", 1_002), ("Click Email", 1_003)):
        kind = marketo.store.types[name]
        marketo.store.define_type(ActivityType(number, name, kind.primary, kind.attributes))
    a, b, c = (marketo.store.create_lead({}) for _ in range(3))
    log(marketo, a, 1)
    marketo.store.merge_leads(a, [b])
    marketo.store.delete_lead(c)
    marketo.clock.advance(1)
    puller = make()
    puller.pull()
    assert [row["loser"] for row in puller.live["merges"]] == ["2"]
    assert sorted(row["id"] for row in puller.tombstones["leads"]) == ["2", "3"]


def test_a_subscription_without_a_filter_of_changes_is_read_by_creation(
    marketo: MarketoServer, make: Make
) -> None:
    marketo.exports.has_updated_at = False
    marketo.store.create_lead({"email": "a"})
    marketo.clock.advance(1)
    puller = make()
    puller.pull()
    assert [row["email"] for row in puller.live["leads"]] == ["a"]
    marketo.store.create_lead({"email": "b"})
    marketo.clock.advance(1)
    puller.pull()
    assert [row["email"] for row in puller.live["leads"]] == ["a", "b"]


def test_columns_follow_the_subscription(marketo: MarketoServer, make: Make) -> None:
    lead = marketo.store.create_lead({"email": "a"})
    log(marketo, lead, 1)
    marketo.clock.advance(1)
    puller = make(lead_fields=["email", "industry", "tier"])
    puller.pull()
    assert (puller.columns["leads"]["tier"], puller.columns["leads"]["industry"]) == ("absent", "string")
    marketo.store.add_field(LeadField("tier", "integer"))
    marketo.store.remove_field("industry")
    marketo.store.retype_field("email", "string")
    clicks = marketo.store.types["Click Email"]
    marketo.store.define_type(ActivityType(clicks.id, clicks.name, clicks.primary, ("LINK", "marketoGUID")))
    other = marketo.store.create_lead({"email": "b", "tier": 3})
    marketo.store.log_activity("Click Email", other, {"LINK": "x", "marketoGUID": "mine"})
    marketo.clock.advance(1)
    puller.pull()
    assert puller.columns["leads"] == {
        "id": "integer",
        "createdAt": "datetime",
        "updatedAt": "datetime",
        "email": "string",
        "industry": "absent",
        "tier": "integer",
    }
    assert puller.live["leads"][-1]["tier"] == "3"
    # A name that a column has already, but for its case, is no second column.
    newest = puller.live["activities"][-1]
    assert (newest["LINK"], newest["attribute marketoGUID"], newest["marketoGUID"]) == ("x", "mine", "2")


def test_a_read_that_dies_anywhere_loses_and_doubles_nothing(
    marketo: MarketoServer, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "PAGE_ROWS", 7)
    monkeypatch.setattr(reading, "CHECKPOINT_ROWS", 21)
    lead = marketo.store.create_lead({"email": "a"})
    log(marketo, lead, 100)
    marketo.clock.advance(1)
    puller, deaths = make(streams=["leads", "activities"]), 0
    for pages in range(1, 6):
        with pytest.raises(Died):
            puller.pull(die_after_pages=pages)
        deaths += 1
    created = [r for r in marketo.requests if r.target.endswith("export/create.json")]
    puller.pull()
    assert puller.guids() == list(range(1, 101))
    assert len(puller.live["leads"]) == 1
    # The exports of the first read were found again by every other, whose overlap was looked at then.
    assert (deaths, len(created)) == (5, 2)
    assert len([r for r in marketo.requests if r.target.endswith("export/create.json")]) == 4


def dead_in_an_export(marketo: MarketoServer, make: Make, monkeypatch: pytest.MonkeyPatch) -> Puller:
    """A read of 50 activities that died on the third page of ten, behind a checkpoint after 20."""
    monkeypatch.setattr(reading, "PAGE_ROWS", 10)
    monkeypatch.setattr(reading, "CHECKPOINT_ROWS", 20)
    log(marketo, marketo.store.create_lead({}), 50)
    marketo.clock.advance(1)
    puller = make(streams=["activities"])
    with pytest.raises(Died):
        puller.pull(die_after_pages=3)
    return puller


def test_an_export_goes_on_behind_the_rows_that_have_landed(
    marketo: MarketoServer, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    puller = dead_in_an_export(marketo, make, monkeypatch)
    assert puller.state is not None
    assert puller.state["activities"]["export"]["rows"] == 20
    first, *_ = pages_of(puller)
    assert first.records.column("marketoGUID").to_pylist() == [str(n) for n in range(21, 31)]


def test_an_export_that_is_gone_is_made_anew(
    marketo: MarketoServer, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    puller = dead_in_an_export(marketo, make, monkeypatch)
    # The file is kept for seven days.
    marketo.clock.advance(8 * 86_400)
    with pytest.raises(TransientError, match="is not there") as caught:
        puller.pull()
    assert caught.value.retry_after == exports.NEXT_TRY_SECONDS
    puller.pull()
    assert puller.guids() == list(range(1, 51))


@pytest.mark.parametrize("ending", ["Failed", "Canceled", "Cancelled"])
def test_an_export_that_fails_is_made_anew(marketo: MarketoServer, make: Make, ending: str) -> None:
    log(marketo, marketo.store.create_lead({}), 3)
    marketo.clock.advance(1)
    status = {"success": True, "result": [{"exportId": "x", "status": ending}]}
    marketo.faults.add(path="activities/export/.*status", status=200, json=status)
    puller = make()
    with pytest.raises(TransientError, match=f"ended as {ending} in Marketo"):
        puller.pull()
    puller.pull()
    assert puller.guids() == [1, 2, 3]


def test_the_control_total_is_held_against_the_rows(marketo: MarketoServer, make: Make) -> None:
    log(marketo, marketo.store.create_lead({}), 3)
    marketo.clock.advance(1)
    status = {
        "success": True,
        "result": [{"exportId": "x", "status": "Completed", "numberOfRecords": 4}],
    }
    marketo.exports.polls_until_complete = 1
    marketo.faults.add(path="activities/export/.*status", nth=3, status=200, json=status)
    puller = make()
    with pytest.raises(TransientError, match="has 3 records of 4"):
        puller.pull()
    puller.pull()
    assert puller.guids() == [1, 2, 3]


@pytest.mark.parametrize(
    "fault",
    [
        {"drop_after": 3_000},
        {"drop_after": 0},
        {"truncate_after": 3_000},
        {"status": 200, "text": "<html>Maintenance</html>"},
        {"status": 502, "text": "<html>Bad gateway</html>"},
        {"status": 404, "text": "The file is not there"},
        {"effects": ["expire_tokens"]},
        {
            "status": 200,
            "json": {"success": False, "errors": [{"code": "606", "message": "Max rate limit"}]},
        },
    ],
)
@pytest.mark.parametrize("times", [1, 3])
def test_a_download_that_goes_wrong_goes_on(
    marketo: MarketoServer, make: Make, fault: dict[str, Any], times: int
) -> None:
    log(marketo, marketo.store.create_lead({}), 200)
    marketo.clock.advance(1)
    marketo.faults.add(path="activities/export/.*file", times=times, **fault)
    puller = make()
    puller.pull()
    assert puller.guids() == list(range(1, 201))
    if fault.get("drop_after"):
        statuses = [r.status for r in marketo.requests if "activities" in r.target and "file" in r.target]
        assert statuses == [0] * times + [206]


def test_a_file_that_is_not_what_its_checksum_says_is_fetched_again(
    marketo: MarketoServer, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    log(marketo, marketo.store.create_lead({}), 5)
    marketo.clock.advance(1)
    answer, damaged = marketo.answer, []

    def damaging(request: Any) -> Any:
        response = answer(request)
        if "activities" in request.path and request.path.endswith("file.json") and len(damaged) < damages:
            damaged.append(1)
            body = b"".join(response.chunks()).replace(b"https", b"HTTPS")
            return type(response)(response.status, response.headers, body)
        return response

    monkeypatch.setattr(marketo, "answer", damaging)
    damages, puller = 1, make()
    puller.pull()
    assert puller.guids() == [1, 2, 3, 4, 5]
    assert all(row["Link"].startswith("https") for row in puller.live["activities"])
    log(marketo, 1, 1)
    marketo.clock.advance(1)
    damages = 1 + exports.WHOLE_DOWNLOADS
    with pytest.raises(TransientError, match="not what its checksum says"):
        puller.pull()
    puller.pull()
    assert puller.guids() == [1, 2, 3, 4, 5, 6]


def test_a_record_in_the_place_of_the_header_is_not_shown(
    marketo: MarketoServer, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    log(marketo, marketo.store.create_lead({}), 5)
    marketo.clock.advance(1)
    monkeypatch.setattr(exports, "_is_expected", lambda _path, _expected: True)
    file = "1,Ada Lovelace\n" * 1_000
    marketo.faults.add(path="activities.*file", status=200, headers={"Content-Type": "text/csv"}, text=file)
    with pytest.raises(TransientError, match=r"has other columns than were asked for\. The next sync"):
        make().pull()


def test_an_export_that_waits_too_long_is_left_to_the_next_read(marketo: MarketoServer, make: Make) -> None:
    log(marketo, marketo.store.create_lead({}), 3)
    marketo.clock.advance(1)
    marketo.exports.polls_until_complete = 100
    puller = make(poll_seconds=60)
    with pytest.raises(TransientError, match="still processing in Marketo after 30 min") as caught:
        puller.pull()
    assert (caught.value.retry_after or 0) > 300
    marketo.exports.polls_until_complete = 2
    puller.pull()
    assert puller.guids() == [1, 2, 3]
    assert len([r for r in marketo.requests if r.target.endswith("activities/export/create.json")]) == 2


def test_a_full_queue_is_waited_for(marketo: MarketoServer, make: Make) -> None:
    log(marketo, marketo.store.create_lead({}), 3)
    marketo.clock.advance(1)
    full = {"success": False, "errors": [{"code": "1029", "message": "Too many jobs in queue"}]}
    marketo.faults.add(path="enqueue", status=200, json=full)
    puller = make()
    with pytest.raises(TransientError, match="Too many jobs in queue") as caught:
        puller.pull()
    assert caught.value.retry_after == 120
    puller.pull()
    assert puller.guids() == [1, 2, 3]
    # The job that could not be queued was queued.
    refused, queued, *_ = (r.target for r in marketo.requests if "enqueue" in r.target)
    assert refused == queued


def test_the_days_bytes_stop_a_read_between_two_windows_until_midnight(
    marketo: MarketoServer, make: Make
) -> None:
    lead = marketo.store.create_lead({})
    for date in ("2026-01-05T00:00:00Z", "2026-02-05T00:00:00Z"):
        log(marketo, lead, 3, at=date)
    marketo.clock.advance(1)
    # Used up by the first window's files.
    marketo.limits.export_bytes.most = 100
    puller = make(start="2026-01-01T00:00:00Z", window_days=30, streams=["activities"])
    with pytest.raises(QuotaExhausted, match="Export daily quota exceeded") as caught:
        puller.pull()
    assert caught.value.resume_at == datetime(2026, 3, 5, 6, tzinfo=UTC)
    # What the first window brought is not lost with it.
    assert puller.guids() == [1, 2, 3]
    marketo.limits.export_bytes.most = 10**9
    puller.pull()
    assert puller.guids() == [1, 2, 3, 4, 5, 6]


def test_what_stands_in_a_value_loses_no_row(tmp_path: Path) -> None:
    path = tmp_path / "export.csv"
    path.write_bytes(
        b'\xef\xbb\xbfid,text\n1,a\rb\n2,"c\r\nd"\n3,n\0ul\n4,null\n5,\n6,"nu""ll"\n7,caf\xe9\n8,\r\n'
    )
    assert list(export_rows(path)) == [
        ["id", "text"],
        ["1", "a\rb"],
        ["2", "c\r\nd"],
        ["3", "nul"],
        ["4", None],
        ["5", ""],
        ["6", 'nu"ll'],
        ["7", "caf\ufffd"],
        ["8", "\r"],
    ]
    path.write_bytes(b'id,text\r\n1,a\r\n2,"b\r"\r\n')
    assert list(export_rows(path)) == [["id", "text"], ["1", "a"], ["2", "b\r"]]


def test_strange_text_comes_through_whole(marketo: MarketoServer, make: Make) -> None:
    texts = ["a\rb", "\r\n", '"', ",", "null", "é\u2028ü", "x\\", "{}", " "]
    lead = marketo.store.create_lead({})
    for text in texts:
        marketo.store.log_activity("Click Email", lead, {"Link": text}, primary=text)
    marketo.clock.advance(1)
    puller = make()
    puller.pull()
    assert [row["Link"] for row in puller.live["activities"]] == texts
    # An export writes "null" for nothing.
    primary = [row.get("primaryAttributeValue") for row in puller.live["activities"]]
    assert primary == [text if text != "null" else None for text in texts]


@pytest.mark.parametrize("seed", range(6))
def test_any_order_of_changes_and_pulls_ends_with_what_the_store_has(
    marketo: MarketoServer, make: Make, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    monkeypatch.setattr(reading, "PAGE_ROWS", 5)
    monkeypatch.setattr(reading, "CHECKPOINT_ROWS", 10)
    chance, puller = random.Random(seed), make(window_days=1)
    leads = [marketo.store.create_lead({"email": str(n)}) for n in range(5)]
    for step in range(40):
        match chance.randrange(7):
            case 0 | 1 | 2:
                commits_in = chance.choice([0, 0, 200])
                marketo.store.log_activity("Click Email", chance.choice(leads), commits_in=commits_in)
            case 3:
                marketo.store.update_lead(chance.choice(leads), {"company": f"v{step}"})
            case 4:
                leads.append(marketo.store.create_lead({"email": f"s{step}"}))
            case 5:
                marketo.clock.advance(chance.choice([0, 1, 30, 4_000, 100_000]))
            case 6:
                try:
                    puller.pull(die_after_pages=chance.choice([None, 2, 3, 5]))
                except Died:
                    continue
    marketo.clock.advance(1_000)
    puller.pull()
    assert puller.guids() == sorted(row["id"] for row in marketo.store.activities())
    newest = {row["id"]: row for row in puller.live["leads"]}
    stored = {str(row["id"]): row for row in marketo.store.leads()}
    assert set(newest) == set(stored)
    assert [(i, newest[i].get("company")) for i in newest] == [(i, stored[i]["company"]) for i in newest]
    assert puller.pull() == 0


def cells(folder: Path, table: str) -> list[dict[str, str]]:
    with (folder / f"marketo_{table}_data.csv").open(encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file))


def same(text: str, value: str | None) -> bool:
    """Whether a landed value is what a cell says."""
    if value is None:
        return text in ("", "null")
    if value.endswith("Z") and value[4:5] == "-":
        return value.replace("T", " ")[:19] == text.removesuffix(" UTC")[:19]
    return text == value or text.lower() == value.lower() in ("true", "false")


def test_tables_that_others_made_come_through_whole(
    make: Make, shared_data: Path, marketo: MarketoServer
) -> None:
    folder, compared = shared_data / "fivetran_marketo", 0
    fivetran.load_marketo(marketo.store, folder)
    marketo.clock.set(datetime(2020, 5, 20, tzinfo=UTC))
    names = ["email", "firstName", "lastName"]
    puller = make(start="2019-01-01T00:00:00Z", lead_fields=names)
    puller.pull()
    landed = {row["marketoGUID"]: row for row in puller.live["activities"]}
    for path in sorted(folder.glob("marketo_activity_*_data.csv")):
        table = path.name.removeprefix("marketo_").removesuffix("_data.csv")
        for row in cells(folder, table):
            # Names that differ in case alone share a column.
            found = {name.lower(): value for name, value in landed.pop(row["id"]).items()}
            for column, text in row.items():
                if column in ("id", "_fivetran_synced"):
                    continue
                name = column_of(column).lower()
                value = found.get(name)
                if name == "primaryattributevalue" and value is None:
                    value = found.get("leadname")
                assert same(text, value), (table, column, text, value)
                compared += 1
    assert landed == {}
    for table, stream in (("lead", "leads"), ("program", "programs"), ("campaign", "campaigns")):
        by_id = {row["id"]: row for row in puller.live[stream]}
        rows = cells(folder, table)
        assert len(by_id) == len(rows)
        for row in rows:
            for column, text in row.items():
                if not column.startswith("_fivetran"):
                    value = by_id[row["id"]].get(camel(column))
                    assert same(text, value), (table, column, text, value)
                    compared += 1
    assert compared > 9_000


def column_of(column: str) -> str:
    """The column of the stream behind one of a table of activities."""
    first = ("activity_date", "activity_type_id", "campaign_id", "lead_id", "action_result")
    if column in (*first, "primary_attribute_value", "primary_attribute_value_id"):
        return camel(column)
    return fivetran.attribute_name(column)


def camel(column: str) -> str:
    first, *rest = column.split("_")
    return first + "".join(word.capitalize() for word in rest)
