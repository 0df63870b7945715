"""Queries by REST: pages of some 2,000 records, with deleted and archived ones."""

from collections.abc import Iterator, Mapping
from typing import Any

import pyarrow as pa

from orchestration.sources.errors import TransientError
from orchestration.sources.types.salesforce.org import Org
from orchestration.sources.types.salesforce.values import batch_of

IDS_AT_ONCE = 200
"""So many fit into an address."""


def count(org: Org, query: str) -> int:
    """What a query with ``count()`` finds."""
    return _total(org.get("queryAll", q=query))


def pages(org: Org, query: str) -> Iterator[tuple[int, list[Mapping[str, Any]]]]:
    """The records of a query, each page with how many there are in all.

    Raises:
        TransientError: the pages do not hold as many records as the first of them promised.
    """
    page = org.get("queryAll", q=query)
    total, given = _total(page), 0
    while True:
        rows = _records(page)
        given += len(rows)
        if page.get("done") is True and given != total:
            raise TransientError(f"Salesforce promised {total:,} records and gave {given:,}.")
        yield total, rows
        if page.get("done") is True:
            return
        page = org.json("GET", _next(page))


def batches(org: Org, query: str, fields: Mapping[str, str]) -> Iterator[tuple[int, pa.RecordBatch]]:
    """The same as text."""
    for total, rows in pages(org, query):
        yield total, batch_of(rows, fields)


def _total(page: Any) -> int:
    try:
        return int(page["totalSize"])
    except (KeyError, TypeError, ValueError):
        raise TransientError("Salesforce answered a query without saying how much there is.") from None


def _records(page: Any) -> list[Mapping[str, Any]]:
    rows = page.get("records") if isinstance(page, dict) else None
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise TransientError("Salesforce answered a query with what is no list of records.")
    return rows


def _next(page: Mapping[str, Any]) -> str:
    path = page.get("nextRecordsUrl")
    if not isinstance(path, str) or not path.startswith("/services/data/"):
        raise TransientError("Salesforce did not say where the next records are.")
    return path
