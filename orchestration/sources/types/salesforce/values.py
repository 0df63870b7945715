"""Values as text, in one form whether REST or Bulk gave them."""

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

_CHECK_CHARACTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ012345"
_NUMBERS = ("double", "currency", "percent")


def batch_of(rows: Sequence[Mapping[str, Any]], fields: Mapping[str, str]) -> pa.RecordBatch:
    """Records of a REST answer, whose numbers are text already. A field that a record lacks is null."""
    arrays = [pa.array([_text(_value(row, path.split("."))) for row in rows], pa.string()) for path in fields]
    return in_one_form(pa.record_batch(arrays, list(fields)), fields)


def in_one_form(batch: pa.RecordBatch, fields: Mapping[str, str]) -> pa.RecordBatch:
    """Columns of text with empty ones as null, times with Z, ids of 18 characters, numbers without idle zeros."""
    arrays = [_in_one_form(batch.column(name), kind) for name, kind in fields.items()]
    return pa.record_batch(arrays, list(fields))


def microseconds(times: pa.Array) -> pa.Array:
    """Times as microseconds since 1970 (int64).

    Raises:
        pa.ArrowInvalid: one is none.
    """
    return pc.cast(pc.cast(times, pa.timestamp("us", "UTC")), pa.int64())


def with_suffix(record_id: str) -> str:
    """An id of 15 characters, where case matters, as that of 18: each group of five gives a character.

    That character's bits, the lowest first, tell which letters of the group are capitals.
    """
    if len(record_id) != 15:
        return record_id
    groups = (record_id[start : start + 5] for start in (0, 5, 10))
    return record_id + "".join(
        _CHECK_CHARACTERS[sum(1 << place for place, letter in enumerate(group) if "A" <= letter <= "Z")]
        for group in groups
    )


def _value(row: Mapping[str, Any], path: Sequence[str]) -> Any:
    found: Any = row
    for name in path:
        found = found.get(name) if isinstance(found, Mapping) else None
    return found


def _text(value: Any) -> str | None:
    if isinstance(value, bool):
        return "true" if value else "false"
    return None if value is None else str(value)


def _in_one_form(values: pa.Array, kind: str) -> pa.Array:
    values = pc.if_else(pc.equal(values, ""), pa.scalar(None, pa.string()), values)
    if kind == "datetime":
        return pc.replace_substring_regex(values, r"\+00:?00$", "Z")
    if kind == "anyType":
        return pc.replace_substring_regex(
            values, r"^(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?)\+00:?00$", r"\1Z"
        )
    if kind in _NUMBERS:
        return pc.replace_substring_regex(values, r"(\.\d*?[1-9])0+$|\.0+$", r"\1")
    if kind in ("id", "reference") and 15 in pc.unique(pc.utf8_length(values)).to_pylist():
        return pa.array([one and with_suffix(one) for one in values.to_pylist()], pa.string())
    return values
