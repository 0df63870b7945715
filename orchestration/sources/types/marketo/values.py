"""Values as text, times in UTC, and pages of records."""

import json
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa

from orchestration.sources.protocol import Page

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|Z?[+-]\d\d:?\d\d)")
"""As Marketo writes times; its asset API puts an offset behind the Z."""


def moment(text: str) -> datetime:
    """A time of Marketo's, in UTC.

    Raises:
        ValueError: it is none.
    """
    if len(text) == 20 and text.endswith("Z"):
        # As nearly all are.
        return datetime.fromisoformat(text)
    if not _TIME.fullmatch(text):
        raise ValueError(f"{text} is no time")
    return datetime.fromisoformat(re.sub(r"Z(?=[+-])", "", text)).astimezone(UTC)


def written(time: datetime) -> str:
    """A time as Marketo takes and mostly writes it: ISO 8601 in UTC, without a fraction if it has none."""
    return time.astimezone(UTC).replace(tzinfo=None).isoformat() + "Z"


def utc(text: str) -> str:
    """A time as ``written``; anything else as it is."""
    if text.endswith("Z"):
        return text
    try:
        return written(moment(text))
    except ValueError:
        return text


def microseconds(time: datetime) -> int:
    """Since 1970."""
    return (time - _EPOCH) // _MICROSECOND


def place(text: str | None, low: int, high: int) -> int:
    """Where a record stands that was found between two cursors: at its time, or at the end if that is elsewhere.

    What a filter goes by is not always what a record shows, and what is given again must be known again.
    """
    try:
        time = moment(text or "")
    except ValueError:
        return high
    at = int(time.timestamp()) * 1_000_000 + time.microsecond
    return at if low <= at <= high else high


def text_of(value: Any) -> str | None:
    """A value of a JSON document as text."""
    if value is None or isinstance(value, str):
        return utc(value) if value and value[4:5] == "-" else value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def page(
    stream: str,
    columns: Mapping[str, str],
    values: Mapping[str, Sequence[str | None]],
    cursors: Sequence[int],
    *,
    deleted: bool = False,
) -> Page:
    """A page of records, given by column; a column without values is null throughout."""
    rows = len(cursors)
    arrays = [
        pa.array(values[name], pa.string()) if name in values else pa.nulls(rows, pa.string())
        for name in columns
    ]
    return Page(
        stream,
        dict(columns),
        pa.record_batch(arrays, list(columns)),
        pa.array(cursors, pa.int64()),
        pa.repeat(True, rows) if deleted else None,
    )
