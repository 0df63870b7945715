"""Leads: the fields that a subscription has, and rows of exports as pages."""

from collections.abc import Mapping, Sequence

from orchestration.sources.errors import TransientError
from orchestration.sources.protocol import Page
from orchestration.sources.types.marketo.export_rows import Row
from orchestration.sources.types.marketo.subscription import Subscription
from orchestration.sources.types.marketo.values import page, place, utc

ABSENT = "absent"
"""The type of a field that is pulled and that the subscription has not (any more): its column is empty."""


def described_fields(subscription: Subscription) -> dict[str, str]:
    """Each field of leads that REST knows, with its type.

    Raises:
        Refused, QuotaExhausted, TransientError: it cannot be told now.
    """
    result = subscription.get("/rest/v1/leads/describe.json").get("result")
    if not result:
        raise TransientError("Marketo told no fields of leads.")
    return {str(field["rest"]["name"]): str(field["dataType"]) for field in result if field.get("rest")}


def lead_columns(wanted: Sequence[str], described: Mapping[str, str]) -> dict[str, str]:
    """The columns of the stream. All that is wanted has one, so that a link never names a column that is not there."""
    return {name: described.get(name, ABSENT) for name in wanted}


def exported_fields(columns: Mapping[str, str]) -> list[str]:
    """The fields that an export can have."""
    return [name for name, kind in columns.items() if kind != ABSENT]


def lead_page(columns: Mapping[str, str], rows: Sequence[Row], cursor: str, low: int, high: int) -> Page:
    """A page of rows with the exported fields, which were found between two cursors by the field ``cursor``."""
    names = exported_fields(columns)
    values: dict[str, list[str | None]] = {
        name: list(column) for name, column in zip(names, zip(*rows, strict=True), strict=True)
    }
    cursors = [place(at, low, high) for at in values[cursor]]
    for name in names:
        if columns[name] == "datetime":
            values[name] = [value and utc(value) for value in values[name]]
    return page("leads", columns, values, cursors)
