"""The activities of a subscription: which types there are, and the columns that they become.

Ids of types differ between subscriptions, so that types go by their names. A type's attributes become columns of their
own, so that what is personal of them can be left out; those of one name in several types share one.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from orchestration.sources.errors import TransientError
from orchestration.sources.types.marketo.subscription import Subscription

MERGE_LEADS, DELETE_LEAD = "Merge Leads", "Delete Lead"

EXPORT_FIELDS = (
    *("marketoGUID", "leadId", "activityDate", "activityTypeId", "campaignId"),
    *("primaryAttributeValueId", "primaryAttributeValue", "attributes", "actionResult"),
)

TYPE_NAME, LEAD_NAME, OTHERS = "activityType", "leadName", "otherAttributes"
BASE_COLUMNS = {
    "marketoGUID": "string",
    "leadId": "integer",
    "activityDate": "datetime",
    "activityTypeId": "integer",
    TYPE_NAME: "string",
    "campaignId": "integer",
    "primaryAttributeValueId": "integer",
    "primaryAttributeValue": "string",
    LEAD_NAME: "string",
    "actionResult": "string",
    OTHERS: "json",
}
"""``leadName`` is the primary value where that is a lead, ``otherAttributes`` has what no type lists."""


@dataclass(frozen=True)
class ActivityType:
    """A type, as ``activities/types.json`` tells it."""

    id: int
    name: str
    document: Mapping[str, Any]

    @property
    def names_a_lead(self) -> bool:
        """Whether its primary attribute is a lead, whose name is the value."""
        return (self.document.get("primaryAttribute") or {}).get("name") == "Lead ID"


@dataclass(frozen=True)
class ActivityTypes:
    """The types of a subscription, and which of them are wanted."""

    all: Sequence[ActivityType]
    wanted: frozenset[str]

    @cached_property
    def by_id(self) -> Mapping[int, ActivityType]:
        """Each type under its id."""
        return {kind.id: kind for kind in self.all}

    def missing(self, names: Sequence[str]) -> list[str]:
        """Those of the names that no type has."""
        known = {kind.name for kind in self.all}
        return [name for name in names if name not in known]

    def exported(self, with_wanted: bool, with_merges: bool) -> list[int]:
        """Ids for one export of those that are wanted, and of merges. Marketo exports no Delete Lead."""
        names = {*(self.wanted if with_wanted else ()), *([MERGE_LEADS] if with_merges else ())}
        return sorted(kind.id for kind in self.all if kind.name in names - {DELETE_LEAD})

    def of(self, type_id: str | None) -> ActivityType:
        """The type with an id, also one that the subscription did not tell."""
        number = int(type_id or 0)
        return self.by_id.get(number) or ActivityType(number, f"Activity type {number}", {})

    @cached_property
    def columns(self) -> Mapping[str, str]:
        """The columns of the stream with Marketo's types."""
        return {**BASE_COLUMNS, **{column: kind for column, kind in self._attributes.values()}}

    @cached_property
    def column_of(self) -> Mapping[str, str]:
        """From an attribute's name, or its name in the API, to its column."""
        return {name: column for name, (column, _) in self._attributes.items()}

    @cached_property
    def _attributes(self) -> Mapping[str, tuple[str, str]]:
        # Columns that differ in case alone would be one.
        taken = {name.lower(): (f"attribute {name}", "string") for name in BASE_COLUMNS}
        found = dict[str, tuple[str, str]]()
        for kind in self.all:
            for attribute in kind.document.get("attributes") or () if kind.name in self.wanted else ():
                name, data_type = str(attribute["name"]), str(attribute.get("dataType", "string"))
                column = taken.setdefault(name.lower(), (name, data_type))
                found[name] = column
                found.setdefault(str(attribute.get("apiName") or name), column)
        return found


def activity_types(subscription: Subscription, names: Sequence[str]) -> ActivityTypes:
    """The subscription's types; no ``names`` means that all are wanted.

    Raises:
        Refused, QuotaExhausted, TransientError: it cannot be told now.
    """
    result = subscription.get("/rest/v1/activities/types.json").get("result")
    if not result:
        raise TransientError("Marketo told no types of activities.")
    found = sorted(
        (ActivityType(int(kind["id"]), str(kind["name"]), kind) for kind in result), key=lambda kind: kind.id
    )
    return ActivityTypes(found, frozenset(names or (kind.name for kind in found)))
