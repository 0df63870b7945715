"""Marketo's identity and REST API, as its documentation describes them, through a plain client."""

import threading
from datetime import timedelta
from typing import Any

import httpx
import pytest

from casetrail_testkit import MarketoServer
from casetrail_testkit.marketo.catalog import ActivityType, LeadField
from tests.testkit.conftest import HTTP, token_of

TOKEN = "/identity/oauth/token"


def get(subscription: httpx.Client, path: str, **parameters: Any) -> dict[str, Any]:
    answer = subscription.get(path, params=parameters)
    assert answer.status_code == 200
    return dict(answer.json())


def result(subscription: httpx.Client, path: str, **parameters: Any) -> list[dict[str, Any]]:
    answer = get(subscription, path, **parameters)
    assert answer["success"], answer
    return list(answer["result"])


def code(answer: dict[str, Any]) -> str:
    assert answer["success"] is False
    assert set(answer) == {"requestId", "success", "errors"}
    return str(answer["errors"][0]["code"])


def pages(subscription: httpx.Client, path: str, since: str, **parameters: Any) -> list[dict[str, Any]]:
    """Every page from a time on."""
    token = get(subscription, "/rest/v1/activities/pagingtoken.json", sinceDatetime=since)["nextPageToken"]
    read = []
    while True:
        read.append(get(subscription, path, nextPageToken=token, **parameters))
        token = read[-1]["nextPageToken"]
        if not read[-1]["moreResult"]:
            return read


# --- identity


def test_the_same_token_is_given_until_it_dies(marketo: MarketoServer) -> None:
    credentials = {"client_id": marketo.identity.client_id, "client_secret": marketo.identity.client_secret}
    form = {"grant_type": "client_credentials", **credentials}
    first = HTTP.get(f"{marketo.url}{TOKEN}", params=form).json()
    assert {name: first[name] for name in ("token_type", "expires_in", "scope")} == {
        "token_type": "bearer",
        "expires_in": 3600,
        "scope": "integration@casetrail.example",
    }
    marketo.clock.advance(3000)
    second = HTTP.post(f"{marketo.url}{TOKEN}", data=form).json()
    assert (second["access_token"], second["expires_in"]) == (first["access_token"], 600)
    marketo.clock.advance(600)
    assert HTTP.get(f"{marketo.url}{TOKEN}", params=form).json()["access_token"] != first["access_token"]


def test_bad_credentials_are_a_401(marketo: MarketoServer) -> None:
    form = {"grant_type": "client_credentials", "client_id": marketo.identity.client_id, "client_secret": "x"}
    answer = HTTP.get(f"{marketo.url}{TOKEN}", params=form)
    assert answer.status_code == 401
    assert answer.json() == {"error": "invalid_client", "error_description": "Bad client credentials"}


def test_a_token_error_is_a_code_in_an_answer_with_status_200(
    marketo: MarketoServer, subscription: httpx.Client
) -> None:
    path = "/rest/v1/activities/types.json"
    assert get(subscription, path)["success"]
    marketo.clock.advance(3600)
    assert code(get(subscription, path)) == "602"
    assert code(HTTP.get(f"{marketo.url}{path}", headers={"Authorization": "Bearer x"}).json()) == "601"
    assert code(HTTP.get(f"{marketo.url}{path}", params={"access_token": token_of(marketo)}).json()) == "600"
    marketo.faults.add(path="types", effects=["expire_tokens"])
    subscription.headers["Authorization"] = f"Bearer {token_of(marketo)}"
    assert code(get(subscription, path)) == "602"


# --- leads


@pytest.fixture
def leads(marketo: MarketoServer) -> list[int]:
    emails = ("a@acme.example", "b@acme.example", "c@acme.example")
    values = [
        {"email": email, "sfdcLeadId": f"00Q{n}", "unsubscribed": n == 1} for n, email in enumerate(emails)
    ]
    return [marketo.store.create_lead(one) for one in values]


def test_leads_are_found_by_a_filter(leads: list[int], subscription: httpx.Client) -> None:
    path = "/rest/v1/leads.json"
    assert result(subscription, path, filterType="email", filterValues="b@acme.example") == [
        {
            "id": leads[1],
            "email": "b@acme.example",
            "updatedAt": "2026-03-04T12:00:00Z",
            "createdAt": "2026-03-04T12:00:00Z",
            "lastName": None,
            "firstName": None,
        }
    ]
    asked = {"filterType": "sfdcLeadId", "filterValues": "00Q1,00Q2", "fields": "id,unsubscribed"}
    both = [{"id": leads[1], "unsubscribed": True}, {"id": leads[2], "unsubscribed": False}]
    assert result(subscription, path, **asked) == both
    first = get(subscription, path, **asked, batchSize=1)
    assert first["result"] == both[:1]
    assert result(subscription, path, **asked, nextPageToken=first["nextPageToken"]) == both[1:]
    assert result(subscription, f"/rest/v1/lead/{leads[0]}.json", fields="email") == [
        {"email": "a@acme.example"}
    ]


