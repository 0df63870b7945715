"""Salesforce's OAuth and REST, as its documentation describes them, through a plain client."""

import base64
import json
from datetime import timedelta
from typing import Any

import httpx
import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from casetrail_testkit import SalesforceServer
from casetrail_testkit.salesforce.catalog import Field
from casetrail_testkit.salesforce.ids import record_id, with_suffix
from tests.testkit.conftest import HTTP, NOON, log_in

TOKEN = "/services/oauth2/token"
STAMP = "2026-03-04T12:00:00.000Z"


def query(org: httpx.Client, soql: str, resource: str = "query") -> dict[str, Any]:
    return dict(org.get(f"/{resource}", params={"q": soql}).raise_for_status().json())


def error(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()[0]["errorCode"]


def column(answer: dict[str, Any], name: str) -> list[Any]:
    return [record[name] for record in answer["records"]]


# --- who may log in


def signed(server: SalesforceServer, key: rsa.RSAPrivateKey | None = None, **changes: Any) -> str:
    claims = {
        "iss": server.sessions.consumer_key,
        "sub": server.sessions.username,
        "aud": "https://login.salesforce.com",
        "exp": int((NOON + timedelta(seconds=170)).timestamp()),
    } | changes
    packed = b".".join(
        base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=")
        for part in ({"alg": "RS256", "typ": "JWT"}, claims)
    )
    key = key or serialization.load_pem_private_key(server.sessions.private_key.encode(), None)  # type: ignore[assignment]
    assert key is not None
    signature = key.sign(packed, padding.PKCS1v15(), hashes.SHA256())
    return f"{packed.decode()}.{base64.urlsafe_b64encode(signature).decode().rstrip('=')}"


def ask_with(server: SalesforceServer, assertion: str) -> httpx.Response:
    grant = "urn:ietf:params:oauth:grant-type:jwt-bearer"
    return HTTP.post(f"{server.url}{TOKEN}", data={"grant_type": grant, "assertion": assertion})


def test_client_credentials_give_a_token_that_opens_the_org(salesforce: SalesforceServer) -> None:
    sessions = salesforce.sessions
    form = {"client_id": sessions.consumer_key, "client_secret": sessions.consumer_secret}
    answer = HTTP.post(f"{salesforce.url}{TOKEN}", data={"grant_type": "client_credentials", **form})
    granted = answer.json()
    assert set(granted) == {
        *("access_token", "signature", "scope", "instance_url", "id", "token_type", "issued_at")
    }
    headers = {"Authorization": f"Bearer {granted['access_token']}"}
    assert (
        HTTP.get(f"{granted['instance_url']}/services/data/v62.0/limits", headers=headers).status_code == 200
    )


@pytest.mark.parametrize(
    ("key", "secret", "expected"),
    [("", "x", (401, "invalid_client")), ("x", "", (400, "invalid_client_id"))],
)
def test_wrong_credentials_are_refused(
    salesforce: SalesforceServer, key: str, secret: str, expected: tuple[int, str]
) -> None:
    sessions = salesforce.sessions
    auth = (sessions.consumer_key + key, sessions.consumer_secret + secret)
    answer = HTTP.post(f"{salesforce.url}{TOKEN}", data={"grant_type": "client_credentials"}, auth=auth)
    assert (answer.status_code, answer.json()["error"]) == expected


def test_a_signed_assertion_gives_a_token(salesforce: SalesforceServer) -> None:
    assert ask_with(salesforce, signed(salesforce)).json()["token_type"] == "Bearer"


@pytest.mark.parametrize(
    ("changes", "description"),
    [
        ({"sub": "somebody@else.example"}, "approved"),
        ({"aud": "https://elsewhere.example"}, "audience"),
        ({"exp": int((NOON - timedelta(seconds=1)).timestamp())}, "expired"),
        ({"exp": int((NOON + timedelta(minutes=4)).timestamp())}, "too late"),
    ],
)
def test_an_assertion_with_wrong_claims_is_refused(
    salesforce: SalesforceServer, changes: dict[str, Any], description: str
) -> None:
    answer = ask_with(salesforce, signed(salesforce, **changes))
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_grant")
    assert description in answer.json()["error_description"]


def test_an_assertion_that_another_key_signed_is_refused(salesforce: SalesforceServer) -> None:
    stranger = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    assert ask_with(salesforce, signed(salesforce, stranger)).json()["error"] == "invalid_grant"
    header, claims, signature = signed(salesforce).split(".")
    assert ask_with(salesforce, f"{header}.{claims}x.{signature}").json()["error"] == "invalid_grant"


def test_a_token_ends_with_its_session(salesforce: SalesforceServer, org: httpx.Client) -> None:
    assert org.get("/limits").status_code == 200
    salesforce.clock.advance(salesforce.sessions.lifetime)
    assert error(org.get("/limits")) == (401, "INVALID_SESSION_ID")
    org.headers["Authorization"] = f"Bearer {log_in(salesforce)}"
    salesforce.faults.add(path="/limits", nth=2, effects=["expire_tokens"])
    assert [org.get("/limits").status_code for _ in range(2)] == [200, 401]


# --- what is there


def test_versions_that_are_retired_or_unknown(salesforce: SalesforceServer, org: httpx.Client) -> None:
    versions = HTTP.get(f"{salesforce.url}/services/data").json()
    assert {"label", "url", "version"} == set(versions[0])
    base = f"{salesforce.url}/services/data"
    assert error(org.get(f"{base}/v30.0/limits")) == (410, "GONE")
    assert error(org.get(f"{base}/v99.0/limits")) == (404, "NOT_FOUND")


def test_describe_tells_types_parts_and_what_cannot_be_filtered(org: httpx.Client) -> None:
    fields = {field["name"]: field for field in org.get("/sobjects/Account/describe").json()["fields"]}
    assert fields["SystemModstamp"]["type"] == "datetime"
    assert fields["OwnerId"]["referenceTo"] == ["User"]
    assert fields["BillingAddress"]["type"] == "address"
    assert fields["BillingCity"]["compoundFieldName"] == "BillingAddress"
    history = {field["name"]: field for field in org.get("/sobjects/LeadHistory/describe").json()["fields"]}
    assert not history["OldValue"]["filterable"]
    assert "SystemModstamp" not in history
    assert error(org.get("/sobjects/Nothing/describe")) == (404, "NOT_FOUND")
    names = {one["name"] for one in org.get("/sobjects").json()["sobjects"]}
    assert {"Lead", "OpportunityHistory", "CampaignMember"} <= names


def test_a_record_looks_as_documented(salesforce: SalesforceServer, org: httpx.Client) -> None:
    account = salesforce.store.create("Account", {"Name": "Acme", "BillingCity": "Ulm", "AnnualRevenue": 5.5})
    answer = query(
        org, "SELECT Id, Name, IsDeleted, BillingAddress, AnnualRevenue, Website, CreatedDate FROM Account"
    )
    assert answer == {
        "totalSize": 1,
        "done": True,
        "records": [
            {
                "attributes": {"type": "Account", "url": f"/services/data/v62.0/sobjects/Account/{account}"},
                "Id": account,
                "Name": "Acme",
                "IsDeleted": False,
                "BillingAddress": {
                    "street": None,
                    "city": "Ulm",
                    "state": None,
                    "postalCode": None,
                    "country": None,
                },
                "AnnualRevenue": 5.5,
                "Website": None,
                "CreatedDate": "2026-03-04T12:00:00.000+0000",
            }
        ],
    }


def test_nul_cr_and_quotes_come_through(salesforce: SalesforceServer, org: httpx.Client) -> None:
    name = 'a\x00b\rc\nd"e,f\u2028ü'
    salesforce.store.create("Lead", {"LastName": name})
    assert column(query(org, "SELECT LastName FROM Lead"), "LastName") == [name]


# --- queries


def test_pages_of_2000_are_followed_to_the_end(salesforce: SalesforceServer, org: httpx.Client) -> None:
    salesforce.store.load("Lead", ["LastName"], ([str(number)] for number in range(4_500)))
    page = query(org, "SELECT Id, LastName FROM Lead ORDER BY Id")
    assert (page["totalSize"], len(page["records"])) == (4_500, 2_000)
    names = column(page, "LastName")
    while not page["done"]:
        # Rows are those of the first page's moment.
        salesforce.store.create("Lead", {"LastName": "late"})
        page = HTTP.get(f"{salesforce.url}{page['nextRecordsUrl']}", headers=org.headers).json()
        names += column(page, "LastName")
    assert names == [str(number) for number in range(4_500)]
    exact = query(org, "SELECT Id FROM Lead LIMIT 2000")
    assert (exact["done"], len(exact["records"]), "nextRecordsUrl" in exact) == (True, 2_000, False)
    small = org.get(
        "/query", params={"q": "SELECT Id FROM Lead"}, headers={"Sforce-Query-Options": "batchSize=1"}
    )
    assert len(small.json()["records"]) == 200
    salesforce.effects["forget_cursors"]()
    again = HTTP.get(f"{salesforce.url}{small.json()['nextRecordsUrl']}", headers=org.headers)
    assert error(again) == (400, "INVALID_QUERY_LOCATOR")


@pytest.fixture
def deals(salesforce: SalesforceServer) -> list[str]:
    rows = [
        ("Alpha", 10.0, True, "2026-01-31", "2026-01-01T00:00:00.000Z"),
        ("beta", 20.0, False, "2026-02-28", "2026-01-01T00:00:01.000Z"),
        ("Gamma", None, False, None, "2026-01-01T00:00:01.000Z"),
        (None, 40.0, True, "2026-04-30", "2026-01-01T00:00:02.000Z"),
    ]
    columns = ("Name", "Amount", "IsWon", "CloseDate", "SystemModstamp")
    return [salesforce.store.create("Opportunity", dict(zip(columns, row, strict=True))) for row in rows]


@pytest.mark.parametrize(
    ("where", "found"),
    [
        ("SystemModstamp >= 2026-01-01T00:00:01Z AND SystemModstamp < 2026-01-01T00:00:02.000Z", [1, 2]),
        ("systemmodstamp > 2026-01-01T01:00:00+01:00", [1, 2, 3]),
        ("IsWon = true AND Amount > 10", [3]),
        ("Amount != 10", [1, 2, 3]),  # unlike SQL, SOQL's != holds for null
        ("Amount = null", [2]),
        ("CloseDate <= 2026-02-28", [0, 1]),
        ("CloseDate <> NULL and Amount >= 20.0", [1, 3]),
        ("Name IN ('ALPHA', 'BETA')", [0, 1]),
        ("Name NOT IN ('alpha')", [1, 2, 3]),
        ("Name = 'it\\'s'", []),
    ],
)
def test_conditions(deals: list[str], org: httpx.Client, where: str, found: list[int]) -> None:
    assert column(query(org, f"SELECT Id FROM Opportunity WHERE {where}"), "Id") == [deals[n] for n in found]
    assert query(org, f"SELECT count() FROM Opportunity WHERE {where}")["totalSize"] == len(found)


def test_ids_of_15_and_18_characters_are_the_same(deals: list[str], org: httpx.Client) -> None:
    short = deals[0][:15]
    assert column(query(org, f"SELECT Id FROM Opportunity WHERE Id = '{short}'"), "Id") == [deals[0]]
    assert column(query(org, f"SELECT Id FROM Opportunity WHERE Id > '{short}' LIMIT 2"), "Id") == deals[1:3]
    assert query(org, f"SELECT Id FROM Opportunity WHERE Id IN ('{short.lower()}')")["totalSize"] == 0


def test_order_with_ties_and_nulls(deals: list[str], org: httpx.Client) -> None:
    def ordered(by: str) -> list[int]:
        return [
            deals.index(one) for one in column(query(org, f"SELECT Id FROM Opportunity ORDER BY {by}"), "Id")
        ]

    assert ordered("SystemModstamp DESC, Id") == [3, 1, 2, 0]
    assert ordered("Amount") == [2, 0, 1, 3]
    assert ordered("Amount DESC NULLS LAST") == [3, 1, 0, 2]


@pytest.mark.parametrize(
    ("soql", "code"),
    [
        ("SELECT Nothing FROM Lead", "INVALID_FIELD"),
        ("SELECT Id FROM Nothing", "INVALID_TYPE"),
        ("SELECT Id FROM Lead WHERE CreatedDate > '2026-01-01T00:00:00Z'", "INVALID_FIELD"),
        ("SELECT Id FROM Lead WHERE CreatedDate > 2026-01-01", "INVALID_FIELD"),
        ("SELECT Id FROM Lead WHERE IsDeleted = 'false'", "INVALID_FIELD"),
        ("SELECT Id FROM LeadHistory WHERE OldValue = 'x'", "INVALID_FIELD"),
        ("SELECT Id FROM ActivityFieldHistory WHERE SystemModstamp > 2026-01-01T00:00:00Z", "INVALID_FIELD"),
        ("SELECT Id FROM Lead WHERE CreatedDate > 2026-01-01T00:00:00 00:00", "MALFORMED_QUERY"),
        ("SELECT Id FROM Lead WHERE", "MALFORMED_QUERY"),
        ("SELECT Id, FROM Lead", "MALFORMED_QUERY"),
        ("SELECT Id FROM Lead; DROP", "MALFORMED_QUERY"),
        ("SELECT Id FROM Lead LIMIT 1 Id", "MALFORMED_QUERY"),
        ("", "MALFORMED_QUERY"),
    ],
)
def test_queries_that_are_refused(org: httpx.Client, soql: str, code: str) -> None:
    assert error(org.get("/query", params={"q": soql})) == (400, code)


def test_a_long_query_is_too_long_for_a_url(org: httpx.Client) -> None:
    columns = ", ".join(["Id"] * 4_000)
    assert org.get("/query", params={"q": f"SELECT {columns} FROM Lead"}).status_code == 414


# --- how records change


def test_an_update_moves_the_stamps(salesforce: SalesforceServer, org: httpx.Client) -> None:
    lead = salesforce.store.create("Lead", {"LastName": "Doe"})
    salesforce.clock.advance(61)
    salesforce.store.update("Lead", lead, {"Status": "Working"})
    assert query(org, "SELECT CreatedDate, LastModifiedDate, SystemModstamp, Status FROM Lead")[
        "records"
    ] == [
        {
            "attributes": {"type": "Lead", "url": f"/services/data/v62.0/sobjects/Lead/{lead}"},
            "CreatedDate": "2026-03-04T12:00:00.000+0000",
            "LastModifiedDate": "2026-03-04T12:01:01.000+0000",
            "SystemModstamp": "2026-03-04T12:01:01.000+0000",
            "Status": "Working",
        }
    ]


def test_a_formula_moves_no_stamp(salesforce: SalesforceServer) -> None:
    deal = salesforce.store.create("Opportunity", {"Name": "A"})
    salesforce.clock.advance(61)
    salesforce.store.update("Opportunity", deal, {"ExpectedRevenue": 4.0})
    (row,) = salesforce.store.rows("Opportunity")
    assert (row["ExpectedRevenue"], row["SystemModstamp"]) == (4.0, STAMP)


def test_a_late_commit_is_seen_later_with_its_older_stamp(
    salesforce: SalesforceServer, org: httpx.Client
) -> None:
    lead = salesforce.store.create("Lead", {"LastName": "Doe"}, commits_in=300)
    salesforce.clock.advance(299)
    assert query(org, "SELECT count() FROM Lead")["totalSize"] == 0
    salesforce.clock.advance(1)
    (record,) = query(org, "SELECT Id, SystemModstamp FROM Lead")["records"]
    assert (record["Id"], record["SystemModstamp"]) == (lead, "2026-03-04T12:00:00.000+0000")


def test_deleted_and_merged_records_are_in_the_bin_for_15_days(
    salesforce: SalesforceServer, org: httpx.Client
) -> None:
    store = salesforce.store
    winner, loser, gone = (store.create("Lead", {"LastName": name}) for name in "abc")
    salesforce.clock.advance(60)
    store.merge("Lead", winner, loser)
    store.delete("Lead", gone)
    fields = "Id, IsDeleted, MasterRecordId"
    assert column(query(org, f"SELECT {fields} FROM Lead"), "Id") == [winner]
    everything = query(org, f"SELECT {fields} FROM Lead", "queryAll")
    assert column(everything, "IsDeleted") == [False, True, True]
    assert column(everything, "MasterRecordId") == [None, winner, None]
    deleted = query(
        org, f"SELECT {fields} FROM Lead WHERE IsDeleted = TRUE AND MasterRecordId != NULL", "queryAll"
    )
    assert column(deleted, "Id") == [loser]
    salesforce.clock.advance(timedelta(days=15).total_seconds())
    org.headers["Authorization"] = f"Bearer {log_in(salesforce)}"
    assert column(query(org, "SELECT Id FROM Lead", "queryAll"), "Id") == [winner]


def test_a_hard_delete_leaves_no_trace(salesforce: SalesforceServer, org: httpx.Client) -> None:
    member = salesforce.store.create("CampaignMember", {"Status": "Sent"})
    salesforce.store.delete("CampaignMember", member)
    lead = salesforce.store.create("Lead", {"LastName": "Doe"})
    salesforce.store.delete("Lead", lead, hard=True)
    for name in ("CampaignMember", "Lead"):
        assert query(org, f"SELECT Id FROM {name}", "queryAll")["totalSize"] == 0


def test_archived_tasks_are_in_query_all_only(salesforce: SalesforceServer, org: httpx.Client) -> None:
    store = salesforce.store
    archived, live = (store.create("Task", {"IsArchived": is_archived}) for is_archived in (True, False))
    assert column(query(org, "SELECT Id FROM Task"), "Id") == [live]
    assert column(query(org, "SELECT Id FROM Task", "queryAll"), "Id") == [archived, live]


def test_columns_appear_disappear_and_change_type(salesforce: SalesforceServer, org: httpx.Client) -> None:
    store = salesforce.store
    store.create("Lead", {"LastName": "Doe", "AnnualRevenue": 12.5})
    store.add_field("Lead", Field("Score__c", "double"))
    store.remove_field("Lead", "Company")
    store.retype_field("Lead", "AnnualRevenue", "string")
    names = {field["name"]: field["type"] for field in org.get("/sobjects/Lead/describe").json()["fields"]}
    assert (names["Score__c"], names["AnnualRevenue"], "Company" in names) == ("double", "string", False)
    (record,) = query(org, "SELECT Score__c, AnnualRevenue FROM Lead")["records"]
    assert (record["Score__c"], record["AnnualRevenue"]) == (None, "12.5")
    assert error(org.get("/query", params={"q": "SELECT Company FROM Lead"})) == (400, "INVALID_FIELD")


@pytest.mark.parametrize("call", ["create", "update", "delete", "load"])
def test_a_change_of_what_is_not_there_is_refused(salesforce: SalesforceServer, call: str) -> None:
    calls = {
        "create": lambda: salesforce.store.create("Lead", {"Nothing": 1}),
        "update": lambda: salesforce.store.update("Lead", "00Qx", {"LastName": "x"}),
        "delete": lambda: salesforce.store.delete("Nothing", "x"),
        "load": lambda: salesforce.store.load("Lead", ["Nothing"], [["x"]]),
    }
    with pytest.raises(ValueError, match=r"no field Nothing|no record 00Qx|no object Nothing"):
        calls[call]()


# --- limits


def test_calls_are_counted_and_end_for_24_hours(salesforce: SalesforceServer, org: httpx.Client) -> None:
    salesforce.limits.api_requests.most = 3
    answer = org.get("/limits")
    assert answer.headers["Sforce-Limit-Info"] == "api-usage=1/3"
    assert answer.json()["DailyApiRequests"] == {"Max": 3, "Remaining": 2}
    salesforce.clock.advance(3600)
    assert [org.get("/limits").status_code for _ in range(2)] == [200, 200]
    assert error(org.get("/limits")) == (403, "REQUEST_LIMIT_EXCEEDED")
    salesforce.clock.advance(23 * 3600)
    org.headers["Authorization"] = f"Bearer {log_in(salesforce)}"
    assert [org.get("/limits").status_code for _ in range(2)] == [200, 403]


# --- ids


@pytest.mark.parametrize(
    ("short", "long"),
    [
        ("005R0000000UyrW", "005R0000000UyrWIAS"),  # from Salesforce's own examples
        ("750Tn000004ZoR3", "750Tn000004ZoR3IAK"),
        ("7011G000000QXWv", "7011G000000QXWvQAO"),
    ],
)
def test_the_suffix_of_an_id(short: str, long: str) -> None:
    assert with_suffix(short) == long
    assert with_suffix(long) == long


def test_ids_sort_as_they_are_made() -> None:
    ids = [record_id("00Q", number) for number in (1, 9, 10, 61, 62, 63, 4_000, 1_000_000)]
    assert ids == sorted(ids)
    assert {len(one) for one in ids} == {18}


def test_ids_that_are_made_are_none_that_came(salesforce: SalesforceServer) -> None:
    store = salesforce.store
    came = [record_id("00Q", number) for number in (70, 3)]
    store.load("Lead", ["Id", "LastName"], [[one, "x"] for one in came])
    assert store.create("Lead", {"LastName": "y"}) == record_id("00Q", 71)
    with pytest.raises(ValueError, match="there already"):
        store.load("Lead", ["Id", "LastName"], [[record_id("00Q", 80), "x"], [came[1], "x"]])
    assert len(store.rows("Lead")) == 3


def test_a_merge_happens_whole_or_not_at_all(salesforce: SalesforceServer) -> None:
    lead = salesforce.store.create("Lead", {"LastName": "x"})
    with pytest.raises(ValueError, match="no record 00Qnobody"):
        salesforce.store.merge("Lead", "00Qnobody", lead)
    assert [row["Id"] for row in salesforce.store.rows("Lead")] == [lead]


# --- fields of parents


def test_a_query_shows_fields_of_the_record_that_a_reference_points_to(
    salesforce: SalesforceServer, org: httpx.Client
) -> None:
    ann = salesforce.store.create("User", {"Name": "Ann", "Email": "ann@acme.example"})
    salesforce.store.create("Lead", {"LastName": "A", "OwnerId": ann})
    salesforce.store.create("Lead", {"LastName": "B"})
    owned, free = query(org, "SELECT LastName, Owner.Name, owner.email FROM Lead ORDER BY LastName")[
        "records"
    ]
    assert owned["Owner"]["attributes"]["type"] == "User"
    assert (owned["Owner"]["Name"], owned["owner"]["Email"]) == ("Ann", "ann@acme.example")
    assert free["Owner"] is None
    for unknown in ("Company.Name", "Owner.Nothing", "Nothing.Name"):
        answer = org.get("/query", params={"q": f"SELECT {unknown} FROM Lead"})
        assert error(answer) == (400, "INVALID_FIELD")


def test_an_emptied_recycle_bin_is_told_by_the_log_of_deletes_alone(
    salesforce: SalesforceServer, org: httpx.Client
) -> None:
    kept, gone = (salesforce.store.create("Lead", {"LastName": name}) for name in "AB")
    salesforce.clock.advance(300)
    salesforce.store.delete("Lead", gone)
    salesforce.store.empty_recycle_bin("Lead")
    salesforce.clock.advance(300)
    assert column(query(org, "SELECT Id FROM Lead", "queryAll"), "Id") == [kept]
    window = {"start": STAMP, "end": "2026-03-04T12:10:00.000Z"}
    told = org.get("/sobjects/Lead/deleted/", params=window).raise_for_status().json()
    assert [one["id"] for one in told["deletedRecords"]] == [gone]
