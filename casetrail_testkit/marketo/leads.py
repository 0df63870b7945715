"""Leads by filter, and what their fields are; programs and campaigns beside them."""

from collections.abc import Mapping, Sequence
from typing import Any

from casetrail_testkit.marketo.catalog import LeadField
from casetrail_testkit.marketo.errors import fail, invalid, missing, success
from casetrail_testkit.marketo.store import MarketoStore
from casetrail_testkit.messages import Response
from casetrail_testkit.tables import quoted

MOST_VALUES = 300
MOST_ROWS = 300
MOST_ASSETS = 200
DEFAULT_FIELDS = ("id", "email", "updatedAt", "createdAt", "lastName", "firstName")
Parameters = Mapping[str, str]


def describe(store: MarketoStore) -> Response:
    """Answer ``leads/describe.json``."""
    return success(
        result=[_described(number, field) for number, field in enumerate(store.fields.values(), 1)]
    )


def _described(number: int, field: LeadField) -> dict[str, Any]:
    name = {"name": field.name, "readOnly": field.read_only}
    shown = {"id": number, "displayName": field.display_name or field.name, "dataType": field.type}
    length = {"length": field.length} if field.length is not None else {}
    return {**shown, **length, "rest": name, "soap": name}


def describe2(store: MarketoStore) -> Response:
    """Answer ``leads/describe2.json``."""
    fields = [
        {
            "name": field.name,
            "displayName": field.display_name or field.name,
            "dataType": field.type,
            "updateable": not field.read_only,
            "crmManaged": field.name.startswith("sfdc"),
        }
        for field in store.fields.values()
    ]
    searchable = [[field.name] for field in store.fields.values() if field.searchable]
    return success(result=[{"name": "API Lead", "searchableFields": searchable, "fields": fields}])


def by_filter(store: MarketoStore, parameters: Parameters) -> Response:
    """Answer ``leads.json``.

    Raises:
        Refusal: 1002, 1003 or 1006.
    """
    filter_type = parameters.get("filterType", "")
    if not filter_type:
        raise missing("filterType")
    if filter_type not in store.fields or not store.fields[filter_type].searchable:
        raise invalid(f"Invalid filterType '{filter_type}'")
    values = [value for value in parameters.get("filterValues", "").split(",") if value]
    if not values:
        raise missing("filterValues")
    if len(values) > MOST_VALUES:
        raise invalid(f"Too many values ({len(values)}) specified in filterValues; the most is {MOST_VALUES}")
    rows = _number(parameters, "batchSize", MOST_ROWS, MOST_ROWS)
    after = _number(parameters, "nextPageToken", 0)
    places = ", ".join("?" * len(values))
    condition = f"cast({quoted(filter_type)} as text) in ({places}) and id > ? order by id limit ?"
    found = _leads(store, parameters, condition, [*values, after, rows + 1])
    more = {"nextPageToken": str(found[rows - 1][0])} if len(found) > rows else {}
    return success(result=[lead for _, lead in found[:rows]], **more)


def by_id(store: MarketoStore, parameters: Parameters, lead: str) -> Response:
    """Answer ``lead/ID.json``.

    Raises:
        Refusal: 1004.
    """
    found = _leads(store, parameters, "id = ?", [int(lead) if lead.isdigit() else -1])
    if not found:
        raise fail("1004", "Lead not found")
    return success(result=[found[0][1]])


def require_fields(store: MarketoStore, names: Sequence[str]) -> None:
    """Refuse names that no field of leads has.

    Raises:
        Refusal: 1006.
    """
    for name in names:
        if name not in store.fields:
            raise fail("1006", f"Field '{name}' not found")


def _leads(
    store: MarketoStore, parameters: Parameters, condition: str, values: Sequence[Any]
) -> list[tuple[int, dict[str, Any]]]:
    asked = parameters.get("fields", "")
    names = [name.strip() for name in asked.split(",")] if asked else list(DEFAULT_FIELDS)
    require_fields(store, names)
    columns = ", ".join(map(quoted, ["id", *names]))
    kinds = [store.fields[name].type for name in names]
    return [
        (row[0], {name: _value(kind, value) for name, kind, value in zip(names, kinds, row[1:], strict=True)})
        for row in store.tables.read(f"select {columns} from leads where {condition}", values)
    ]


def _value(kind: str, value: Any) -> Any:
    """A value as REST shows it: a boolean that was never set is false there."""
    return bool(value) if kind == "boolean" else value


def _number(parameters: Parameters, name: str, default: int, most: int = 2**62) -> int:
    """A parameter that counts something.

    Raises:
        Refusal: 1001.
    """
    text = parameters.get(name, str(default))
    if not text.isdigit():
        raise fail("1001", f"Invalid value '{text}'. Required of type 'Integer'")
    return min(int(text), most)


def programs(store: MarketoStore, parameters: Parameters) -> Response:
    """Answer ``asset/v1/programs.json``: an empty page has a warning and no ``result``."""
    offset = _number(parameters, "offset", 0)
    rows = _number(parameters, "maxReturn", 20, MOST_ASSETS)
    page = store.programs[offset : offset + rows]
    if not page:
        return success(errors=[], warnings=["No assets found for the given search criteria."])
    return success(errors=[], warnings=[], result=page)


def campaigns(store: MarketoStore, parameters: Parameters) -> Response:
    """Answer ``campaigns.json``."""
    first = _number(parameters, "nextPageToken", 0)
    rows = _number(parameters, "batchSize", MOST_ROWS, MOST_ROWS)
    more = {"nextPageToken": str(first + rows)} if len(store.campaigns) > first + rows else {}
    return success(result=store.campaigns[first : first + rows], **more)
