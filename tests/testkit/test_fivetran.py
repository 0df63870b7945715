"""Tables that others made (Fivetran's public seeds) load into the servers and come back whole through HTTP."""

import csv
import io
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from casetrail_testkit import MarketoServer, SalesforceServer, fivetran
from casetrail_testkit.salesforce.ids import with_suffix
from tests.testkit.test_marketo_exports import download, exported
from tests.testkit.test_marketo_exports import rows as csv_rows
from tests.testkit.test_marketo_rest import pages, result
from tests.testkit.test_salesforce_bulk import finished
from tests.testkit.test_salesforce_bulk import pages as bulk_pages


def table(folder: Path, name: str) -> list[dict[str, str]]:
    with (folder / f"{name}_data.csv").open(encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file))


def same(text: str, value: Any) -> bool:
    """Whether a value of an answer is what a cell says, whatever each writes a number, a truth or a time like."""
    if value in (None, ""):
        return text == ""
    if str(value).lower() in ("true", "false"):
        return text.lower() == str(value).lower()
    if str(value)[4:5] == "-" and str(value).endswith(("Z", "+0000")):
        seconds = str(value).replace("T", " ")[:19]
        return text.removesuffix(" UTC")[:19] == seconds
    return text in (str(value), f"{value} 00:00:00") or f"{text}.0" == str(value)


@pytest.fixture
def salesforce_tables(shared_data: Path) -> Path:
    return shared_data / "fivetran_salesforce"


@pytest.fixture
def marketo_tables(shared_data: Path) -> Path:
    return shared_data / "fivetran_marketo"


