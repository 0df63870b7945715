"""Loads tables in Fivetran's shape (CSV files) into the servers, which then serve them as the vendor would.

What a table has and the vendor has not stays out: Fivetran's own ``_fivetran_`` columns, and its history tables, which
are versions of an object's rows and no object.
"""

import csv
import json
import re
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from casetrail_testkit.clock import WHOLE_SECONDS
from casetrail_testkit.marketo.catalog import ActivityType, LeadField
from casetrail_testkit.marketo.store import MarketoStore
from casetrail_testkit.salesforce.catalog import Field, SObject
from casetrail_testkit.salesforce.store import STAMPS, SalesforceStore

Table = list[dict[str, str]]
_TIME = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(?:\.\d+)?(?: UTC)?")
_NUMERIC: dict[str, Callable[[str], Any]] = {"int": int, "double": float, "currency": float, "percent": float}
_NO_ATTRIBUTES = {
    *("id", "activity_date", "activity_type_id", "campaign_id", "lead_id", "action_result"),
    *("primary_attribute_value", "primary_attribute_value_id", "_fivetran_synced"),
}


def load_salesforce(store: SalesforceStore, folder: Path) -> dict[str, int]:
    """Load ``sf_*_data.csv`` of a folder; how many records each object got.

    Columns that an object lacks become its fields. Deleted records are in the recycle bin from now on.

    Raises:
        ValueError: If there is no such file, or a table has no object of its name.
    """
    loaded = {}
    for table, rows in _tables(folder, "sf_").items():
        if not table.endswith("_history"):
            name = field_name(table)
            loaded[name] = _load_object(store, store.object(name), rows)
    return loaded


def field_name(column: str) -> str:
    """The API name behind a Fivetran column: ``created_date`` is CreatedDate, ``gclid_c`` is Gclid__c."""
    words = [word.capitalize() for word in column.removesuffix("_c").split("_")]
    return "_".join(words) + "__c" if column.endswith("_c") else "".join(words)


def _load_object(store: SalesforceStore, definition: SObject, rows: Table) -> int:
    columns = {field_name(column): column for column in rows[0] if not column.startswith("_fivetran")}
    kinds = {}
    for name, column in columns.items():
        kinds[name] = _kind(definition.field(name), [row[column] for row in rows if row[column]])
        known = definition.field(name)
        if known is None:
            store.add_field(definition.name, Field(name, kinds[name]))
        elif known.type != kinds[name]:
            store.retype_field(definition.name, name, kinds[name])
    stamps = [name for name in STAMPS if definition.has(name)]
    names = list(dict.fromkeys([*columns, *stamps]))

    def records() -> Iterator[list[Any]]:
        for row in rows:
            record = dict.fromkeys(names) | {
                name: _value(kinds[name], row[columns[name]]) for name in columns
            }
            latest = max(filter(None, map(record.get, stamps)), default=_instant(row["_fivetran_synced"]))
            yield [*(record | {name: record[name] or latest for name in stamps}).values()]

    return store.load(definition.name, names, records())


def _kind(known: Field | None, values: Sequence[str]) -> str:
    """The type of a column: the catalog's if the values allow it, else what they look like."""
    kind = known.type if known else "string"
    if not values:
        return kind
    if all(value.lower() in ("true", "false") for value in values):
        return "boolean"
    if all(_TIME.fullmatch(value) for value in values):
        return (
            "date" if kind == "date" and all(value[11:19] == "00:00:00" for value in values) else "datetime"
        )
    if kind in _NUMERIC:
        return kind if all(re.fullmatch(r"-?\d+(\.\d+)?", value) for value in values) else "string"
    return "string" if kind in ("boolean", "date", "datetime") else kind


def _value(kind: str, text: str) -> Any:
    if not text:
        return None
    if kind == "boolean":
        return text.lower() == "true"
    if kind == "date":
        return text[:10]
    return _instant(text) if kind == "datetime" else _NUMERIC.get(kind, str)(text)


