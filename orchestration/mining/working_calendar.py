"""When people work: hours of each weekday in a time zone, and holidays.

A moment is worked if the clock on the wall shows an hour of work, on a day that is no holiday. So an hour that daylight
saving time skips is not worked, and one that it doubles is worked twice. Not here: durations (``working_time``).
"""

import itertools
import re
from collections.abc import Iterator
from datetime import date, datetime, timedelta
from typing import Annotated, Literal, Self
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from orchestration.utc_offsets import offset_at, offset_changes

_HOURS = re.compile(r"((?:[01]\d|2[0-3]):[0-5]\d)-((?:[01]\d|2[0-3]):[0-5]\d|24:00)")
_DAY = timedelta(days=1)

Interval = tuple[datetime, datetime]
"""From the first (included) to the second (excluded), both naive UTC."""


def _is_a_range(hours: str) -> str:
    found = _HOURS.fullmatch(hours)
    if not found:
        raise ValueError(f"{hours!r} are no hours such as '09:00-17:30' (from 00:00 to 24:00)")
    if found[1] >= found[2]:
        raise ValueError(
            f"{hours!r} end before they begin. Write a night as two: "
            f"'{found[1]}-24:00', and '00:00-{found[2]}' on the next day"
        )
    return hours


def _one_or_many(value: object) -> object:
    return [value] if isinstance(value, str) else value


def _in_order(hours: tuple[str, ...]) -> tuple[str, ...]:
    ordered = tuple(sorted(hours))
    for before, after in itertools.pairwise(ordered):
        if before[6:] > after[:5]:
            raise ValueError(f"{before!r} and {after!r} overlap: give each hour once")
    return ordered


Hours = Annotated[
    tuple[Annotated[str, AfterValidator(_is_a_range)], ...],
    BeforeValidator(_one_or_many),
    AfterValidator(_in_order),
    Field(max_length=24, description="Ranges of local time such as 09:00-12:30, which do not overlap."),
]
"""Kept in order."""

Weekday = Literal["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"]


class WeekHours(BaseModel):
    """The hours of work of each weekday; a day without any is free."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    monday: Hours = ()
    tuesday: Hours = ()
    wednesday: Hours = ()
    thursday: Hours = ()
    friday: Hours = ()
    saturday: Hours = ()
    sunday: Hours = ()


def _is_a_zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError):  # a missing zone is a KeyError, an odd name one of the others
        raise ValueError(f"there is no time zone {name!r}: give an IANA name such as Europe/Berlin") from None
    return name


class WorkingCalendar(BaseModel):
    """Durations are working time: the hours of work between two moments, on this calendar."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    time_zone: Annotated[str, AfterValidator(_is_a_zone)]
    """Its IANA name, such as Europe/Berlin."""

    hours: WeekHours
    """The hours of work of each weekday."""

    holidays: Annotated[
        tuple[date, ...],
        AfterValidator(lambda days: tuple(sorted(set(days)))),
        Field(max_length=10_000),
    ] = ()
    """Days without any hours of work, such as 2025-12-25."""

    @model_validator(mode="after")
    def _has_hours(self) -> Self:
        if not any(hours for _weekday, hours in self.hours):
            raise ValueError("the week has no hours of work: give some, such as {'monday': '09:00-17:00'}")
        return self

    def working_intervals(self, first: date, last: date) -> list[Interval]:
        """The working time from the beginning of ``first`` to the end of ``last`` (UTC), in order, none touching."""
        joined: list[Interval] = []
        for start, end in self._pieces(_midnight(first), _midnight(last) + _DAY):
            if joined and joined[-1][1] == start:
                start = joined.pop()[0]
            joined.append((start, end))
        return joined

    def local_midnight(self, day: date) -> datetime:
        """The moment (naive UTC) with the offset of the day's UTC midnight at which the day begins there."""
        midnight = _midnight(day)
        return midnight - offset_at(ZoneInfo(self.time_zone), midnight)

    def _pieces(self, start: datetime, end: datetime) -> Iterator[Interval]:
        """Working time between two moments, cut where the offset from UTC changes and at local midnights."""
        zone, week = ZoneInfo(self.time_zone), [_times(hours) for _weekday, hours in self.hours]
        holidays = frozenset(self.holidays)
        for since, until, offset in _spans(zone, start, end):
            midnight = _midnight((since + offset).date())
            while midnight < until + offset:
                for opens, closes in () if midnight.date() in holidays else week[midnight.weekday()]:
                    piece = max(midnight + opens - offset, since), min(midnight + closes - offset, until)
                    if piece[0] < piece[1]:
                        yield piece
                midnight += _DAY


def _times(hours: Hours) -> list[tuple[timedelta, timedelta]]:
    return [(_time(text[:5]), _time(text[6:])) for text in hours]


def _time(text: str) -> timedelta:
    return timedelta(hours=int(text[:2]), minutes=int(text[3:]))


def _midnight(day: date) -> datetime:
    return datetime(day.year, day.month, day.day)


def _spans(zone: ZoneInfo, start: datetime, end: datetime) -> Iterator[tuple[datetime, datetime, timedelta]]:
    """The time between two moments, in spans of one offset from UTC."""
    since, offset = start, offset_at(zone, start)
    for change, after in offset_changes(zone, start, end):
        if change >= end:
            break
        yield since, change, offset
        since, offset = change, after
    if since < end:
        yield since, end, offset
