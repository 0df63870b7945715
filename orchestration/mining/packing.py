"""How the events of a build are packed into integers, chosen from the data's ranges.

The models sort a case by sorting integers `time | tie_order | code` (dbt_project/macros/traces.sql). Here
is the choice of the bit widths and the dictionary of activity codes. No SQL of the models is here.
"""

from dataclasses import dataclass, replace

import duckdb

SECOND_US = 1_000_000
NARROW_BITS = 63
MAX_ACTIVITIES = 65_536


class UnusableEvents(ValueError):
    """`input.events` breaks its contract, so that no process model can be built from it."""


@dataclass(frozen=True)
class Packing:
    """Layout of one packed event.

    Attributes:
        wide: Whether an event takes 128 bits (HUGEINT); else 64 (BIGINT). Wide events have origin 0 and unit 1.
        origin_us: Time that is packed as 0, in microseconds since 1970, UTC.
        unit_us: Microseconds per step of the packed time.
        tie_bits: Bits for tie_order.
        code_bits: Bits for the activity's code.
    """

    wide: bool
    origin_us: int
    unit_us: int
    tie_bits: int
    code_bits: int

    def fits(self, last_us: int) -> bool:
        """Whether events up to this time take no more than `NARROW_BITS`."""
        time_bits = ((last_us - self.origin_us) // self.unit_us).bit_length()
        return time_bits + self.tie_bits + self.code_bits <= NARROW_BITS

    def apply(self, connection: duckdb.DuckDBPyConnection) -> None:
        """Set the variables that the models read; they live as long as this connection (cursor)."""
        shift = self.tie_bits + self.code_bits
        variables: dict[str, bool | int] = {
            "pack_wide": self.wide,
            "pack_origin_us": self.origin_us,
            "pack_unit_us": self.unit_us,
            "pack_time_shift": shift,
            "pack_time_step": 1 << shift,
            "pack_code_bits": self.code_bits,
            "pack_code_mask": (1 << self.code_bits) - 1,
        }
        for name, value in variables.items():
            connection.execute(f"set variable {name} = {value}")


GENERAL = Packing(wide=True, origin_us=0, unit_us=1, tie_bits=31, code_bits=16)
"""Fits every TIMESTAMP, INTEGER tie_order and code: 64 + 31 + 16 bits of 127."""


def describe_events(connection: duckdb.DuckDBPyConnection) -> Packing:
    """Make the dictionary `input.activities` and choose the narrowest packing for `input.events`.

    Reads the column activity of `input.events` once, and takes the ranges of timestamp and tie_order, which DuckDB
    knows from the statistics of Parquet files; only where microseconds do not fit are the times read as well.

    Raises:
        UnusableEvents: An activity, timestamp or tie_order is null, a tie_order is negative, or there are
            more than `MAX_ACTIVITIES` activities.
    """
    connection.execute(_COUNT_ACTIVITIES)
    activities, events, labelled = _row(connection, _TOTALS)
    dated, ordered, first_us, last_us, lowest_tie, highest_tie = _row(connection, _RANGES)
    incomplete = max(events - labelled, events - dated, events - ordered)
    if incomplete:
        raise UnusableEvents(
            f"at least {incomplete} events lack an activity, timestamp or tie_order: "
            "quarantine them before the build"
        )
    if activities > MAX_ACTIVITIES:
        raise UnusableEvents(
            f"the log has {activities} activities, more than {MAX_ACTIVITIES}: "
            "map the activity to a column with fewer values"
        )
    connection.execute(_NUMBER_ACTIVITIES)
    if activities == 0:
        return GENERAL
    if lowest_tie < 0:
        raise UnusableEvents(f"tie_order must be 0 or more, but {lowest_tie} occurs")
    narrow = Packing(
        wide=False,
        origin_us=first_us,
        unit_us=1,
        tie_bits=int(highest_tie).bit_length(),
        code_bits=int(activities - 1).bit_length(),
    )
    if narrow.fits(last_us):
        return narrow
    in_seconds = replace(narrow, unit_us=SECOND_US)
    if in_seconds.fits(last_us) and _row(connection, _WHOLE_SECONDS)[0]:
        return in_seconds
    return GENERAL


def _row(connection: duckdb.DuckDBPyConnection, query: str) -> tuple[int, ...]:
    return tuple(connection.execute(query).fetchall()[0])


_COUNT_ACTIVITIES = """
create table input.activity_counts as
select activity, count(*) as events from input.events group by activity
"""

_TOTALS = """
select count(activity), coalesce(sum(events), 0)::bigint, coalesce(sum(events) filter (activity is not null), 0)::bigint
from input.activity_counts
"""

_RANGES = """
select
    count("timestamp"), count(tie_order), epoch_us(min("timestamp")), epoch_us(max("timestamp")),
    min(tie_order), max(tie_order)
from input.events
"""

_WHOLE_SECONDS = f"""
select bool_and(epoch_us("timestamp") % {SECOND_US} = 0) from input.events
"""

_NUMBER_ACTIVITIES = """
create table input.activities as
select activity, (row_number() over (order by activity) - 1)::usmallint as code
from input.activity_counts
"""
