"""The sample company's log as its systems hold it: sales in Salesforce, marketing in Marketo, the rest in its ERP.

What belongs here: which record of which system tells an event of the log. Everything is a function of the log: the same
log gives the same records.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

LogRow = Mapping[str, str]
Record = dict[str, Any]
"""Field -> value; all records of one kind have the same fields in the same order."""
RecordId = Callable[[str, int], str]
"""From an object's key prefix and a number to the id of a record."""

STAGES = {
    "Send quote": ("Quote sent", 40.0),
    "Check credit": ("Credit check", 50.0),
    "Fix quote": ("Quote rework", 45.0),
    "Approve quote": ("Quote approved", 90.0),
}
"""Activity -> stage of the opportunity, probability in percent."""

AFTER_SALE = ("Ship order", "Send invoice", "Remind customer", "Receive payment")
ERP_COLUMNS = ("case_id", "activity", "timestamp", "resource", "role", "org_unit")

TOUCHES = {
    "mail": (("Send Email", 0), ("Email Delivered", 1), ("Open Email", 60), ("Click Email", 65)),
    "partner": (("Add to List", 0),),
    "phone": (),
    "web": (("Visit Webpage", 0), ("Fill Out Form", 5)),
}
"""Channel -> types of marketing's activities with the minutes after the first of them."""

OPPORTUNITY_FIELDS = {
    "Region__c": "region",
    "Sales_Office__c": "sales_office",
    "Currency__c": "currency",
    "Priority__c": "priority",
    "Channel__c": "channel",
    "Product_Line__c": "product_line",
    "Case_Key__c": "case_id",
}
"""Custom field of an opportunity -> column of the log."""


@dataclass(frozen=True)
class _Case:
    """One case's rows of the log in order of time, and its number from 1."""

    number: int
    rows: list[LogRow]

    @property
    def first(self) -> LogRow:
        return self.rows[0]

    @property
    def customer(self) -> int:
        return int(self.first["customer_id"].removeprefix("K-"))

    @property
    def email(self) -> str:
        return f"person{self.number}@customer{self.customer}.example"

    @property
    def steps(self) -> list[LogRow]:
        """The rows that an opportunity tells; the first of them converts the lead."""
        return self.of(*STAGES)

    def of(self, *activities: str) -> list[LogRow]:
        """The rows of these activities."""
        return [row for row in self.rows if row["activity"] in activities]


def salesforce_records(log: Iterable[LogRow], record_id: RecordId) -> dict[str, list[Record]]:
    """Records of Salesforce by object: a lead for each case, which the quote converts into an opportunity.

    Args:
        log: Rows of the generator's CSV, sorted by time.
        record_id: How an org makes ids.
    """
    cases = _cases(log)
    names = sorted(
        {row["resource"] for case in cases for row in case.of("Lead created", "Qualify lead", *STAGES)}
    )
    users = {name: record_id("005", number) for number, name in enumerate(names, 1)}
    sold = [case for case in cases if case.steps]
    return {
        "User": _users(users, min(_stamp(case.first) for case in cases)),
        "Account": _accounts(sold, record_id),
        "Contact": _contacts(sold, record_id),
        "Lead": [_lead(case, users, record_id) for case in cases],
        "LeadHistory": _lead_histories(cases, users, record_id),
        "Opportunity": [_opportunity(case, users, record_id) for case in sold],
        "OpportunityHistory": _opportunity_histories(sold, users, record_id),
        "OpportunityContactRole": [_contact_role(case, record_id) for case in sold],
    }


def marketo_leads(log: Iterable[LogRow], record_id: RecordId) -> list[Record]:
    """Leads of Marketo, each linked to its lead and contact of Salesforce."""
    return [
        {
            "id": case.number,
            "createdAt": list(_touches(case))[-1][1],
            "updatedAt": case.first["timestamp"],
            "email": case.email,
            "lastName": f"Person {case.number}",
            "sfdcLeadId": record_id("00Q", case.number),
            "sfdcContactId": record_id("003", case.number) if case.steps else None,
            "sfdcType": "contact" if case.steps else "lead",
        }
        for case in _cases(log)
    ]


def marketo_activities(log: Iterable[LogRow]) -> list[Record]:
    """Activities of Marketo before a lead came to sales: what made it, and New Lead. Sorted by time."""
    activities = [
        {"leadId": case.number, "type": kind, "activityDate": at}
        for case in _cases(log)
        for kind, at in _touches(case)
    ]
    return sorted(activities, key=lambda activity: (activity["activityDate"], activity["leadId"]))


def erp_rows(log: Iterable[LogRow]) -> list[Record]:
    """What comes after the sale, as the ERP exports it: shipping, invoices, reminders, payment. In the log's order."""
    return [{column: row[column] for column in ERP_COLUMNS} for row in log if row["activity"] in AFTER_SALE]


def _cases(log: Iterable[LogRow]) -> list[_Case]:
    cases: dict[str, list[LogRow]] = {}
    for row in log:
        cases.setdefault(row["case_id"], []).append(row)
    return [_Case(int(key.removeprefix("L-")), cases[key]) for key in sorted(cases)]