def test_nobody_found_is_an_empty_result_and_a_boolean_is_never_null(
    marketo: MarketoServer, subscription: httpx.Client
) -> None:
    asked = {"filterType": "email", "filterValues": "nobody@acme.example", "fields": "unsubscribed"}
    assert result(subscription, "/rest/v1/leads.json", **asked) == []
    marketo.store.create_lead({"email": "nobody@acme.example"})
    assert result(subscription, "/rest/v1/leads.json", **asked) == [{"unsubscribed": False}]


def test_a_long_filter_comes_as_a_form(leads: list[int], subscription: httpx.Client) -> None:
    values = ",".join([*("x" * 40 for _ in range(298)), "a@acme.example"])
    asked = {"filterType": "email", "filterValues": values, "fields": "id"}
    assert subscription.get("/rest/v1/leads.json", params=asked).status_code == 414
    answer = subscription.post("/rest/v1/leads.json?_method=GET", data=asked)
    assert answer.json()["result"] == [{"id": leads[0]}]
    assert subscription.post("/rest/v1/leads.json?_method=GET", content=b"x" * 1_048_577).status_code == 413


@pytest.mark.parametrize(
    ("path", "parameters", "expected"),
    [
        ("leads.json", {}, "1002"),
        ("leads.json", {"filterType": "company", "filterValues": "x"}, "1003"),
        ("leads.json", {"filterType": "email"}, "1002"),
        ("leads.json", {"filterType": "email", "filterValues": ",".join(["x"] * 301)}, "1003"),
        ("leads.json", {"filterType": "email", "filterValues": "x", "fields": "nothing"}, "1006"),
        ("leads.json", {"filterType": "email", "filterValues": "x", "batchSize": "many"}, "1001"),
        ("lead/99.json", {}, "1004"),
        ("activities.json", {"nextPageToken": "x"}, "1002"),
        ("activities.json", {"activityTypeIds": "1"}, "1002"),
        ("activities.json", {"activityTypeIds": "1", "nextPageToken": "x"}, "1003"),
        ("activities.json", {"activityTypeIds": "1,2,3,6,7,8,9,10,11,12,13", "nextPageToken": "x"}, "1003"),
        ("activities.json", {"activityTypeIds": "99", "nextPageToken": "x"}, "1003"),
        ("activities/pagingtoken.json", {}, "1002"),
        ("activities/pagingtoken.json", {"sinceDatetime": "yesterday"}, "1003"),
        ("activities/leadchanges.json", {"nextPageToken": "x"}, "1002"),
        ("nothing.json", {}, "610"),
    ],
)
def test_calls_that_are_refused(
    subscription: httpx.Client, path: str, parameters: dict[str, str], expected: str
) -> None:
    assert code(get(subscription, f"/rest/v1/{path}", **parameters)) == expected


def test_describe_follows_the_fields(marketo: MarketoServer, subscription: httpx.Client) -> None:
    marketo.store.add_field(LeadField("Region__c", "string", "Region", 40))
    marketo.store.remove_field("industry")
    marketo.store.retype_field("leadScore", "string")
    described = result(subscription, "/rest/v1/leads/describe.json")
    assert described[-1] == {
        "id": len(described),
        "displayName": "Region",
        "dataType": "string",
        "length": 40,
        "rest": {"name": "Region__c", "readOnly": False},
        "soap": {"name": "Region__c", "readOnly": False},
    }
    types = {field["rest"]["name"]: field["dataType"] for field in described}
    assert (types["leadScore"], "industry" in types) == ("string", False)
    (lead,) = result(subscription, "/rest/v1/leads/describe2.json")
    assert ["sfdcLeadId"] in lead["searchableFields"]


# --- activities


def test_types_are_told_with_their_attributes_and_own_ids(
    marketo: MarketoServer, subscription: httpx.Client
) -> None:
    marketo.store.define_type(ActivityType(29, "Delete Lead", "Lead ID", ("Campaign",)))
    types = {kind["name"]: kind for kind in result(subscription, "/rest/v1/activities/types.json")}
    assert types["Delete Lead"] == {
        "id": 29,
        "name": "Delete Lead",
        "description": "Delete Lead",
        "primaryAttribute": {"name": "Lead ID", "dataType": "string"},
        "attributes": [{"name": "Campaign", "dataType": "string"}],
    }
    assert "primaryAttribute" not in types["New Lead"]


