"""What changed between the two sides of a comparison as a table, whose cells the UI shows as they are."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import dagster as dg

_DAY_SECONDS = 86_400
_COLUMNS = {
    "what": ("string", "The mean of the target, a part of its difference, or another thing that changed."),
    "name": ("string", "Of what: an attribute, its value, a transition, an activity, a path."),
    "reference": ("float", "On the side that is compared with."),
    "compared": ("float", "On the side that is compared."),
    "change": ("float", "From the reference to the compared side; of a rate, more than elsewhere."),
    "standard_error": ("float", "Of the change, for cases that are independent of each other."),
    "unit": ("string", "Of all four."),
}
_SHARES = {"activities": "activity", "paths": "path"}

Row = dict[str, str | float | None]


def comparison_table(stats: Mapping[str, Any]) -> dict[str, dg.MetadataValue[Any]]:
    """``comparison``, the caption in words, and ``changes``, a row for each; nothing where nothing was compared.

    Sides that cannot be compared have the caption alone, which says why.
    """
    rows = stats.get("comparison", ())
    if not rows:
        return {}
    shown: dict[str, dg.MetadataValue[Any]] = {"comparison": dg.MetadataValue.text(rows[0]["summary"])}
    records = [dg.TableRecord(record) for row in rows for record in _records(row["features"])]
    if records:
        columns = [dg.TableColumn(name, kind, told) for name, (kind, told) in _COLUMNS.items()]
        shown["changes"] = dg.MetadataValue.table(records, schema=dg.TableSchema(columns))
    return shown


def _records(features: Mapping[str, Any]) -> Iterator[Row]:
    """The rows of the table that a part of the comparison gives."""
    part = features["part"]
    if part == "difference":
        yield from _difference(features) if features["status"] == "explained" else ()
    elif part == "transitions":
        for change in features["changes"]:
            name, sides = f"{change['source']} → {change['target']}", change["seconds_per_case"]
            error = change["standard_error_seconds"]
            row = _row("transition", name, change["change_seconds"], error, "seconds", sides)
            yield {**row, "unit": f"{row['unit']} per case"}
    else:
        for change in features["changes"]:
            what, error = _SHARES[part], change["standard_error"]
            yield _row(what, change["name"], change["change"], error, "probability", change["shares"])


def _difference(features: Mapping[str, Any]) -> Iterator[Row]:
    """The means, and what their difference is made of."""
    target, unit = features["target"]["kind"], features["target"]["unit"]
    error = f"standard_error_{unit}"
    means = features[f"means_{unit}"]
    yield _row("mean", target, features[f"difference_{unit}"], features[error], unit, means)
    for mix in features["mix"]:
        yield _row("mix", mix["name"], mix[f"effect_{unit}"], mix[error], unit)
    yield _row("within", "like cases", features[f"within_{unit}"], features[f"within_{error}"], unit)
    for rate in features["rates"]:
        yield _row("rate", f"{rate['name']} = {rate['value']}", rate[f"excess_{unit}"], rate[error], unit)


def _row(
    what: str, name: str, change: float, error: float, unit: str, sides: Sequence[float | None] = (None, None)
) -> Row:
    """Seconds are shown as days, shares as percent of the cases."""
    factor, told = (1 / _DAY_SECONDS, "days") if unit == "seconds" else (100.0, "% of cases")
    figures = {"reference": sides[0], "compared": sides[1], "change": change, "standard_error": error}
    shown = {key: None if value is None else round(factor * value, 3) for key, value in figures.items()}
    return {"what": what, "name": name, **shown, "unit": told}
