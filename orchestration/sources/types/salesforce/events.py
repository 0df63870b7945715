"""Which records are events: their case, activity, time and order, as columns beside the org's own.

The columns that are computed here begin with ``event_``. No field of Salesforce has such a name: those of a customer
end with ``__c``, and Salesforce's own have no underscore.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from orchestration.connectors.mapping import Mapping as EventMapping
from orchestration.sources.types.salesforce.config import Config
from orchestration.sources.types.salesforce.standard import STANDARD

CASE, ACTIVITY, TIME, ORDER = "event_case", "event_activity", "event_time", "event_order"
CLOSED = "closed_at"
EVENT_COLUMNS = (CASE, ACTIVITY, TIME, ORDER)
COMPUTED = (*EVENT_COLUMNS, CLOSED)

Columns = Mapping[str, pa.Array]
Activity = Callable[[Columns, str, Config], pa.Array]
"""From the columns of records of an object their activities; null: the record is no event."""

OPPORTUNITY, CASE_PREFIX = "006", "500"
"""What ids of these objects begin with."""


@dataclass(frozen=True)
class Rule:
    """How the records of an object are events.

    Attributes:
        case: Fields with the case's id: the first that is not null.
        time: Fields with the time, likewise.
        who: The relationship to the user who did it.
        rank: Orders events of one case and second: what makes a record comes before its changes.
        activity: Its name.
        reads: Further fields that the activity is made of.
        others: Whether there are records that are no events.
    """

    case: tuple[str, ...]
    time: tuple[str, ...]
    who: str
    rank: int
    activity: Activity
    reads: tuple[str, ...] = ()
    others: bool = True


def _always(text: str) -> Activity:
    return lambda columns, _name, _config: pa.repeat(pa.scalar(text), len(columns["Id"]))


def _stage(columns: Columns, _name: str, _config: Config) -> pa.Array:
    return _labelled("Opportunity", columns["StageName"])


def _field_change(columns: Columns, name: str, config: Config) -> pa.Array:
    """``Lead: Qualified`` for a status, ``Lead: Owner changed`` for other fields whose changes are events."""
    noun, status = _NOUNS[name], pa.array(("Status", "StageName"))
    field = columns["Field"]
    told = pc.if_else(
        pc.equal(field, "leadConverted"),
        "Lead converted",
        pc.binary_join_element_wise(f"{noun}: ", field, " changed", ""),
    )
    told = pc.if_else(pc.is_in(field, status), _labelled(noun, columns["NewValue"]), told)
    is_event = pc.is_in(field, pa.array(changes_that_are_events(name, config), pa.string()))
    return pc.if_else(is_event, told, pa.scalar(None, pa.string()))


def _task(columns: Columns, _name: str, _config: Config) -> pa.Array:
    """``Call``, ``Email``, or ``Task``."""
    subtype = columns["TaskSubtype"]
    named = pc.is_in(subtype, pa.array(("Call", "Email")))
    return pc.if_else(pc.fill_null(named, False), subtype, "Task")


def _labelled(noun: str, values: pa.Array) -> pa.Array:
    return pc.binary_join_element_wise(f"{noun}: ", values, "")


RULES: dict[str, Rule] = {
    "Lead": Rule(("Id",), ("CreatedDate",), "CreatedBy", 1, _always("Lead created"), others=False),
    "LeadHistory": Rule(
        ("LeadId",), ("CreatedDate",), "CreatedBy", 5, _field_change, ("Field", "OldValue", "NewValue")
    ),
    "Opportunity": Rule(
        ("Id",), ("CreatedDate",), "CreatedBy", 2, _always("Opportunity created"), others=False
    ),
    "OpportunityHistory": Rule(("OpportunityId",), ("CreatedDate",), "CreatedBy", 4, _stage, ("StageName",)),
    "OpportunityFieldHistory": Rule(
        ("OpportunityId",), ("CreatedDate",), "CreatedBy", 6, _field_change, ("Field", "OldValue", "NewValue")
    ),
    "Case": Rule(("Id",), ("CreatedDate",), "CreatedBy", 3, _always("Case created"), others=False),
    "CaseHistory": Rule(
        ("CaseId",), ("CreatedDate",), "CreatedBy", 5, _field_change, ("Field", "OldValue", "NewValue")
    ),
    "Task": Rule(
        ("WhatId", "WhoId"), ("CompletedDateTime", "CreatedDate"), "Owner", 7, _task, ("TaskSubtype",)
    ),
    "Event": Rule(
        ("WhatId", "WhoId"),
        ("StartDateTime", "ActivityDateTime", "CreatedDate"),
        "Owner",
        8,
        _always("Meeting"),
    ),
    "CampaignMember": Rule(
        ("LeadId", "ContactId"), ("CreatedDate",), "CreatedBy", 0, _always("Added to campaign")
    ),
}

_NOUNS = {"LeadHistory": "Lead", "OpportunityFieldHistory": "Opportunity", "CaseHistory": "Case"}
_EVENTS_OF = {"LeadHistory": ("Status", "leadConverted"), "CaseHistory": ("Status",)}


def changes_that_are_events(name: str, config: Config) -> tuple[str, ...]:
    """The fields of an object's history whose changes are events."""
    own = _EVENTS_OF.get(name, ())
    if name == "OpportunityFieldHistory" and "OpportunityHistory" not in (config.streams or STANDARD):
        # Else each change of the stage would be told twice.
        own = ("StageName",)
    return (*own, *config.changes.get(name, ()))


