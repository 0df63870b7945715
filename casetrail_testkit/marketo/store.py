"""A subscription's leads, activities, programs and campaigns: made and changed while the server runs."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import count
from typing import Any

from casetrail_testkit.clock import WHOLE_SECONDS, Clock
from casetrail_testkit.marketo.catalog import (
    DELETE_LEAD,
    MERGE_LEADS,
    ActivityType,
    LeadField,
    standard_fields,
    standard_types,
)
from casetrail_testkit.tables import Tables, quoted

LEADS, ACTIVITIES = "leads", "activities"
ACTIVITY_COLUMNS = (
    "id",
    "leadId",
    "activityDate",
    "activityTypeId",
    "campaignId",
    "primaryAttributeValueId",
    "primaryAttributeValue",
    "attributes",
    "actionResult",
)
_CASTS = {"integer": "integer", "float": "real", "currency": "real", "boolean": "integer"}


class MarketoStore:
    """The records of one subscription.

    Times are text such as ``2026-01-02T03:04:05Z``. ``commits_in`` makes a change that is dated now and seen so many
    seconds later. A deleted or merged lead is gone; its activity is all that tells of it. Methods raise ``ValueError``
    for what is not there.
    """

    def __init__(self, clock: Clock) -> None:
        """A subscription with the standard fields and types, and no record."""
        self.clock = clock
        self.tables = Tables(clock)
        self.fields: dict[str, LeadField] = {field.name: field for field in standard_fields()}
        self.types: dict[str, ActivityType] = {kind.name: kind for kind in standard_types()}
        self.programs: list[dict[str, Any]] = []
        self.campaigns: list[dict[str, Any]] = []
        self._lead_ids: Iterator[int] = count(1)
        self._activity_ids: Iterator[int] = count(1)
        self.tables.create(LEADS, list(self.fields), key="id", indexed=["createdAt", "updatedAt"])
        self.tables.create(ACTIVITIES, ACTIVITY_COLUMNS, key="id", indexed=["activityDate"])

    def define_type(self, kind: ActivityType) -> None:
        """Add a type of activities, or give one of the same name another id."""
        self.types[kind.name] = kind

    def create_lead(self, values: Mapping[str, Any], *, commits_in: float = 0) -> int:
        """Make a lead; its id."""
        self._require_fields(values)
        stamp = self._stamp()
        row = {"id": next(self._lead_ids), "createdAt": stamp, "updatedAt": stamp, **values}
        self.tables.commit(lambda: self.tables.insert(LEADS, list(row), [list(row.values())]), commits_in)
        return int(row["id"])

    def load_leads(self, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> int:
        """Make many leads in one go, with the ids and stamps that the rows bring; how many."""
        self._require_fields(columns)
        loaded = self.tables.insert(LEADS, columns, rows)
        self._lead_ids = self._ids_after(LEADS)
        return loaded

    def update_lead(self, lead: int, values: Mapping[str, Any], *, commits_in: float = 0) -> None:
        """Change a lead."""
        self._require_fields(values)
        row = {"updatedAt": self._stamp(), **values}
        sets = ", ".join(f"{quoted(column)} = ?" for column in row)
        sql = f"update leads set {sets} where id = ?"
        self.tables.commit(lambda: self._write_one(lead, sql, [*row.values(), lead]), commits_in)

    def delete_lead(self, lead: int, *, commits_in: float = 0) -> None:
        """Remove a lead and log its Delete Lead activity."""
        activity = self._activity(DELETE_LEAD, lead, primary_id=lead, primary=f"Lead {lead}")

        def change() -> None:
            self._remove(lead)
            self._insert(activity)

        self.tables.commit(change, commits_in)

    def merge_leads(self, winner: int, losers: Sequence[int], *, commits_in: float = 0) -> None:
        """Remove ``losers`` and log a Merge Leads activity of the winner that names them."""
        attributes = {
            "Master Updated": False,
            "Merge IDs": json.dumps(list(losers)),
            "Merge Source": "leaddb",
            "Merged in Sales": False,
        }
        activity = self._activity(
            MERGE_LEADS, winner, attributes, primary_id=winner, primary=f"Lead {winner}"
        )
        stamp = self._stamp()

        def change() -> None:
            for loser in losers:
                self._remove(loser)
            self._write_one(winner, "update leads set updatedAt = ? where id = ?", [stamp, winner])
            self._insert(activity)

        self.tables.commit(change, commits_in)

    def log_activity(
        self,
        kind: str,
        lead: int,
        attributes: Mapping[str, Any] | None = None,
        *,
        commits_in: float = 0,
        **details: Any,
    ) -> int:
        """Log an activity of a lead; its id, which ``marketoGUID`` has as text.

        ``details`` are ``primary_id`` and ``primary`` (the primary attribute's value), ``campaign`` (its id), ``at``
        (the date, else now) and ``result`` (the action's).
        """
        activity = self._activity(kind, lead, attributes, **details)
        self.tables.commit(lambda: self._insert(activity), commits_in)
        return int(activity[0])

    def load_activities(self, rows: Iterable[Sequence[Any]]) -> int:
        """Make many activities in one go; how many. Rows have ``ACTIVITY_COLUMNS``, ``attributes`` as JSON text."""
        loaded = self.tables.insert(ACTIVITIES, ACTIVITY_COLUMNS, rows)
        self._activity_ids = self._ids_after(ACTIVITIES)
        return loaded

    def add_field(self, new: LeadField) -> None:
        """A column of leads appears, empty in those that are there."""
        self.tables.add_column(LEADS, new.name)
        self.fields[new.name] = new

    def remove_field(self, name: str) -> None:
        """A column of leads disappears with its values."""
        self._require_fields([name])
        self.tables.drop_column(LEADS, name)
        del self.fields[name]

    def retype_field(self, name: str, new_type: str) -> None:
        """A column of leads changes its type, and its values with it."""
        self._require_fields([name])
        self.fields[name] = replace(self.fields[name], type=new_type)
        column = quoted(name)
        self.tables.write(f"update leads set {column} = cast({column} as {_CASTS.get(new_type, 'text')})")

    def leads(self) -> list[dict[str, Any]]:
        """All leads that are seen now, oldest first: a test's truth."""
        return self._all(LEADS, list(self.fields))

    def activities(self) -> list[dict[str, Any]]:
        """All activities that are seen now, in the order in which they were logged: a test's truth."""
        rows = self._all(ACTIVITIES, ACTIVITY_COLUMNS)
        return [{**row, "attributes": json.loads(row["attributes"])} for row in rows]

    def _all(self, table: str, columns: Sequence[str]) -> list[dict[str, Any]]:
        self.tables.settle()
        rows = self.tables.read(f"select {', '.join(map(quoted, columns))} from {table} order by _row")
        return [dict(zip(columns, row, strict=True)) for row in rows]

    def _activity(
        self,
        kind: str,
        lead: int,
        attributes: Mapping[str, Any] | None = None,
        *,
        primary_id: int | None = None,
        primary: str | None = None,
        campaign: int | None = None,
        at: str | None = None,
        result: str | None = None,
    ) -> tuple[Any, ...]:
        """A row of activities."""
        if kind not in self.types:
            raise ValueError(f"the subscription has no activity type {kind}: define it with define_type")
        text = json.dumps(attributes or {}, ensure_ascii=False)
        number, type_id = next(self._activity_ids), self.types[kind].id
        return number, lead, at or self._stamp(), type_id, campaign, primary_id, primary, text, result

    def _insert(self, activity: Sequence[Any]) -> None:
        self.tables.insert(ACTIVITIES, ACTIVITY_COLUMNS, [activity])

    def _remove(self, lead: int) -> None:
        self._write_one(lead, "delete from leads where id = ?", [lead])

    def _write_one(self, lead: int, sql: str, parameters: Sequence[Any]) -> None:
        if not self.tables.write(sql, parameters):
            raise ValueError(f"there is no lead {lead}")

    def _ids_after(self, table: str) -> Iterator[int]:
        """Ids that follow those that are there."""
        last = self.tables.first(f"select max(id) from {table}")
        return count(((last and last[0]) or 0) + 1)

    def _require_fields(self, names: Iterable[str]) -> None:
        unknown = [name for name in names if name not in self.fields]
        if unknown:
            raise ValueError(f"leads have no field {', '.join(unknown)}: add it with add_field")

    def _stamp(self) -> str:
        return self.clock.now().strftime(WHOLE_SECONDS)
