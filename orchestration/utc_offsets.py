"""When the offset of a time zone from UTC changes. Times are naive UTC."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

_DAY = timedelta(days=1)


def offset_at(zone: ZoneInfo, utc: datetime) -> timedelta:
    """The zone's offset from UTC at a moment."""
    return utc.replace(tzinfo=UTC).astimezone(zone).utcoffset() or timedelta(0)


def offset_changes(zone: ZoneInfo, start: datetime, end: datetime) -> list[tuple[datetime, timedelta]]:
    """(Moment, offset after it) of each change from ``start`` to the end of the day-long step that reaches ``end``.

    The first whole second with the new offset counts; of several changes in 24 hours one may be missed.
    """
    found = []
    low, before = start, offset_at(zone, start)
    while low < end:
        high = low + _DAY
        after = offset_at(zone, high)
        if after != before:
            found.append((_bisect(zone, low, high), after))
        low, before = high, after
    return found


def _bisect(zone: ZoneInfo, low: datetime, high: datetime) -> datetime:
    """The first whole second after ``low`` with the offset that holds at ``high``."""
    target = offset_at(zone, high)
    while high - low > timedelta(seconds=1):
        middle = low + timedelta(seconds=(high - low) // timedelta(seconds=2))
        low, high = (low, middle) if offset_at(zone, middle) == target else (middle, high)
    return high