def _touches(case: _Case) -> Iterator[tuple[str, str]]:
    """Marketing's activities: they begin some hours before sales gets the lead."""
    hours_before = timedelta(minutes=120 + 37 * case.number % 1_440)
    begin = datetime.fromisoformat(case.first["timestamp"]) - hours_before
    touches = TOUCHES[case.first["channel"]]
    for kind, minutes in (*touches, ("New Lead", max((minutes for _, minutes in touches), default=0))):
        yield kind, (begin + timedelta(minutes=minutes)).strftime("%Y-%m-%dT%H:%M:%SZ")


def _stamp(row: LogRow) -> str:
    return row["timestamp"].removesuffix("Z") + ".000Z"


def _made(at: str) -> Record:
    return {"CreatedDate": at, "SystemModstamp": at}


def _users(users: Mapping[str, str], at: str) -> list[Record]:
    return [
        {"Id": user, "Username": f"{name.lower()}@acme.example", "Name": name, "IsActive": True, **_made(at)}
        for name, user in users.items()
    ]


def _accounts(sold: list[_Case], record_id: RecordId) -> list[Record]:
    """A customer's account is made with the first quote."""
    first: dict[int, str] = {}
    for case in sold:
        at = _stamp(case.steps[0])
        first[case.customer] = min(first.get(case.customer, at), at)
    return [
        {"Id": record_id("001", number), "Name": f"Customer {number}", **_made(at)}
        for number, at in sorted(first.items())
    ]


def _contacts(sold: list[_Case], record_id: RecordId) -> list[Record]:
    return [
        {
            "Id": record_id("003", case.number),
            "AccountId": record_id("001", case.customer),
            "LastName": f"Person {case.number}",
            "Email": case.email,
            **_made(_stamp(case.steps[0])),
        }
        for case in sold
    ]


def _lead(case: _Case, users: Mapping[str, str], record_id: RecordId) -> Record:
    qualified, sold = case.of("Qualify lead"), bool(case.steps)
    return {
        "Id": record_id("00Q", case.number),
        "LastName": f"Person {case.number}",
        "Company": f"Customer {case.customer}",
        "Email": case.email,
        "Status": "Converted" if sold else "Qualified" if qualified else "Open",
        "LeadSource": case.first["channel"],
        "IsConverted": sold,
        "ConvertedDate": case.steps[0]["timestamp"][:10] if sold else None,
        "ConvertedAccountId": record_id("001", case.customer) if sold else None,
        "ConvertedContactId": record_id("003", case.number) if sold else None,
        "ConvertedOpportunityId": record_id("006", case.number) if sold else None,
        "Case_Key__c": case.first["case_id"],
        "CreatedById": users[case.first["resource"]],
        "CreatedDate": _stamp(case.first),
        "SystemModstamp": _stamp([case.first, *qualified, *case.steps[:1]][-1]),
    }


def _lead_histories(cases: list[_Case], users: Mapping[str, str], record_id: RecordId) -> list[Record]:
    changes: list[tuple[_Case, LogRow, str, str | None, str | None]] = []
    for case in cases:
        changes += [(case, row, "Status", "Open", "Qualified") for row in case.of("Qualify lead")]
        changes += [(case, row, "leadConverted", None, None) for row in case.steps[:1]]
    changes.sort(key=lambda change: (change[1]["timestamp"], change[0].number))
    return [
        {
            "Id": record_id("017", number),
            "LeadId": record_id("00Q", case.number),
            "CreatedById": users[row["resource"]],
            "CreatedDate": _stamp(row),
            "Field": field,
            "OldValue": old,
            "NewValue": new,
        }
        for number, (case, row, field, old, new) in enumerate(changes, 1)
    ]


def _opportunity(case: _Case, users: Mapping[str, str], record_id: RecordId) -> Record:
    first, last = case.steps[0], case.steps[-1]
    stage, probability = STAGES[last["activity"]]
    won = last["activity"] == "Approve quote"
    return {
        "Id": record_id("006", case.number),
        "AccountId": record_id("001", case.customer),
        "ContactId": record_id("003", case.number),
        "Name": f"Deal {case.number}",
        "StageName": stage,
        "Amount": float(first["amount"]),
        "Probability": probability,
        "IsClosed": won,
        "IsWon": won,
        "CloseDate": last["timestamp"][:10],
        **{field: first[column] for field, column in OPPORTUNITY_FIELDS.items()},
        "CreatedById": users[first["resource"]],
        "CreatedDate": _stamp(first),
        "SystemModstamp": _stamp(last),
    }


def _opportunity_histories(sold: list[_Case], users: Mapping[str, str], record_id: RecordId) -> list[Record]:
    steps = [(case, row) for case in sold for row in case.steps]
    steps.sort(key=lambda step: (step[1]["timestamp"], step[0].number))
    return [
        {
            "Id": record_id("008", number),
            "OpportunityId": record_id("006", case.number),
            "CreatedById": users[row["resource"]],
            "StageName": STAGES[row["activity"]][0],
            "Probability": STAGES[row["activity"]][1],
            "Amount": float(row["amount"]),
            **_made(_stamp(row)),
        }
        for number, (case, row) in enumerate(steps, 1)
    ]


def _contact_role(case: _Case, record_id: RecordId) -> Record:
    return {
        "Id": record_id("00K", case.number),
        "OpportunityId": record_id("006", case.number),
        "ContactId": record_id("003", case.number),
        "Role": "Decision Maker",
        "IsPrimary": True,
        **_made(_stamp(case.steps[0])),
    }
