"""REST: describe, query and queryAll with their pages."""

import json
import re
from collections.abc import Iterator
from itertools import count
from typing import Any

from casetrail_testkit.messages import Request, Response, json_response
from casetrail_testkit.result_file import ResultFile
from casetrail_testkit.salesforce import soql
from casetrail_testkit.salesforce.catalog import Field, SObject
from casetrail_testkit.salesforce.errors import refuse
from casetrail_testkit.salesforce.ids import record_id
from casetrail_testkit.salesforce.store import SalesforceStore
from casetrail_testkit.tables import Row, quoted

PAGE_ROWS = 2_000
_BATCH_SIZE = re.compile(r"batchSize=(\d+)")


class Cursors:
    """Queries whose pages are not all read yet. Rows are those of the query's moment."""

    def __init__(self, store: SalesforceStore) -> None:
        """No query yet."""
        self.store = store
        self._numbers = count(1)
        self._results: dict[str, ResultFile] = {}

    def forget(self) -> None:
        """All locators become invalid."""
        for result in self._results.values():
            result.remove()
        self._results.clear()

    def query(self, request: Request, version: str, *, with_deleted: bool) -> Response:
        """Answer ``query?q=`` or ``queryAll?q=``."""
        query = soql.parse(request.query.get("q", ""))
        selection = soql.select(query, queryable(self.store, query.object), self.store.objects)
        if not query.columns:
            counted = self.store.tables.first(
                f"select count(*) from (select 1 from {source(self.store, selection, with_deleted)})",
                selection.parameters,
            )
            assert counted is not None, "count always gives a row"
            return json_response({"totalSize": counted[0], "done": True, "records": []})
        result = ResultFile(self.store.tables.folder)
        result.write_lines(_json_rows(self.store, selection, version, with_deleted))
        locator = record_id("01g", next(self._numbers))
        self._results[locator] = result
        return self._page(request, version, "queryAll" if with_deleted else "query", locator, 0)

    def more(self, request: Request, version: str, resource: str, locator: str) -> Response:
        """Answer a ``nextRecordsUrl``.

        Raises:
            Refusal: INVALID_QUERY_LOCATOR.
        """
        name, _, first = locator.rpartition("-")
        if name not in self._results or not first.isdigit():
            raise refuse(400, "INVALID_QUERY_LOCATOR", "invalid query locator")
        return self._page(request, version, resource, name, int(first))

    def _page(self, request: Request, version: str, resource: str, locator: str, first: int) -> Response:
        result = self._results[locator]
        batch = _BATCH_SIZE.search(request.headers.get("Sforce-Query-Options", ""))
        size = min(max(int(batch[1]), 200), PAGE_ROWS) if batch else PAGE_ROWS
        after = first + size
        page: dict[str, Any] = {"totalSize": len(result), "done": after >= len(result)}
        if not page["done"]:
            page["nextRecordsUrl"] = f"/services/data/{version}/{resource}/{locator}-{after}"
        rows = b"".join(result.rows(first, size).chunks()).rstrip(b",\n")
        if page["done"] and not first:
            self._results.pop(locator).remove()  # of others the last page may be asked for again
        head = json.dumps(page, separators=(",", ":"))[:-1]
        body = f'{head},"records":['.encode() + rows + b"]}"
        return Response(200, {"Content-Type": "application/json;charset=UTF-8"}, body)


def queryable(store: SalesforceStore, name: str) -> SObject:
    """The object that a query names.

    Raises:
        Refusal: INVALID_TYPE.
    """
    definition = store.objects.get(name.lower())
    if definition is None:
        raise refuse(400, "INVALID_TYPE", f"sObject type '{name}' is not supported.")
    return definition


def source(store: SalesforceStore, selection: soql.Selection, with_deleted: bool) -> str:
    """What stands behind FROM in the SQL of a query."""
    definition = selection.definition
    table, visible = quoted(definition.name), store.visible(definition, with_deleted)
    return f"{table} where {visible}{selection.condition} order by {selection.ordering}"


