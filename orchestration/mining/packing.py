"""How the events of a build are packed into integers, chosen from the data's ranges.

The models sort a case by sorting integers `time | tie_order | code` (dbt_project/macros/traces.sql). Here
is the choice of the bit widths and the dictionary of activity codes. No SQL of the models is here.
"""

from dataclasses import dataclass

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
        wide: Whether an event takes 128 bits (HUGEINT); else 64 (BIGINT).
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

    def apply(self, connection: duckdb.DuckDBPyConnection) -> None:
        """Set the variables that the models read; they live as long as this connection (cursor)."""
        variables: dict[str, bool | int] = {
            "pack_wide": self.wide,
            "pack_origin_us": self.origin_us,
            "pack_unit_us": self.unit_us,
            "pack_time_shift": self.tie_bits + self.code_bits,
            "pack_code_bits": self.code_bits,
            "pack_code_mask": (1 << self.code_bits) - 1,
        }
        for name, value in variables.items():
            connection.execute(f"set variable {name} = {value}")


GENERAL = Packing(wide=True, origin_us=-(2**63) + 1, unit_us=1, tie_bits=31, code_bits=16)
"""Fits every TIMESTAMP, INTEGER tie_order and code: 64 + 31 + 16 bits of 127."""


def describe_events(connection: duckdb.DuckDBPyConnection) -> Packing:
    """Make the dictionary `input.activities` and choose the narrowest packing for `input.events`.

    Reads the columns activity, timestamp and tie_order of `input.events` once.

    Raises:
        UnusableEvents: An activity, timestamp or tie_order is null, a tie_order is negative, or there are
            more than `MAX_ACTIVITIES` activities.
    """
    connection.execute(_SUMMARISE)
    row = connection.execute(_RANGES).fetchone()
    if row is None:  # an aggregate without groups always gives a row
        raise AssertionError("the summary of input.events gave no row")
    activities, incomplete, first_us, last_us, lowest_tie, highest_tie, whole_seconds = row
    if incomplete:
        raise UnusableEvents(
            f"{incomplete} events lack an activity, timestamp or tie_order: quarantine them before the build"
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
    unit_us = SECOND_US if whole_seconds else 1
    packing = Packing(
        wide=False,
        origin_us=first_us,
        unit_us=unit_us,
        tie_bits=int(highest_tie).bit_length(),
        code_bits=int(activities - 1).bit_length(),
    )
    time_bits = ((last_us - first_us) // unit_us).bit_length()
    fits = time_bits + packing.tie_bits + packing.code_bits <= NARROW_BITS
    return packing if fits else GENERAL


_SUMMARISE = f"""
create table input.activity_summary as
select
    activity,
    count(*) as events,
    count("timestamp") as dated,
    count(tie_order) as ordered,
    min(epoch_us("timestamp")) as first_us,
    max(epoch_us("timestamp")) as last_us,
    min(tie_order) as lowest_tie,
    max(tie_order) as highest_tie,
    bool_and(epoch_us("timestamp") % {SECOND_US} = 0) as whole_seconds
from input.events
group by activity
"""

_RANGES = """
select
    count(*),
    coalesce(sum(case when activity is null then events else 2 * events - dated - ordered end), 0)::bigint,
    min(first_us),
    max(last_us),
    min(lowest_tie),
    max(highest_tie),
    bool_and(whole_seconds)
from input.activity_summary
"""

_NUMBER_ACTIVITIES = """
create table input.activities as
select activity, (row_number() over (order by activity) - 1)::usmallint as code
from input.activity_summary
"""