@pytest.mark.parametrize("by_bulk", [False, True])
def test_every_cell_of_salesforce_comes_back(
    salesforce: SalesforceServer, org: httpx.Client, salesforce_tables: Path, by_bulk: bool
) -> None:
    loaded = fivetran.load_salesforce(salesforce.store, salesforce_tables)
    assert len(loaded) == 11
    cells = 0
    for name, count in loaded.items():
        described = org.get(f"/sobjects/{name}/describe").json()["fields"]
        fields = [field["name"] for field in described if field["type"] != "address"]
        soql = f"SELECT {', '.join(fields)} FROM {name}"
        if by_bulk:
            (page,) = bulk_pages(org, finished(org, soql, "queryAll"))
            records = list(csv.DictReader(io.StringIO(page.text, newline="")))
        else:
            # A wide object is too long for a URL: half of its columns at a time, joined by Id.
            halves = (fields[: len(fields) // 2], ["Id", *fields[len(fields) // 2 :]])
            answers = [query_all(org, name, half) for half in halves]
            records = [{**one, **other} for one, other in zip(*answers, strict=True)]
        source = table(salesforce_tables, f"sf_{table_of(name)}")
        assert len(records) == len(source) == count
        for row, record in zip(source, records, strict=True):
            for column, text in row.items():
                if column.startswith("_fivetran") or (not text and column in STAMPS):
                    continue
                assert same(text, record[fivetran.field_name(column)]), (name, column, text)
                cells += 1
    assert cells > 7_000


STAMPS = ("created_date", "last_modified_date", "system_modstamp")


def table_of(name: str) -> str:
    return {
        "OpportunityLineItem": "opportunity_line_item",
        "Product2": "product_2",
        "UserRole": "user_role",
    }.get(name, name.lower())


def query_all(org: httpx.Client, name: str, fields: list[str]) -> list[dict[str, Any]]:
    answer = org.get("/queryAll", params={"q": f"SELECT {', '.join(fields)} FROM {name}"})
    return list(answer.raise_for_status().json()["records"])


def test_ids_that_others_made_have_the_suffix_that_is_computed(salesforce_tables: Path) -> None:
    cells = [
        text
        for path in salesforce_tables.glob("*.csv")
        for row in table(salesforce_tables, path.stem.removesuffix("_data"))
        for column, text in row.items()
        if column.endswith("id") and len(text) == 18 and text.isalnum()
    ]
    checked = {
        text for text in cells if text[:3] in ("001", "003", "005", "006", "00Q", "00T", "00U", "801", "01t")
    }
    wrong = sorted(text for text in checked if with_suffix(text[:15]) != text)
    assert len(checked) > 50
    assert wrong == []


def test_a_field_has_the_type_of_its_values(
    salesforce: SalesforceServer, org: httpx.Client, salesforce_tables: Path
) -> None:
    fivetran.load_salesforce(salesforce.store, salesforce_tables)

    def types(name: str) -> dict[str, str]:
        return {
            field["name"]: field["type"] for field in org.get(f"/sobjects/{name}/describe").json()["fields"]
        }

    # These seeds have times where an org has dates.
    assert types("Task")["ActivityDate"] == "datetime"
    deal = types("Opportunity")
    assert (deal["CloseDate"], deal["Amount"], deal["HasOverdueTask"]) == ("date", "currency", "boolean")


def test_deleted_records_are_in_the_bin(
    salesforce: SalesforceServer, org: httpx.Client, salesforce_tables: Path
) -> None:
    fivetran.load_salesforce(salesforce.store, salesforce_tables)
    source = table(salesforce_tables, "sf_account")
    deleted = {row["id"] for row in source if row["is_deleted"] == "true"}
    assert deleted
    live = org.get("/query", params={"q": "SELECT Id FROM Account"}).json()["records"]
    assert {record["Id"] for record in live} == {row["id"] for row in source} - deleted


def test_every_activity_of_marketo_comes_back(
    marketo: MarketoServer, subscription: httpx.Client, marketo_tables: Path
) -> None:
    marketo.limits.calls_in_window = 10_000
    loaded = fivetran.load_marketo(marketo.store, marketo_tables)
    types = {kind["name"]: kind["id"] for kind in result(subscription, "/rest/v1/activities/types.json")}
    for name, count in loaded.items():
        if not name.startswith("activity_"):
            continue
        source = {row["id"]: row for row in table(marketo_tables, f"marketo_{name}")}
        kind = types[fivetran.attribute_name(name.removeprefix("activity_"))]
        read = pages(
            subscription, "/rest/v1/activities.json", "2020-01-01T00:00:00Z", activityTypeIds=str(kind)
        )
        activities = [activity for page in read for activity in page.get("result", [])]
        assert len(activities) == len(source) == count
        for activity in activities:
            row = source[activity["marketoGUID"]]
            values = {attribute["name"]: attribute["value"] for attribute in activity["attributes"]}
            for column, text in row.items():
                if column in ("_fivetran_synced", "action_result"):
                    continue
                value = activity.get(camel(column), values.get(fivetran.attribute_name(column)))
                assert same(text, value), (name, column, text, value)


def test_marketos_bulk_files_have_every_lead_and_activity(
    marketo: MarketoServer, subscription: httpx.Client, marketo_tables: Path
) -> None:
    marketo.limits.calls_in_window = 10_000
    fivetran.load_marketo(marketo.store, marketo_tables)
    deleted = {row["id"] for row in table(marketo_tables, "marketo_activity_delete_lead")}
    source = {
        row["id"]: row
        for path in marketo_tables.glob("marketo_activity_*.csv")
        for row in table(marketo_tables, path.stem.removesuffix("_data"))
    }
    april = {"startAt": "2020-04-20T00:00:00Z", "endAt": "2020-05-20T00:00:00Z"}
    job, _ = exported(subscription, "activities", {"filter": {"createdAt": april}})
    activities = csv_rows(download(subscription, "activities", job))[1:]
    assert {row[0] for row in activities} == set(source) - deleted
    assert all(same(source[row[0]]["activity_date"], row[2]) for row in activities)
    columns = ["id", "createdAt", "updatedAt", "email", "firstName", "lastName"]
    people = {row["id"]: row for row in table(marketo_tables, "marketo_lead")}
    leads: list[list[str]] = []
    begin = datetime(2019, 1, 1, tzinfo=UTC)
    while begin < datetime(2020, 7, 1, tzinfo=UTC):
        end = begin + timedelta(days=31)
        within = {"startAt": begin.isoformat(), "endAt": (end - timedelta(seconds=1)).isoformat()}
        job, _ = exported(subscription, "leads", {"fields": columns, "filter": {"createdAt": within}})
        leads += csv_rows(download(subscription, "leads", job))[1:]
        begin = end
    assert sorted(row[0] for row in leads) == sorted(people)
    for row in leads:
        assert all(same(text, value) for text, value in zip(people[row[0]].values(), row, strict=True))


def test_programs_campaigns_and_fields_come_back(
    marketo: MarketoServer, subscription: httpx.Client, marketo_tables: Path
) -> None:
    fivetran.load_marketo(marketo.store, marketo_tables)
    for name, path in (("program", "/rest/asset/v1/programs.json"), ("campaign", "/rest/v1/campaigns.json")):
        source = table(marketo_tables, f"marketo_{name}")
        served = result(subscription, path, maxReturn=200)
        assert len(served) == len(source) == 100
        for row, one in zip(source, served, strict=True):
            cells = [column for column in row if not column.startswith("_fivetran")]
            assert all(same(row[column], one[camel(column)]) for column in cells)
    described = {
        field["rest"]["name"]: field for field in result(subscription, "/rest/v1/leads/describe.json")
    }
    for row in table(marketo_tables, "marketo_lead_describe"):
        assert row["restname"] in described or not row["restname"]
    assert described["Company_Country__c"]["displayName"] == "Company Country"
    # What is made from now on has ids of its own.
    ids = {lead["id"] for lead in marketo.store.leads()}
    assert marketo.store.create_lead({"email": "new@acme.example"}) not in ids


def camel(column: str) -> str:
    first, *rest = column.split("_")
    return first + "".join(word.capitalize() for word in rest)


def test_a_folder_without_tables_is_told(
    salesforce: SalesforceServer, marketo: MarketoServer, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match="sf_TABLE_data"):
        fivetran.load_salesforce(salesforce.store, tmp_path)
    with pytest.raises(ValueError, match="marketo_TABLE_data"):
        fivetran.load_marketo(marketo.store, tmp_path)
    (tmp_path / "sf_nothing_data.csv").write_text("id,_fivetran_synced\n1,2020-01-01 00:00:00\n")
    with pytest.raises(ValueError, match="no object Nothing"):
        fivetran.load_salesforce(salesforce.store, tmp_path)