def _json_rows(
    store: SalesforceStore, selection: soql.Selection, version: str, with_deleted: bool
) -> Iterator[bytes]:
    """One JSON object a line, with a comma behind it."""
    definition = selection.definition
    columns = ["Id"]
    shown = []
    for one in selection.fields:
        shown.append((one, len(columns)))
        if one.type == "address":
            columns += map(quoted, _parts(definition, one))
        else:
            columns.append(soql.column(definition, one))
        if isinstance(one, soql.ParentField):
            columns.append(quoted(one.through))
    sql = f"select {', '.join(columns)} from {source(store, selection, with_deleted)}"
    for row in store.tables.read(sql, selection.parameters):
        record: dict[str, Any] = {"attributes": _attributes(version, definition.name, row[0])}
        for one, place in shown:
            value = _json_value(definition, one.name, one.type, row, place)
            if not isinstance(one, soql.ParentField):
                record[one.name] = value
            elif row[place + 1] is None:
                record[one.name.partition(".")[0]] = None
            else:
                attributes = {"attributes": _attributes(version, one.parent, row[place + 1])}
                record.setdefault(one.name.partition(".")[0], attributes)[one.of_parent] = value
        yield json.dumps(record, ensure_ascii=False, separators=(",", ":")).encode() + b",\n"


def _attributes(version: str, name: str, record: str) -> dict[str, str]:
    return {"type": name, "url": f"/services/data/{version}/sobjects/{name}/{record}"}


def _parts(definition: SObject, compound: Field) -> list[str]:
    return [one.name for one in definition.fields.values() if one.compound == compound.name]


def _json_value(definition: SObject, name: str, kind: str, row: Row, place: int) -> Any:
    value = row[place]
    if kind == "address":
        parts = _parts(definition, definition.fields[name.lower()])
        prefix = name.removesuffix("Address")
        address = {_lowered(part.removeprefix(prefix)): row[place + i] for i, part in enumerate(parts)}
        return address if any(item is not None for item in address.values()) else None
    if value is None:
        return None
    if kind == "boolean":
        return bool(value)
    if kind == "datetime" and isinstance(value, str):
        return value.removesuffix("Z") + "+0000"
    return value


def _lowered(name: str) -> str:
    return name[:1].lower() + name[1:]


def describe_global(store: SalesforceStore, version: str) -> Response:
    """Answer ``/sobjects``."""
    objects = [_summary(definition, version) for definition in store.objects.values()]
    return json_response({"encoding": "UTF-8", "maxBatchSize": 200, "sobjects": objects})


def describe(store: SalesforceStore, version: str, name: str) -> Response:
    """Answer ``/sobjects/NAME/describe``.

    Raises:
        Refusal: NOT_FOUND.
    """
    definition = store.objects.get(name.lower())
    if definition is None:
        raise refuse(404, "NOT_FOUND", "The requested resource does not exist")
    fields = [_described(one) for one in definition.fields.values()]
    return json_response({**_summary(definition, version), "fields": fields, "childRelationships": []})


def _summary(definition: SObject, version: str) -> dict[str, Any]:
    base = f"/services/data/{version}/sobjects/{definition.name}"
    return {
        "name": definition.name,
        "label": definition.name,
        "keyPrefix": definition.key_prefix,
        "custom": definition.name.endswith("__c"),
        "queryable": True,
        "retrieveable": True,
        "replicateable": definition.has("SystemModstamp"),
        "urls": {"sobject": base, "describe": f"{base}/describe", "rowTemplate": base + "/{ID}"},
    }


def _described(one: Field) -> dict[str, Any]:
    return {
        "name": one.name,
        "label": one.name,
        "type": one.type,
        "length": {"id": 18, "reference": 18, "string": 255, "textarea": 32_000}.get(one.type, 0),
        "nillable": one.type not in ("id", "boolean"),
        "filterable": one.filterable,
        "sortable": one.type not in ("textarea", "address", "base64"),
        "calculated": one.calculated,
        "custom": one.name.endswith("__c"),
        "compoundFieldName": one.compound,
        "referenceTo": [one.references] if one.references else [],
    }