def test_an_activity_looks_as_documented(
    marketo: MarketoServer, leads: list[int], subscription: httpx.Client
) -> None:
    attributes = {"Client IP Address": "10.0.19.252", "Query Parameters": "a\x00b\rc"}
    marketo.store.log_activity("Visit Webpage", leads[0], attributes, primary_id=71, primary="x.example/p")
    (page,) = pages(subscription, "/rest/v1/activities.json", "2026-03-04T12:00:00Z", activityTypeIds="1")
    assert page["result"] == [
        {
            "id": 1,
            "marketoGUID": "1",
            "leadId": leads[0],
            "activityDate": "2026-03-04T12:00:00Z",
            "activityTypeId": 1,
            "primaryAttributeValueId": 71,
            "primaryAttributeValue": "x.example/p",
            "attributes": [
                {"name": "Client IP Address", "value": "10.0.19.252"},
                {"name": "Query Parameters", "value": "a\x00b\rc"},
            ],
        }
    ]


def test_pages_may_be_short_or_empty_while_there_is_more(
    marketo: MarketoServer, leads: list[int], subscription: httpx.Client
) -> None:
    # 700 activities of one second, the last one of the wanted type.
    for number in range(700):
        marketo.store.log_activity("Visit Webpage" if number < 699 else "Click Email", leads[0])
    read = pages(subscription, "/rest/v1/activities.json", "2026-03-04T00:00:00Z", activityTypeIds="11")
    assert [(len(page.get("result", [])), page["moreResult"]) for page in read] == [
        (0, True),
        (0, True),
        (1, False),
    ]
    assert "result" not in read[0]
    read = pages(subscription, "/rest/v1/activities.json", "2026-03-04T00:00:00Z", activityTypeIds="1,11")
    ids = [activity["marketoGUID"] for page in read for activity in page["result"]]
    assert ids == [str(number) for number in range(1, 701)]
    # The last token goes on where the log ended.
    marketo.store.log_activity("Click Email", leads[1])
    token = read[-1]["nextPageToken"]
    assert token.endswith("=")
    later = get(subscription, "/rest/v1/activities.json", nextPageToken=token, activityTypeIds="11")
    assert [activity["leadId"] for activity in later["result"]] == [leads[1]]


def test_a_page_that_is_just_full_is_the_last(
    marketo: MarketoServer, leads: list[int], subscription: httpx.Client
) -> None:
    for _ in range(300):
        marketo.store.log_activity("Click Email", leads[0])
    (page,) = pages(subscription, "/rest/v1/activities.json", "2026-03-04T00:00:00Z", activityTypeIds="11")
    assert len(page["result"]) == 300


def test_a_late_activity_is_behind_who_passed_its_time(
    marketo: MarketoServer, leads: list[int], subscription: httpx.Client
) -> None:
    late = marketo.store.log_activity("Click Email", leads[0], commits_in=60)
    marketo.clock.advance(30)
    marketo.store.log_activity("Click Email", leads[1])
    (page,) = pages(subscription, "/rest/v1/activities.json", "2026-03-04T12:00:00Z", activityTypeIds="11")
    marketo.clock.advance(30)
    after = get(
        subscription, "/rest/v1/activities.json", nextPageToken=page["nextPageToken"], activityTypeIds="11"
    )
    assert "result" not in after
    (again,) = pages(subscription, "/rest/v1/activities.json", "2026-03-04T12:00:00Z", activityTypeIds="11")
    assert [activity["id"] for activity in again["result"]] == [late, late + 1]


def test_deleted_and_merged_leads_are_gone_and_told(
    marketo: MarketoServer, leads: list[int], subscription: httpx.Client
) -> None:
    marketo.store.delete_lead(leads[0])
    marketo.store.merge_leads(leads[1], [leads[2]])
    values = ",".join(map(str, leads))
    found = result(subscription, "/rest/v1/leads.json", filterType="id", filterValues=values, fields="id")
    assert found == [{"id": leads[1]}]
    since = "2026-03-04T12:00:00Z"
    (deleted,) = pages(subscription, "/rest/v1/activities/deletedleads.json", since)
    assert [activity["leadId"] for activity in deleted["result"]] == [leads[0]]
    (merged,) = pages(subscription, "/rest/v1/activities.json", since, activityTypeIds="32")
    (activity,) = merged["result"]
    assert activity["leadId"] == leads[1]
    assert {"name": "Merge IDs", "value": f"[{leads[2]}]"} in activity["attributes"]


