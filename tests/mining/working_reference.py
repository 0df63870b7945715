"""Working time by its definition: minute by minute, asking the clock on the wall. Slow, and without SQL."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from orchestration.mining.working_calendar import WorkingCalendar

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


def worked_us(calendar: WorkingCalendar, start_us: int, end_us: int) -> int:
    """Microseconds of work between two moments, for zones whose offsets are whole minutes."""
    start, end = (EPOCH + timedelta(microseconds=us) for us in (start_us, end_us))
    minute, worked = start.replace(second=0, microsecond=0), timedelta(0)
    while minute < end:
        if is_worked(calendar, minute):
            worked += min(end, minute + MINUTE) - max(start, minute)
        minute += MINUTE
    return worked // timedelta(microseconds=1)


def is_worked(calendar: WorkingCalendar, moment: datetime) -> bool:
    local = moment.astimezone(ZoneInfo(calendar.time_zone))
    if local.date() in calendar.holidays:
        return False
    reading = f"{local:%H:%M}"
    hours = [ranges for _weekday, ranges in calendar.hours][local.weekday()]
    return any(text[:5] <= reading < text[6:] for text in hours)