def event_mappings(config: Config) -> dict[str, EventMapping]:
    """The mapping of each stream whose records are events."""
    return {
        name: EventMapping(
            system=config.system,
            case_id=CASE,
            activity=ACTIVITY,
            timestamp=TIME,
            resource=_resource(rule, config),
            order=ORDER,
            record_key=("Id",),
            timestamp_format="iso",
        )
        for name, rule in RULES.items()
        if name in (config.streams or STANDARD)
    }


def needed_fields(name: str, config: Config) -> Iterable[str]:
    """The fields of an object that its events and its identity are made of."""
    rule = RULES.get(name)
    event = (*rule.case, *rule.time, *rule.reads, _resource(rule, config)) if rule else ()
    return dict.fromkeys((*event, *IDENTIFYING.get(name, ())))


IDENTIFYING = {
    "Lead": ("MasterRecordId", "ConvertedContactId", "ConvertedOpportunityId", "Email"),
    "Contact": ("MasterRecordId", "Email"),
    "Account": ("MasterRecordId",),
    "Opportunity": ("CreatedDate", "IsClosed", "CloseDate"),
    "OpportunityContactRole": ("OpportunityId", "ContactId"),
    "Case": ("MasterRecordId", "ContactId", "CreatedDate", "ClosedDate"),
}
"""By object the fields that say who is who (``people``)."""


def event_columns(name: str, columns: Columns, cursors: pa.Array, config: Config) -> dict[str, pa.Array]:
    """The computed columns of records of an object that has events; without an activity a record is none.

    Args:
        name: Of the object.
        columns: All columns that are read of it.
        cursors: Where each record stands, in microseconds.
        config: The connector's.
    """
    rule = RULES[name]
    case = _case([columns[field] for field in rule.case])
    time = pc.coalesce(*(columns[field] for field in rule.time))
    activity = rule.activity(columns, name, config)
    is_event = pc.and_(pc.is_valid(case), pc.is_valid(time))
    return {
        CASE: case,
        ACTIVITY: pc.if_else(is_event, activity, pa.scalar(None, pa.string())),
        TIME: time,
        ORDER: _order(rule.rank, cursors, columns["Id"]),
    }


def closed_at(columns: Columns) -> pa.Array:
    """When an opportunity was closed: when it last changed its stage, or the end of its close date; null while open."""
    end_of_day = pc.binary_join_element_wise(columns["CloseDate"], "T23:59:59.000Z", "")
    moved = columns.get("LastStageChangeDate")
    closed = end_of_day if moved is None else pc.coalesce(moved, end_of_day)
    return pc.if_else(pc.equal(columns["IsClosed"], "true"), closed, pa.scalar(None, pa.string()))


def _resource(rule: Rule, config: Config) -> str:
    return f"{rule.who}.Name" if config.user_names else f"{rule.who}Id"


def _case(ids: list[pa.Array]) -> pa.Array:
    """The first id, but that of an account or the like only if there is no other."""
    first = pc.coalesce(*ids)
    if len(ids) == 1:
        return first
    prefix = pc.utf8_slice_codeunits(ids[0], 0, 3)
    is_object = pc.is_in(prefix, pa.array((OPPORTUNITY, CASE_PREFIX, "00Q")))
    return pc.if_else(pc.fill_null(is_object, False), ids[0], pc.coalesce(*ids[1:], ids[0]))


def _order(rank: int, cursors: pa.Array, ids: pa.Array) -> pa.Array:
    """Text whose natural order is that of rank, version, and id, which Salesforce gives in ascending order."""
    numbers = pa.array(
        (None if one is None else str(int.from_bytes(one[3:15].encode())) for one in ids.to_pylist()),
        pa.string(),
    )
    return pc.binary_join_element_wise(str(rank), pc.cast(cursors, pa.string()), numbers, " ")