def test_lead_changes_show_the_fields_that_are_asked_for(
    marketo: MarketoServer, leads: list[int], subscription: httpx.Client
) -> None:
    for name in ("leadStatus", "company"):
        change = {"New Value": "b", "Old Value": "a", "Source": "Web"}
        marketo.store.log_activity("Change Data Value", leads[0], change, primary_id=5, primary=name)
    marketo.store.log_activity("New Lead", leads[1], {"Source Type": "Form"})
    since, path = "2026-03-04T12:00:00Z", "/rest/v1/activities/leadchanges.json"
    (page,) = pages(subscription, path, since, fields="leadStatus")
    changed, new = page["result"]
    assert changed["fields"] == [{"id": 5, "name": "leadStatus", "newValue": "b", "oldValue": "a"}]
    assert changed["attributes"] == [{"name": "Source", "value": "Web"}]
    assert (new["leadId"], "fields" in new) == (leads[1], False)


# --- programs, campaigns, limits


def test_assets_end_with_a_warning(marketo: MarketoServer, subscription: httpx.Client) -> None:
    marketo.store.programs = [{"id": number, "name": f"P{number}"} for number in range(30)]
    marketo.store.campaigns = [{"id": number} for number in range(301)]
    path = "/rest/asset/v1/programs.json"
    assert [len(result(subscription, path, offset=n)) for n in (0, 20)] == [20, 10]
    end = get(subscription, path, offset=30, maxReturn=200)
    assert (end["success"], "result" in end) == (True, False)
    assert end["warnings"] == ["No assets found for the given search criteria."]
    first = get(subscription, "/rest/v1/campaigns.json")
    rest = get(subscription, "/rest/v1/campaigns.json", nextPageToken=first["nextPageToken"])
    assert (len(first["result"]), rest["result"], "nextPageToken" in rest) == (300, [{"id": 300}], False)


def test_the_day_ends_at_midnight_central_time(marketo: MarketoServer, subscription: httpx.Client) -> None:
    usage = "/rest/v1/stats/usage.json"
    assert result(subscription, usage) == [
        {
            "date": "2026-03-04",
            "total": 1,
            "users": [{"userId": "integration@casetrail.example", "count": 1}],
        }
    ]
    marketo.effects["exhaust_calls"]()
    assert code(get(subscription, usage)) == "607"
    marketo.identity.lifetime = 86_400
    marketo.clock.advance(
        timedelta(hours=18, seconds=-1).total_seconds()
    )  # 05:59:59 UTC, 23:59:59 in Chicago
    subscription.headers["Authorization"] = f"Bearer {token_of(marketo)}"
    assert code(get(subscription, usage)) == "607"
    marketo.clock.advance(1)
    assert result(subscription, usage)[0]["date"] == "2026-03-05"


def test_100_calls_in_20_seconds_are_enough(marketo: MarketoServer, subscription: httpx.Client) -> None:
    usage = "/rest/v1/stats/usage.json"
    assert all(get(subscription, usage)["success"] for _ in range(100))
    assert code(get(subscription, usage)) == "606"
    marketo.clock.advance(20)
    assert get(subscription, usage)["success"]


def test_so_many_calls_at_once(marketo: MarketoServer, subscription: httpx.Client) -> None:
    marketo.limits.calls_at_once = 1
    usage = "/rest/v1/stats/usage.json"
    entered, leave = threading.Event(), threading.Event()

    def hold() -> None:
        with marketo.limits.call():
            entered.set()
            leave.wait(10)

    thread = threading.Thread(target=hold)
    thread.start()
    entered.wait(10)
    assert code(get(subscription, usage)) == "615"
    leave.set()
    thread.join()
    assert get(subscription, usage)["success"]


def test_another_process_changes_records(marketo: MarketoServer) -> None:
    changes = f"{marketo.url}/_testkit/changes"
    (lead,) = HTTP.post(changes, json={"do": "create_lead", "values": {"email": "a@acme.example"}}).json()
    more = [
        {"do": "add_field", "name": "Region__c"},
        {"do": "update_lead", "lead": lead, "values": {"Region__c": "South"}},
        {"do": "log_activity", "kind": "New Lead", "lead": lead, "commits_in": 60},
    ]
    assert HTTP.post(changes, json=more).status_code == 200
    assert marketo.store.leads()[0]["Region__c"] == "South"
    assert marketo.store.activities() == []
    HTTP.post(f"{marketo.url}/_testkit/clock", json={"advance": 60})
    assert len(marketo.store.activities()) == 1
    assert HTTP.post(changes, json={"do": "delete_lead", "lead": 99}).json()["error"] == "there is no lead 99"
    assert "do one of" in HTTP.post(changes, json={"do": "explode"}).json()["error"]
