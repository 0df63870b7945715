"""Activities as pages: those that are wanted, and what Merge Leads and Delete Lead tell of leads."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from orchestration.sources.protocol import Page
from orchestration.sources.types.marketo.activity_types import (
    DELETE_LEAD,
    EXPORT_FIELDS,
    LEAD_NAME,
    MERGE_LEADS,
    OTHERS,
    TYPE_NAME,
    ActivityType,
    ActivityTypes,
)
from orchestration.sources.types.marketo.export_rows import Row
from orchestration.sources.types.marketo.values import page, place, text_of, utc

MERGE_COLUMNS = {
    "marketoGUID": "string",
    "winner": "integer",
    "loser": "integer",
    "mergedAt": "datetime",
    "Merge Source": "string",
    "Merged in Sales": "boolean",
    "Master Updated": "boolean",
}
_LOSERS = "Merge IDs"
_DECODED = json.JSONDecoder(parse_float=str).decode
"""Numbers with a fraction stay as they are written."""
_GUID, _LEAD, _DATE, _TYPE = (
    EXPORT_FIELDS.index(name) for name in ("marketoGUID", "leadId", "activityDate", "activityTypeId")
)
_PRIMARY, _ATTRIBUTES = EXPORT_FIELDS.index("primaryAttributeValue"), EXPORT_FIELDS.index("attributes")


@dataclass(frozen=True)
class ActivityPages:
    """Makes pages of activities.

    Attributes:
        streams: The streams that are pulled.
        lead_columns: Those of the stream of leads, for tombstones.
    """

    types: ActivityTypes
    streams: Sequence[str]
    lead_columns: Mapping[str, str]

    def of(self, rows: Sequence[Row], low: int, high: int) -> Iterator[Page]:
        """Pages of rows with ``EXPORT_FIELDS``, which were found between two cursors."""
        typed = [(self.types.of(row[_TYPE]), row) for row in rows]
        gone = [(row[_LEAD], row) for kind, row in typed if kind.name == DELETE_LEAD]
        merges = [(loser, row) for kind, row in typed if kind.name == MERGE_LEADS for loser in _losers(row)]
        if "activities" in self.streams:
            wanted = [(kind, row) for kind, row in typed if kind.name in self.types.wanted]
            if wanted:
                yield self._activities(wanted, low, high)
        if "merges" in self.streams and merges:
            yield _merges(merges, low, high)
        if "leads" in self.streams and (gone or merges):
            yield self._tombstones([*gone, *merges], low, high)

    def _activities(self, typed: Sequence[tuple[ActivityType, Row]], low: int, high: int) -> Page:
        count, rows = len(typed), [row for _, row in typed]
        values: dict[str, list[str | None]] = {
            name: list(column)
            for name, column in zip(EXPORT_FIELDS, zip(*rows, strict=True), strict=True)
            if name != "attributes"
        }
        values[TYPE_NAME] = [kind.name for kind, _ in typed]
        values[LEAD_NAME] = [None] * count
        for number, (kind, row) in enumerate(typed):
            if kind.names_a_lead:
                values[LEAD_NAME][number] = row[_PRIMARY]
                values["primaryAttributeValue"][number] = None
            self._spread(row[_ATTRIBUTES], number, count, values)
        dates = values["activityDate"]
        cursors = [place(date, low, high) for date in dates]
        values["activityDate"] = [date and utc(date) for date in dates]
        return page("activities", self.types.columns, values, cursors)

    def _spread(self, text: str | None, number: int, count: int, values: dict[str, list[str | None]]) -> None:
        """Put a record's attributes into their columns."""
        if text is None or text == "{}":
            return
        try:
            attributes = _DECODED(text)
        except ValueError:
            attributes = None
        if not isinstance(attributes, dict):
            values.setdefault(OTHERS, [None] * count)[number] = text
            return
        others = {}
        for name, value in attributes.items():
            column = self.types.column_of.get(name)
            if column is None:
                others[name] = value
                continue
            if column not in values:
                values[column] = [None] * count
            values[column][number] = text_of(value)
        if others:
            values.setdefault(OTHERS, [None] * count)[number] = text_of(others)

    def _tombstones(self, leads: Sequence[tuple[str | None, Row]], low: int, high: int) -> Page:
        """Leads that are no more; when they went is their last change."""
        values: dict[str, list[str | None]] = {
            "id": [lead for lead, _ in leads],
            "updatedAt": [utc(row[_DATE] or "") for _, row in leads],
        }
        cursors = [place(row[_DATE], low, high) for _, row in leads]
        return page("leads", self.lead_columns, values, cursors, deleted=True)


def row_of(activity: Mapping[str, Any]) -> Row:
    """An activity of a JSON answer, as a row of an export."""
    attributes = {entry["name"]: entry.get("value") for entry in activity.get("attributes") or ()}
    told = {**activity, "attributes": json.dumps(attributes, ensure_ascii=False)}
    told.setdefault("marketoGUID", activity.get("id"))
    return [text_of(told.get(name)) for name in EXPORT_FIELDS]


def _merges(merges: Sequence[tuple[str, Row]], low: int, high: int) -> Page:
    columns = list(MERGE_COLUMNS)[4:]
    attributes = [_attributes(row) for _, row in merges]
    values: dict[str, list[str | None]] = {
        "marketoGUID": [row[_GUID] for _, row in merges],
        "winner": [row[_LEAD] for _, row in merges],
        "loser": [loser for loser, _ in merges],
        "mergedAt": [utc(row[_DATE] or "") for _, row in merges],
        **{name: [text_of(told.get(name)) for told in attributes] for name in columns},
    }
    return page("merges", MERGE_COLUMNS, values, [place(row[_DATE], low, high) for _, row in merges])


def _losers(row: Row) -> list[str]:
    """The ids of leads that a merge has ended, from text such as ``[1286861, 1286862]``."""
    return re.findall(r"\d+", str(_attributes(row).get(_LOSERS) or ""))


def _attributes(row: Row) -> dict[str, Any]:
    try:
        found = json.loads(row[_ATTRIBUTES] or "{}")
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
