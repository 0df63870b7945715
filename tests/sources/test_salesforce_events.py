"""What the records of an org say: events with case, activity, time and order; who is who; what is personal."""

import csv
import random
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from casetrail_testkit import SalesforceServer
from casetrail_testkit.fivetran import load_salesforce
from casetrail_testkit.salesforce.catalog import Field
from casetrail_testkit.salesforce.ids import record_id
from orchestration.demo.lead_to_cash import write_lead_to_cash
from orchestration.demo.vendor_records import STAGES, salesforce_records
from orchestration.sources.errors import ConfigurationError
from orchestration.sources.personal import personal_rules, require_usable
from orchestration.sources.protocol import Same
from orchestration.sources.types import salesforce
from orchestration.sources.types.salesforce import bulk, reading
from orchestration.sources.types.salesforce.values import with_suffix
from tests.sources.salesforce_org import Connected, config_of, opened_org, stamp

Connect = Callable[..., Connected]
EVENT = ("event_case", "event_activity", "event_time")


@pytest.fixture
def org() -> Iterator[SalesforceServer]:
    with opened_org() as server:
        yield server


@pytest.fixture
def connect(org: SalesforceServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Connect:
    monkeypatch.setattr(bulk, "FIRST_PAUSE", 0.0)
    return lambda *streams, **changes: Connected(org, tmp_path, streams=streams, **changes)


def events(connected: Connected, stream: str) -> list[tuple[str | None, ...]]:
    return [tuple(row[column] for column in EVENT) for row in connected.rows.get(stream, [])]


def history(
    org: SalesforceServer, name: str, parent: str, *rows: tuple[int, str, str | None, str | None]
) -> None:
    """Rows of (seconds, field, old, new)."""
    reference = {
        "LeadHistory": "LeadId",
        "CaseHistory": "CaseId",
        "OpportunityFieldHistory": "OpportunityId",
    }[name]
    columns = [reference, "CreatedDate", "Field", "OldValue", "NewValue"]
    org.store.load(name, columns, ([parent, stamp(seconds), *values] for seconds, *values in rows))


def stages(org: SalesforceServer, *rows: tuple[str, int, str, float]) -> None:
    """Rows of OpportunityHistory: (opportunity, seconds, stage, amount)."""
    org.store.load(
        "OpportunityHistory",
        ["OpportunityId", "CreatedDate", "SystemModstamp", "StageName", "Amount"],
        ([parent, stamp(seconds), stamp(seconds), stage, amount] for parent, seconds, stage, amount in rows),
    )


def test_changes_of_a_status_are_events_and_other_changes_are_records(
    org: SalesforceServer, connect: Connect
) -> None:
    lead, case = org.store.create("Lead", {"LastName": "A"}), org.store.create("Case", {"Subject": "S"})
    history(
        org, "LeadHistory", lead,
        (1, "created", None, None), (2, "Status", "Open", "Qualified"), (3, "Email", "a@b.example", "c@d.example"),
        (4, "leadConverted", None, None), (5, "Owner", "Ann", "Bo"),
    )  # fmt: skip
    history(org, "CaseHistory", case, (1, "Status", "New", "Escalated"), (2, "Priority", "Low", "High"))
    org.clock.advance(3600)
    connected = connect("LeadHistory", "CaseHistory", changes={"LeadHistory": ["Owner"]})
    connected.sync()
    assert events(connected, "LeadHistory") == [
        (lead, "Lead: Qualified", stamp(2)), (lead, "Lead converted", stamp(4)),
        (lead, "Lead: Owner changed", stamp(5)),
    ]  # fmt: skip
    assert connected.values("LeadHistory.other", "Field") == ["created", "Email"]
    assert events(connected, "CaseHistory") == [(case, "Case: Escalated", stamp(1))]
    hidden = personal_rules(salesforce, connected.config)["LeadHistory.other"]
    assert hidden == {"OldValue": "drop", "NewValue": "drop"}


@pytest.mark.parametrize("rest_rows", [2_000, 0])
def test_a_stage_is_an_event_when_it_changes(
    org: SalesforceServer, connect: Connect, monkeypatch: pytest.MonkeyPatch, rest_rows: int
) -> None:
    monkeypatch.setattr(reading, "REST_ROWS", rest_rows)
    one, other = (org.store.create("Opportunity", {"Name": n}) for n in "AB")
    stages(
        org, (one, 1, "Quote", 10), (other, 2, "Quote", 5), (one, 3, "Quote", 12), (one, 4, "Won", 12),
        (one, 5, "Quote", 12), (other, 5, "Quote", 6),
    )  # fmt: skip
    org.clock.advance(3600)
    connected = connect("OpportunityHistory")
    connected.sync()
    # Rows after the first read, with an overlap that begins behind the rows before.
    stages(org, (one, 3000, "Quote", 14), (other, 3000, "Lost", 6), (one, 3001, "Won", 14))
    org.clock.advance(3600)
    connected.sync()
    told = [(case, activity) for case, activity, _at in events(connected, "OpportunityHistory")]
    assert Counter(told) == Counter(
        [
            (one, "Opportunity: Quote"), (other, "Opportunity: Quote"), (one, "Opportunity: Won"),
            (one, "Opportunity: Quote"), (other, "Opportunity: Lost"), (one, "Opportunity: Won"),
        ]
    )  # fmt: skip
    assert sorted(connected.values("OpportunityHistory.other", "Amount")) == ["12", "14", "6"]


def test_stages_are_the_same_in_whatever_windows_they_are_read(
    org: SalesforceServer, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = [org.store.create("Opportunity", {"Name": str(n)}) for n in range(7)]
    dice = random.Random(5)
    rows = [(ids[n % 7], n * 80, dice.choice("AAB"), float(n)) for n in range(40)]
    stages(org, *rows)
    org.clock.advance(7200)
    whole = connect("OpportunityHistory")
    whole.sync()
    monkeypatch.setattr(reading, "REST_ROWS", 4)
    monkeypatch.setattr(reading, "WHOLE_WINDOW_ROWS", 9)
    monkeypatch.setattr(bulk, "PAGE_ROWS", 3)
    in_parts = connect("OpportunityHistory")
    in_parts.sync()
    for stream in ("OpportunityHistory", "OpportunityHistory.other"):
        assert in_parts.ids(stream) == whole.ids(stream)
        assert 5 < len(whole.ids(stream)) < 35
    # Where a read has to ask for what was before its windows.
    resumed = connect("OpportunityHistory")
    resumed.sync()
    resumed.rows.clear()
    middle = {"cursor": "SystemModstamp", "newest": 1772625600000000 + 1600 * 1_000_000}
    resumed.state = {"OpportunityHistory": middle}
    resumed._recent = None
    resumed.sync()
    late = {
        row["Id"] for row in whole.rows["OpportunityHistory"] if (row["CreatedDate"] or "") >= stamp(1000)
    }
    assert set(resumed.ids("OpportunityHistory")) == late


def test_a_field_history_tells_of_stages_only_where_the_other_one_does_not(
    org: SalesforceServer, connect: Connect
) -> None:
    one = org.store.create("Opportunity", {"Name": "A"})
    history(org, "OpportunityFieldHistory", one, (1, "StageName", "Quote", "Won"), (2, "Amount", "1", "2"))
    org.clock.advance(3600)
    both, alone = connect("OpportunityHistory", "OpportunityFieldHistory"), connect("OpportunityFieldHistory")
    both.sync()
    alone.sync()
    assert events(both, "OpportunityFieldHistory") == []
    assert events(alone, "OpportunityFieldHistory") == [(one, "Opportunity: Won", stamp(1))]


def test_activities_belong_to_what_they_are_about(org: SalesforceServer, connect: Connect) -> None:
    create = org.store.create
    lead, person, account = create("Lead", {}), create("Contact", {}), create("Account", {})
    deal = create("Opportunity", {})
    done = {"CompletedDateTime": stamp(50)}
    create("Task", {"WhoId": person, "WhatId": deal, "TaskSubtype": "Call", **done})
    create("Task", {"WhoId": lead, "TaskSubtype": "Email"})
    create("Task", {"WhoId": person, "WhatId": account})
    create("Task", {"WhatId": account, "TaskSubtype": "ListEmail"})
    alone = create("Task", {"TaskSubtype": "Call"})
    create("Event", {"WhoId": lead, "StartDateTime": stamp(600), "EndDateTime": stamp(900)})
    create("CampaignMember", {"ContactId": person})
    org.clock.advance(3600)
    connected = connect("Task", "Event", "CampaignMember")
    connected.sync()
    assert events(connected, "Task") == [
        (deal, "Call", stamp(50)), (lead, "Email", stamp(0)), (person, "Task", stamp(0)), (account, "Task", stamp(0)),
    ]  # fmt: skip
    assert connected.ids("Task.other") == [alone]
    assert events(connected, "Event") == [(lead, "Meeting", stamp(600))]
    assert events(connected, "CampaignMember") == [(person, "Added to campaign", stamp(0))]


@pytest.mark.parametrize("rest_rows", [2_000, 0])
def test_who_did_it_is_an_id_or_a_name(
    org: SalesforceServer, connect: Connect, monkeypatch: pytest.MonkeyPatch, rest_rows: int
) -> None:
    monkeypatch.setattr(reading, "REST_ROWS", rest_rows)
    ann = org.store.create("User", {"Name": "Ann"})
    org.store.create("Lead", {"LastName": "A", "CreatedById": ann})
    org.store.create("Lead", {"LastName": "B"})
    org.clock.advance(3600)
    by_id, by_name = connect("Lead"), connect("Lead", user_names=True)
    by_id.sync()
    by_name.sync()
    who = (
        salesforce.mappings(by_id.config)["Lead"].resource,
        salesforce.mappings(by_name.config)["Lead"].resource,
    )
    assert who == ("CreatedById", "CreatedBy.Name")
    assert by_id.values("Lead", "CreatedById") == [ann, None]
    assert by_name.values("Lead", "CreatedBy.Name") == ["Ann", None]


def test_events_of_one_second_are_in_order(org: SalesforceServer, connect: Connect) -> None:
    lead = org.store.create("Lead", {"LastName": "A", "CreatedDate": stamp(0)})
    history(org, "LeadHistory", lead, *((0, "Status", str(n), str(n + 1)) for n in range(80)))
    org.clock.advance(3600)
    connected = connect("Lead", "LeadHistory")
    connected.sync()

    def natural(text: str | None) -> list[int]:
        return [int(number) for number in (text or "").split()]

    rows = [*connected.rows["LeadHistory"], *connected.rows["Lead"]]
    rows.sort(key=lambda row: natural(row["event_order"]))
    assert [row["event_activity"] for row in rows] == ["Lead created", *(f"Lead: {n + 1}" for n in range(80))]


def test_columns_that_the_user_may_not_see_are_null_and_break_nothing(
    org: SalesforceServer, connect: Connect
) -> None:
    for field in ("MasterRecordId", "ConvertedContactId", "Email", "CreatedById"):
        org.store.remove_field("Lead", field)
    org.store.create("Lead", {"LastName": "A"})
    org.clock.advance(3600)
    connected = connect("Lead")
    connected.sync()
    (row,) = connected.rows["Lead"]
    needed = {
        row_column for _field, row_column in salesforce.mappings(connected.config)["Lead"].named_columns()
    }
    identity = salesforce.identity(connected.config)["Lead"]
    assert needed | {identity.record, *identity.keys, *(same.column for same in identity.same)} <= set(row)
    (checked, *_) = salesforce.check(connected.config, connected.context)
    assert checked.columns == tuple(row)


def test_links_of_the_configuration_are_identities(org: SalesforceServer, connect: Connect) -> None:
    org.store.add_field("Opportunity", Field("Order_Key__c"))
    connected = connect(
        "Opportunity", "Account", links={"Opportunity.Order_Key__c": "erp", "Account.Website": "web"}
    )
    said = salesforce.identity(connected.config)
    assert said["Opportunity"].same == (Same(column="Order_Key__c", system="erp"),)
    assert said["Account"].same == (Same(column="Website", system="web"),)
    assert set(said) == {"Opportunity", "Account"}
    (first, *_) = salesforce.check(
        connect("Opportunity", links={"Opportunity.No__c": "erp"}).config, connected.context
    )
    assert "has no field No__c" in (first.problem or "")
    with pytest.raises(ConfigurationError, match="names Case"):
        salesforce.check(connect("Lead", links={"Case.X__c": "erp"}).config, connected.context)


def test_personal_fields_are_not_even_asked_for(org: SalesforceServer, connect: Connect) -> None:
    org.store.create("Lead", {"LastName": "Doe", "Phone": "1", "Street": "Road 1", "Email": "a@b.example"})
    org.clock.advance(3600)
    connected = connect("Lead")
    connected.sync()
    (row,) = connected.rows["Lead"]
    assert not {"LastName", "FirstName", "Name", "Phone", "Street", "PostalCode"} & set(row)
    assert row["Email"] == "a@b.example", "as it came: a keyed hash is made of it before anything is stored"
    assert not [served for served in org.requests if "LastName" in served.target]
    wanted = connect("Lead", personal={"Lead": {"LastName": "pseudonym"}})
    wanted.sync()
    assert wanted.values("Lead", "LastName") == ["Doe"]


def test_what_is_left_of_personal_fields_is_enough_for_events_and_links(org: SalesforceServer) -> None:
    for user_names in (False, True):
        require_usable(salesforce, config_of(org, user_names=user_names))


def test_mails_have_no_body(org: SalesforceServer, connect: Connect) -> None:
    org.store.create("EmailMessage", {"TextBody": "secret", "FromAddress": "a@b.example"})
    org.clock.advance(3600)
    connected = connect("EmailMessage")
    connected.sync()
    assert not {"TextBody", "FromAddress", "Subject"} & set(connected.rows["EmailMessage"][0])
    (checked,) = salesforce.check(
        connect("EmailMessage", fields={"EmailMessage": ["TextBody"]}).config, connected.context
    )
    assert "has no field TextBody" in (checked.problem or "")


def test_the_log_of_the_sample_company_is_in_its_records(
    org: SalesforceServer, connect: Connect, tmp_path: Path
) -> None:
    path = tmp_path / "log.csv"
    write_lead_to_cash(path, cases=200, months=2, cut_at_end=True)
    with path.open(newline="") as file:
        log = list(csv.DictReader(file))
    for name, records in salesforce_records(log, record_id).items():
        for field in records[0]:
            if not org.store.object(name).has(field):
                org.store.add_field(name, Field(field))
        org.store.load(name, list(records[0]), (record.values() for record in records))
    connected = connect(user_names=True)
    connected.sync()
    keys = {row["Id"]: row["Case_Key__c"] for name in ("Lead", "Opportunity") for row in connected.rows[name]}
    activities = {f"Opportunity: {stage}": activity for activity, (stage, _) in STAGES.items()}
    activities |= {"Lead created": "Lead created", "Lead: Qualified": "Qualify lead"}
    told = Counter(
        (
            keys[row["event_case"]],
            activities[row["event_activity"] or ""],
            row["event_time"],
            row["CreatedBy.Name"],
        )
        for name in ("Lead", "LeadHistory", "OpportunityHistory")
        for row in connected.rows[name]
        if row["event_activity"] != "Lead converted"
    )
    wanted = ("Lead created", "Qualify lead", *STAGES)
    assert told == Counter(
        (row["case_id"], row["activity"], row["timestamp"].replace("Z", ".000Z"), row["resource"])
        for row in log
        if row["activity"] in wanted
    )
    deals = {row["Case_Key__c"]: row for row in connected.rows["Opportunity"]}
    for row in log:
        if row["case_id"] in deals:
            assert deals[row["case_id"]]["Region__c"] == row["region"]
            assert deals[row["case_id"]]["Sales_Office__c"] == row["sales_office"]
    closed = {row["closed_at"] for row in deals.values() if row["IsClosed"] == "true"}
    assert None not in closed
    assert {row["closed_at"] for row in deals.values() if row["IsClosed"] != "true"} == {None}


def test_ids_of_15_characters_get_their_other_three(org: SalesforceServer) -> None:
    made = [record_id("00Q", number) for number in range(0, 500_000, 997)]
    assert [with_suffix(one[:15]) for one in made] == made
    assert with_suffix("001A0000006Vm9r") == "001A0000006Vm9rIAC"
    assert with_suffix("short") == "short"


def test_tables_of_others_come_through_whole(
    shared_data: Path, connect: Connect, org: SalesforceServer
) -> None:
    folder = shared_data / "fivetran_salesforce"
    loaded = load_salesforce(org.store, folder)
    names = {name: [one.name for one in org.store.object(name).fields.values()] for name in loaded}
    everything = {
        name: [
            one
            for one in fields
            if org.store.object(name).fields[one.lower()].type not in ("address", "base64")
        ]
        for name, fields in names.items()
    }
    connected = connect(*loaded, fields=everything)
    connected.sync()
    for name, fields in everything.items():
        landed = [
            row for kind in ("", ".other", " deleted") for row in connected.rows.get(f"{name}{kind}", [])
        ]
        wanted = org.store.rows(name, with_deleted=True)
        assert len(landed) == len(wanted) == loaded[name]
        by_id = {row["Id"]: row for row in landed}
        for record in wanted:
            for field in fields:
                assert by_id[record["Id"]][field] == text(record[field]), (name, field)


def text(value: Any) -> str | None:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return f"{value:.10f}".rstrip("0").rstrip(".")
    return None if value in (None, "") else str(value)
