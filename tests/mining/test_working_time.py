"""Working time is what the clock on the wall says, also where it is put forward or back."""

import itertools
from datetime import UTC, date, datetime, timedelta
from typing import Any

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from orchestration.mining.working_calendar import WorkingCalendar
from orchestration.mining.working_time import create_elapsed_time, create_working_time
from tests.mining.process_log import microseconds
from tests.mining.working_reference import worked_us

WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
OFFICE = {day: ["09:00-12:00", "13:00-17:30"] for day in WEEKDAYS[:5]}
ALWAYS = dict.fromkeys(WEEKDAYS, "00:00-24:00")

# A day near which the zone's clock changes: by an hour, by half an hour, at midnight, by a whole day, never.
CHANGES = {
    "Europe/Berlin": [date(2024, 3, 31), date(2024, 10, 27)],
    "America/New_York": [date(2024, 3, 10), date(2024, 11, 3)],
    "Australia/Lord_Howe": [date(2024, 4, 7), date(2024, 10, 6)],
    "America/Santiago": [date(2024, 4, 7), date(2024, 9, 8)],
    "Africa/Casablanca": [date(2024, 3, 10), date(2024, 4, 14)],
    "Pacific/Apia": [date(2011, 12, 30)],
    "Asia/Kathmandu": [date(2024, 1, 1)],
    "Pacific/Kiritimati": [date(2024, 1, 1)],
    "UTC": [date(1969, 12, 31)],
}


def times(minutes: int) -> str:
    return f"{minutes // 60:02}:{minutes % 60:02}"


@st.composite
def hours(draw: st.DrawFn) -> list[str]:
    bounds = sorted(draw(st.sets(st.integers(0, 1440), max_size=6)))
    return [f"{times(start)}-{times(end)}" for start, end in zip(bounds[::2], bounds[1::2], strict=False)]


@st.composite
def questions(draw: st.DrawFn) -> tuple[WorkingCalendar, date, list[int]]:
    """A calendar, a day, and moments on this day and the three before and after it."""
    zone = draw(st.sampled_from(list(CHANGES)))
    day = draw(st.sampled_from(CHANGES[zone]))
    week = draw(st.just(OFFICE) | st.just(ALWAYS) | st.fixed_dictionaries(dict.fromkeys(WEEKDAYS, hours())))
    if not any(week.values()):
        week = OFFICE
    near = [day + timedelta(days=days) for days in range(-3, 4)]
    holidays = draw(st.lists(st.sampled_from(near), max_size=2))
    calendar = WorkingCalendar.model_validate({"time_zone": zone, "hours": week, "holidays": holidays})
    noon = microseconds(f"{day}T12:00:00")
    away = 84 * 3_600_000_000
    minutes = st.integers(-84 * 60, 84 * 60).map(lambda minute: minute * 60_000_000)
    moments = draw(st.lists(minutes | st.integers(-away, away), min_size=2, max_size=4))
    return calendar, day, sorted(noon + moment for moment in moments)


@given(questions())
@settings(max_examples=80, deadline=None)
def test_a_duration_is_the_minutes_that_the_clock_on_the_wall_shows_hours_of_work(
    question: tuple[WorkingCalendar, date, list[int]],
) -> None:
    calendar, day, moments = question
    with duckdb.connect() as connection:
        create_working_time(connection, calendar, day - timedelta(days=3), day + timedelta(days=3))
        readings = [read(connection, moment) for moment in moments]
    found = [end - start for start, end in itertools.pairwise(readings)]
    assert found == [worked_us(calendar, start, end) for start, end in itertools.pairwise(moments)]


def read(connection: duckdb.DuckDBPyConnection, moment_us: int) -> int:
    return int(connection.execute("select working_us(?::bigint)", [moment_us]).fetchall()[0][0])


def hours_worked(calendar: dict[str, Any], start: str, end: str) -> float:
    first, last = (datetime.fromisoformat(text).astimezone(UTC) for text in (start, end))
    with duckdb.connect() as connection:
        create_working_time(connection, WorkingCalendar.model_validate(calendar), first.date(), last.date())
        spent = read(connection, microseconds_of(last)) - read(connection, microseconds_of(first))
    return spent / 3_600_000_000


def microseconds_of(moment: datetime) -> int:
    return (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)