def load_marketo(store: MarketoStore, folder: Path) -> dict[str, int]:
    """Load ``marketo_*_data.csv`` of a folder; how many records of each kind.

    Types of activities get the ids that the tables have. Versions of e-mail templates are no record of the API that is
    served here, and stay out.

    Raises:
        ValueError: If there is no such file.
    """
    tables = _tables(folder, "marketo_")
    for row in tables.get("lead_describe", []):
        length = int(row["length"]) if row["length"] else None
        read_only = row["restread_only"].lower() == "true"
        new = LeadField(row["restname"], row["data_type"], row["display_name"], length, read_only)
        if row["restname"] and row["restname"] not in store.fields:
            store.add_field(new)
    loaded = {"lead": _load_leads(store, tables.get("lead", []))}
    for table, rows in tables.items():
        if table.startswith("activity_"):
            loaded[table] = _load_activities(store, table.removeprefix("activity_"), rows)
    store.programs = [_asset(row, "+0000") for row in tables.get("program", [])]
    store.campaigns = [_asset(row, "") for row in tables.get("campaign", [])]
    return {**loaded, "program": len(store.programs), "campaign": len(store.campaigns)}


def attribute_name(column: str) -> str:
    """The name of an activity's attribute behind a Fivetran column: ``campaign_run_id`` is Campaign Run ID."""
    return " ".join("ID" if word == "id" else word.capitalize() for word in column.split("_"))


def _load_leads(store: MarketoStore, rows: Table) -> int:
    if not rows:
        return 0
    names = [_camel(column) for column in rows[0]]

    def value(name: str, text: str) -> Any:
        kind = store.fields[name].type
        if kind == "datetime":
            return _whole_second(text) if text else None
        return int(text) if kind == "integer" and text else text or None

    return store.load_leads(
        names, ([value(*cell) for cell in zip(names, row.values(), strict=True)] for row in rows)
    )


def _load_activities(store: MarketoStore, name: str, rows: Table) -> int:
    attributes = [column for column in rows[0] if column not in _NO_ATTRIBUTES]
    known = store.types.get(attribute_name(name))
    store.define_type(
        ActivityType(
            int(rows[0]["activity_type_id"]),
            attribute_name(name),
            known.primary if known else None,
            tuple(map(attribute_name, attributes)),
        )
    )

    def number(text: str) -> int | None:
        return int(text) if text else None

    return store.load_activities(
        (
            int(row["id"]),
            int(row["lead_id"]),
            _whole_second(row["activity_date"]),
            int(row["activity_type_id"]),
            number(row["campaign_id"]),
            number(row["primary_attribute_value_id"]),
            row["primary_attribute_value"] or None,
            json.dumps({attribute_name(column): row[column] for column in attributes if row[column]}),
            row.get("action_result"),
        )
        for row in rows
    )


def _asset(row: dict[str, str], offset: str) -> dict[str, Any]:
    """A program or campaign; the asset API puts an offset behind the Z."""
    asset: dict[str, Any] = {}
    for column, text in row.items():
        if column.startswith("_fivetran"):
            continue
        if _TIME.fullmatch(text):
            asset[_camel(column)] = _whole_second(text) + offset
        elif text.lower() in ("true", "false"):
            asset[_camel(column)] = text.lower() == "true"
        else:
            asset[_camel(column)] = int(text) if column == "id" else text or None
    return asset


def _camel(column: str) -> str:
    first, *rest = column.split("_")
    return first + "".join(word.capitalize() for word in rest)


def _tables(folder: Path, prefix: str) -> dict[str, Table]:
    """The tables of a folder by name; those without a row are left out.

    Raises:
        ValueError: If there is none.
    """
    tables = {}
    for path in sorted(folder.glob(f"{prefix}*_data.csv")):
        with path.open(encoding="utf-8-sig", newline="") as file:
            if rows := list(csv.DictReader(file)):
                tables[path.stem.removeprefix(prefix).removesuffix("_data")] = rows
    if not tables:
        raise ValueError(
            f"{folder} has no table: name files {prefix}TABLE_data.csv, as Fivetran's packages do"
        )
    return tables


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text.removesuffix(" UTC")).replace(tzinfo=UTC)


def _instant(text: str) -> str:
    return _time(text).isoformat(timespec="milliseconds").removesuffix("+00:00") + "Z"


def _whole_second(text: str) -> str:
    return _time(text).strftime(WHOLE_SECONDS)
