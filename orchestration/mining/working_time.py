"""How an analysis measures durations: the SQL macros ``working_us`` and ``clock_name`` of a DuckDB database.

``working_us(us)`` is the time worked from some origin to a moment, given in microseconds since 1970 (UTC). A duration
is the difference of two, so that those of a case's steps add up to that of the case. Without a calendar every moment
is worked: ``working_us(us)`` is ``us``. Not here: which moments are worked (``working_calendar``).
"""

from collections.abc import Sequence
from datetime import date, datetime, timedelta

import duckdb

from orchestration.mining.working_calendar import Interval, WorkingCalendar

_EPOCH = datetime(1970, 1, 1)
_MICROSECOND = timedelta(microseconds=1)
_SLOT = timedelta(days=1)


def create_elapsed_time(connection: duckdb.DuckDBPyConnection) -> None:
    """Make durations elapsed time, unless the database measures working time already."""
    connection.execute("create macro if not exists working_us(us) as us")
    connection.execute("create macro if not exists clock_name() as 'elapsed'")


def create_working_time(
    connection: duckdb.DuckDBPyConnection, calendar: WorkingCalendar, first: date, last: date
) -> None:
    """Make durations working time, for moments on the UTC days ``first`` to ``last``; at others a query fails.

    The time is cut into slots of a day. In each, the n-th working interval makes time go by in the n-th layer: from
    ``floors[slot]`` worked at the slot's beginning to ``floors[slot + 1]`` at its end, and in between it is the moment
    plus ``shifts[slot]``. The layers' sum is the time worked.
    """
    # Slots begin at local midnight: hours of work that are not cut need fewer layers.
    origin = calendar.local_midnight(first - _SLOT)
    intervals = calendar.working_intervals(first - _SLOT, last + _SLOT)
    slots = (datetime(last.year, last.month, last.day) + 2 * _SLOT - origin) // _SLOT
    layers = _layers(intervals, origin, slots)
    columns = [f"{name}_{number}" for number in range(len(layers)) for name in ("floors", "shifts")]
    connection.execute(
        f"create or replace table working_time as select {', '.join(f'?::bigint[] as {c}' for c in columns)}",
        [values for layer in layers for values in layer],
    )
    first_us, past_us = _microseconds(origin), _microseconds(origin + slots * _SLOT)
    worked = " + ".join(_LAYER.format(number=number) for number in range(len(layers)))
    connection.execute(
        f"""
        create or replace macro working_us(us) as case
            when us < {first_us} or us >= {past_us} then error('an event outside the calendar of the build')::bigint
            else {worked.replace("$slot", f"(us - {first_us}) // {_SLOT // _MICROSECOND}")}
        end
        """
    )
    connection.execute("create or replace macro clock_name() as 'working'")


_LAYER = """
least(
    greatest(
        us + (select shifts_{number} from main.working_time)[$slot + 1],
        (select floors_{number} from main.working_time)[$slot + 1]
    ),
    (select floors_{number} from main.working_time)[$slot + 2]
)
"""


def _layers(intervals: Sequence[Interval], origin: datetime, slots: int) -> list[tuple[list[int], list[int]]]:
    """The ``floors`` (one more than slots) and ``shifts`` of each layer, in microseconds."""
    by_slot: list[list[tuple[int, int]]] = [[] for _ in range(slots)]
    for start, end in intervals:
        for slot in range(max((start - origin) // _SLOT, 0), min(-((origin - end) // _SLOT), slots)):
            begins = max(start, origin + slot * _SLOT)
            ends = min(end, origin + (slot + 1) * _SLOT)
            by_slot[slot].append((_microseconds(begins), _microseconds(ends)))
    layers = []
    for number in range(max(map(len, by_slot)) or 1):
        floors, shifts = [0], []
        for pieces in by_slot:
            begins_us, ends_us = pieces[number] if number < len(pieces) else (0, 0)
            shifts.append(floors[-1] - begins_us)
            floors.append(floors[-1] + ends_us - begins_us)
        layers.append((floors, shifts))
    return layers


def _microseconds(moment: datetime) -> int:
    return (moment - _EPOCH) // _MICROSECOND