@pytest.mark.parametrize(
    ("hours", "start", "end", "expected"),
    [
        # 02:00 to 03:00 was not on 31 March, and twice on 27 October.
        ({"sunday": "01:00-04:00"}, "2024-03-31T00:00+01:00", "2024-04-01T00:00+02:00", 2),
        ({"sunday": "01:00-04:00"}, "2024-10-27T00:00+02:00", "2024-10-28T00:00+01:00", 4),
        ({"sunday": "02:00-03:00"}, "2024-03-31T00:00+01:00", "2024-04-01T00:00+02:00", 0),
        (ALWAYS, "2024-03-31T00:00+01:00", "2024-04-01T00:00+02:00", 23),
        (ALWAYS, "2024-10-27T00:00+02:00", "2024-10-28T00:00+01:00", 25),
        # A week from Friday 17:00 to Friday 10:00 with Wednesday off, and one night in two parts.
        (OFFICE, "2024-06-07T17:00+02:00", "2024-06-14T10:00+02:00", 0.5 + 3 * 7.5 + 1),
        (
            {"monday": "22:00-24:00", "tuesday": "00:00-06:00"},
            "2024-06-10T12:00+02:00",
            "2024-06-11T12:00+02:00",
            8,
        ),
        (OFFICE, "2024-06-08T00:00+02:00", "2024-06-09T23:59+02:00", 0),
    ],
)
def test_hours_by_hand(hours: dict[str, Any], start: str, end: str, expected: float) -> None:
    calendar = {"time_zone": "Europe/Berlin", "hours": hours, "holidays": ["2024-06-12"]}
    assert hours_worked(calendar, start, end) == expected


def test_years_of_work_lose_nothing() -> None:
    """2020 to 2024 with 1,827 days, on each of them a case of 8 hours and the night between two."""
    calendar = {"time_zone": "America/New_York", "hours": dict.fromkeys(WEEKDAYS, "09:00-17:00")}
    assert hours_worked(calendar, "2020-01-01T05:00+00:00", "2025-01-01T05:00+00:00") == 1_827 * 8


def test_a_moment_outside_is_an_error_and_not_a_wrong_duration() -> None:
    calendar = WorkingCalendar.model_validate({"time_zone": "Europe/Berlin", "hours": OFFICE})
    with duckdb.connect() as connection:
        create_working_time(connection, calendar, date(2024, 1, 1), date(2024, 1, 31))
        assert connection.execute("select working_us(null::bigint)").fetchall() == [(None,)]
        for moment in ("2023-12-20", "2024-02-20"):
            with pytest.raises(duckdb.Error, match="outside the calendar"):
                connection.execute(f"select working_us(epoch_us(timestamp '{moment}'))").fetchall()


def test_without_a_calendar_every_moment_is_worked() -> None:
    with duckdb.connect() as connection:
        create_elapsed_time(connection)
        assert connection.execute("select working_us(-7), clock_name()").fetchall() == [(-7, "elapsed")]


@pytest.mark.parametrize(
    ("calendar", "told"),
    [
        ({"time_zone": "Europe/Berlinn", "hours": OFFICE}, "give an IANA name such as Europe/Berlin"),
        ({"time_zone": "UTC", "hours": {"monday": "22:00-06:00"}}, "Write a night as two: '22:00-24:00'"),
        ({"time_zone": "UTC", "hours": {"monday": ["09:00-12:00", "11:59-17:00"]}}, "overlap"),
        ({"time_zone": "UTC", "hours": {"monday": "9-17"}}, "no hours such as '09:00-17:30'"),
        ({"time_zone": "UTC", "hours": {"monday": []}}, "no hours of work"),
        ({"time_zone": "UTC", "hours": {"mon": "09:00-17:00"}}, "Extra inputs"),
        ({"time_zone": "UTC", "hours": OFFICE, "holidays": ["2024-02-30"]}, "valid date"),
    ],
)
def test_what_is_no_calendar_is_told(calendar: dict[str, Any], told: str) -> None:
    with pytest.raises(ValidationError, match=told):
        WorkingCalendar.model_validate(calendar)


def test_the_same_calendar_is_written_the_same() -> None:
    one = {"time_zone": "UTC", "hours": {"monday": ["13:00-17:00", "09:00-12:00"]}}
    other = {"time_zone": "UTC", "hours": {"monday": ["09:00-12:00", "13:00-17:00"], "sunday": []}}
    holidays = {"holidays": ["2024-05-01", "2024-01-01", "2024-05-01"]}
    assert WorkingCalendar.model_validate(one | holidays).model_dump(mode="json") == (
        WorkingCalendar.model_validate(other | {"holidays": ["2024-01-01", "2024-05-01"]}).model_dump(
            mode="json"
        )
    )
