"""Local times of a time zone as a table of intervals with their offset from UTC: regular, gap or overlap.

A local time in a gap never was; one in an overlap was twice, and the first of the two is meant. The table is
made from the IANA data of ``zoneinfo`` so that whole columns are converted by a join.
"""

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Literal
from zoneinfo import ZoneInfo

import pyarrow as pa

from orchestration.connectors.errors import InvalidMapping
from orchestration.utc_offsets import offset_at, offset_changes

Kind = Literal["regular", "gap", "overlap"]

RULES_SCHEMA = pa.schema(
    [
        ("day", pa.date32()),
        ("from_local", pa.timestamp("us")),
        ("to_local", pa.timestamp("us")),
        ("offset_us", pa.int64()),
        ("kind", pa.string()),
    ]
)
_DAY = timedelta(days=1)


@dataclass(frozen=True)
class Interval:
    """Local times from ``start`` (included) to ``end`` (excluded), both naive, with their offset from UTC.

    In a gap the offset is the one that held before, so that its first moment maps to the transition.
    """

    start: datetime
    end: datetime
    offset: timedelta
    kind: Kind


def zone(name: str) -> ZoneInfo:
    """The zone of an IANA name.

    Raises:
        InvalidMapping: There is no such zone.
    """
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):  # a missing zone is a KeyError, an odd name one of the others
        raise InvalidMapping(
            f"There is no time zone {name!r}. Give an IANA name such as Europe/Berlin."
        ) from None


def intervals(tz: ZoneInfo, first: date, last: date) -> list[Interval]:
    """The intervals that cover the local days ``first`` to ``last``, without holes."""
    start = datetime(first.year, first.month, first.day)
    end = datetime(last.year, last.month, last.day) + _DAY
    result: list[Interval] = []
    offset = offset_at(tz, start - 2 * _DAY)
    for moment, after in offset_changes(tz, start - 2 * _DAY, end + 2 * _DAY):
        until, again = moment + offset, moment + after
        if after > offset:
            result.append(Interval(start, until, offset, "regular"))
            result.append(Interval(until, again, offset, "gap"))
            start = again
        else:
            result.append(Interval(start, again, offset, "regular"))
            result.append(Interval(again, until, offset, "overlap"))
            start = until
        offset = after
    result.append(Interval(start, end, offset, "regular"))
    return [interval for interval in result if interval.start < interval.end]


def rules(covering: list[Interval]) -> pa.Table:
    """The intervals cut at midnights, keyed by local day (``RULES_SCHEMA``), to be joined with."""
    rows = []
    for interval in covering:
        start = interval.start
        while start < interval.end:
            midnight = datetime(start.year, start.month, start.day) + _DAY
            end = min(midnight, interval.end)
            rows.append(
                (start.date(), start, end, interval.offset // timedelta(microseconds=1), interval.kind)
            )
            start = end
    columns = zip(*rows, strict=True) if rows else [()] * len(RULES_SCHEMA)
    return pa.table(
        [pa.array(column, field.type) for column, field in zip(columns, RULES_SCHEMA, strict=True)],
        schema=RULES_SCHEMA,
    )
