"""The sample company's records in Salesforce and Marketo tell the log's events, each of them once, and are linked."""

import csv
from collections import Counter
from datetime import datetime
from pathlib import Path

import pytest

from orchestration.demo.lead_to_cash import write_lead_to_cash
from orchestration.demo.vendor_records import (
    AFTER_SALE,
    STAGES,
    Record,
    erp_rows,
    marketo_activities,
    marketo_leads,
    salesforce_records,
)

Log = list[dict[str, str]]
Org = dict[str, list[Record]]


def record_id(prefix: str, number: int) -> str:
    return f"{prefix}{number:012}"


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Log:
    path: Path = tmp_path_factory.mktemp("log") / "log.csv"
    write_lead_to_cash(path, cases=300, months=3, cut_at_end=True)
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def org(log: Log) -> Org:
    return salesforce_records(log, record_id)


def events(log: Log, *activities: str) -> Counter[tuple[str, str, str]]:
    return Counter(
        (row["case_id"], row["activity"], row["timestamp"])
        for row in log
        if not activities or row["activity"] in activities
    )


def test_every_event_of_sales_is_one_record(log: Log, org: Org) -> None:
    keys = {row["Id"]: row["Case_Key__c"] for name in ("Lead", "Opportunity") for row in org[name]}
    activities = {stage: activity for activity, (stage, _) in STAGES.items()}
    told = Counter(
        (keys[row["OpportunityId"]], activities[row["StageName"]], row["CreatedDate"].replace(".000Z", "Z"))
        for row in org["OpportunityHistory"]
    )
    told += Counter(
        (keys[row["LeadId"]], "Qualify lead", row["CreatedDate"].replace(".000Z", "Z"))
        for row in org["LeadHistory"]
        if row["Field"] == "Status"
    )
    told += Counter(
        (row["Case_Key__c"], "Lead created", row["CreatedDate"].replace(".000Z", "Z")) for row in org["Lead"]
    )
    assert told == events(log, "Lead created", "Qualify lead", *STAGES)


def test_what_comes_after_the_sale_is_in_the_erp(log: Log, org: Org) -> None:
    rows = erp_rows(log)
    assert events(rows) == events(log, *AFTER_SALE)  # each of them once
    assert {row["case_id"] for row in rows} <= {row["Case_Key__c"] for row in org["Opportunity"]}
    assert {*AFTER_SALE, "Lead created", "Qualify lead", *STAGES} == {row["activity"] for row in log}


def test_a_conversion_links_what_there_is(org: Org) -> None:
    ids = {name: {row["Id"] for row in rows} for name, rows in org.items()}
    assert all(len(ids[name]) == len(rows) for name, rows in org.items())
    converted = [row for row in org["Lead"] if row["IsConverted"]]
    assert 0 < len(converted) < len(org["Lead"])
    for row in converted:
        assert row["ConvertedOpportunityId"] in ids["Opportunity"]
        assert row["ConvertedContactId"] in ids["Contact"]
        assert row["ConvertedAccountId"] in ids["Account"]
    for role in org["OpportunityContactRole"]:
        assert role["OpportunityId"] in ids["Opportunity"]
        assert role["ContactId"] in ids["Contact"]
    changes = {row["LeadId"] for row in org["LeadHistory"] if row["Field"] == "leadConverted"}
    assert changes == {row["Id"] for row in converted}


def test_an_opportunity_has_the_attributes_of_its_case(log: Log, org: Org) -> None:
    regions = {row["case_id"]: row["region"] for row in log}
    assert all(row["Region__c"] == regions[row["Case_Key__c"]] for row in org["Opportunity"])


def test_marketing_knows_the_lead_before_sales_does(log: Log, org: Org) -> None:
    sales = {row["Id"]: row for row in org["Lead"]}
    leads = marketo_leads(log, record_id)
    assert len(leads) == len(sales)
    created = {}
    for lead in leads:
        known = sales[lead["sfdcLeadId"]]
        assert (lead["email"], lead["sfdcContactId"]) == (known["Email"], known["ConvertedContactId"])
        assert datetime.fromisoformat(lead["createdAt"]) < datetime.fromisoformat(known["CreatedDate"])
        created[lead["id"]] = lead["createdAt"]
    activities = marketo_activities(log)
    assert [row["activityDate"] for row in activities] == sorted(row["activityDate"] for row in activities)
    new = {row["leadId"]: row["activityDate"] for row in activities if row["type"] == "New Lead"}
    assert new == created
    assert {row["type"] for row in activities} >= {"Send Email", "Fill Out Form", "Add to List"}
