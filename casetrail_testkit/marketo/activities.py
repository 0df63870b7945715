"""Activities in pages behind paging tokens: a page is 300 entries of the log, of which the wanted ones are shown."""

import base64
import binascii
import json
from collections.abc import Iterable, Mapping
from typing import Any

from casetrail_testkit.clock import WHOLE_SECONDS, instant_of
from casetrail_testkit.marketo.catalog import CHANGE_DATA_VALUE, DELETE_LEAD, NEW_LEAD
from casetrail_testkit.marketo.errors import fail, invalid, missing, success
from casetrail_testkit.marketo.store import ACTIVITY_COLUMNS, MarketoStore
from casetrail_testkit.messages import Response
from casetrail_testkit.tables import Row, quoted

PAGE_ENTRIES = 300
MOST_TYPES = 10
Parameters = Mapping[str, str]


def types(store: MarketoStore) -> Response:
    """Answer ``activities/types.json``."""
    result: list[dict[str, Any]] = []
    for kind in sorted(store.types.values(), key=lambda kind: kind.id):
        shown: dict[str, Any] = {"id": kind.id, "name": kind.name, "description": kind.name}
        if kind.primary:
            shown["primaryAttribute"] = {"name": kind.primary, "dataType": "string"}
        attributes = [{"name": name, "dataType": "string"} for name in kind.attributes]
        result.append({**shown, "attributes": attributes})
    return success(result=result)


def paging_token(parameters: Parameters) -> Response:
    """Answer ``activities/pagingtoken.json``.

    Raises:
        Refusal: 1002 or 1003.
    """
    if "sinceDatetime" not in parameters:
        raise missing("sinceDatetime")
    try:
        since = instant_of(parameters["sinceDatetime"])
    except ValueError as error:
        raise invalid(f"Invalid sinceDatetime: {error}") from error
    return success(nextPageToken=_token(since.strftime(WHOLE_SECONDS), 0))


def activities(store: MarketoStore, parameters: Parameters) -> Response:
    """Answer ``activities.json``.

    Raises:
        Refusal: 1002 or 1003, for missing or wrong parameters and for more than 10 types.
    """
    wanted = parameters.get("activityTypeIds", "").split(",")
    if wanted == [""]:
        raise missing("activityTypeIds")
    if len(wanted) > MOST_TYPES or not all(word.strip().isdigit() for word in wanted):
        raise invalid(f"activityTypeIds must be {MOST_TYPES} ids at most")
    ids = {int(word) for word in wanted}
    unknown = ids - {kind.id for kind in store.types.values()}
    if unknown:
        raise invalid(f"Invalid activity type id {min(unknown)}")
    return _page(store, parameters, ids, _shown)


def deleted_leads(store: MarketoStore, parameters: Parameters) -> Response:
    """Answer ``activities/deletedleads.json``.

    Raises:
        Refusal: As for ``activities.json``.
    """
    return _page(store, parameters, {store.types[DELETE_LEAD].id}, _shown)


def lead_changes(store: MarketoStore, parameters: Parameters) -> Response:
    """Answer ``activities/leadchanges.json``: new leads, and changes of the fields that are asked for.

    Raises:
        Refusal: As for ``activities.json``.
    """
    if not parameters.get("fields"):
        raise missing("fields")
    fields = {name.strip() for name in parameters["fields"].split(",")}
    new, changed = store.types[NEW_LEAD].id, store.types[CHANGE_DATA_VALUE].id

    def shown(row: Mapping[str, Any]) -> dict[str, Any] | None:
        activity = _shown(row)
        if row["activityTypeId"] == new:
            return activity
        if row["primaryAttributeValue"] not in fields:
            return None
        values = json.loads(row["attributes"])
        field = {
            "id": activity.pop("primaryAttributeValueId"),
            "name": activity.pop("primaryAttributeValue"),
            "newValue": values.pop("New Value", None),
            "oldValue": values.pop("Old Value", None),
        }
        return {**activity, "fields": [field], "attributes": _listed(values)}

    return _page(store, parameters, {new, changed}, shown)


def _page(store: MarketoStore, parameters: Parameters, types: set[int], shown: Any) -> Response:
    """The next page: it may be short or empty while there is more. An empty one has no ``result``."""
    if not parameters.get("nextPageToken"):
        raise missing("nextPageToken")
    place = _place(parameters["nextPageToken"])
    columns = ", ".join(quoted(column) for column in ("_row", *ACTIVITY_COLUMNS))
    entries = list(
        store.tables.read(
            f"select {columns} from activities where (activityDate, _row) > (?, ?)"
            " order by activityDate, _row limit ?",
            [*place, PAGE_ENTRIES + 1],
        )
    )
    more, entries = len(entries) > PAGE_ENTRIES, entries[:PAGE_ENTRIES]
    result = [activity for row in _matching(entries, types) if (activity := shown(row)) is not None]
    if entries:
        place = (entries[-1][1 + ACTIVITY_COLUMNS.index("activityDate")], entries[-1][0])
    members = {"result": result} if result else {}
    return success(**members, nextPageToken=_token(*place), moreResult=more)


def _matching(entries: Iterable[Row], types: set[int]) -> Iterable[dict[str, Any]]:
    rows = (dict(zip(ACTIVITY_COLUMNS, entry[1:], strict=True)) for entry in entries)
    return (row for row in rows if row["activityTypeId"] in types)


def _shown(row: Mapping[str, Any]) -> dict[str, Any]:
    always = ("leadId", "activityDate", "activityTypeId")
    sometimes = ("campaignId", "primaryAttributeValueId", "primaryAttributeValue")
    return {
        "id": row["id"],
        "marketoGUID": str(row["id"]),
        **{name: row[name] for name in always},
        **{name: row[name] for name in sometimes if row[name] is not None},
        "attributes": _listed(json.loads(row["attributes"])),
    }


def _listed(attributes: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [{"name": name, "value": value} for name, value in attributes.items()]


def _token(date: str, row: int) -> str:
    """A token that needs URL encoding, as theirs do."""
    return base64.b32encode(f"{date}/{row}".encode()).decode() + "=="


def _place(token: str) -> tuple[str, int]:
    try:
        bare = token.rstrip("=")
        date, row = base64.b32decode(bare + "=" * (-len(bare) % 8)).decode().split("/")
        if token != _token(date, int(row)):
            raise ValueError("not as it was given out")
        return date, int(row)
    except (ValueError, binascii.Error) as error:
        raise fail("1003", f"Invalid nextPageToken: {error}") from error
