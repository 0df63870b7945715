"""The event log of an analysis: which columns make an activity, and which lifecycle transitions are events.

SQL over the relation ``base_events``, which has the columns of the events files. Not here: which cases an analysis is
about (``filters``).
"""

from collections.abc import Sequence
from typing import Literal

ClassifierColumn = Literal["activity", "resource_id", "role", "org_unit", "lifecycle", "system"]
Lifecycle = Literal["all", "complete", "paired"]

_MOVE = "lower(coalesce(lifecycle, 'complete'))"
"""An event without a lifecycle transition is a completed activity."""

_MISSING = "(missing)"


def log_sql(classifier: Sequence[ClassifierColumn], lifecycle: Lifecycle) -> str:
    """The events of the log, with the columns of ``base_events``.

    classifier: the activity is made of these columns' values, joined by " / ". A missing value is "(missing)". Unless
    it is the activity alone, slashes and backslashes within values are escaped, so that no two combinations share a
    label.

    lifecycle: ``all`` keeps every event; ``complete`` those that complete an activity; ``paired`` makes one event of
    each start and complete of an activity instance, at the time of its completion and with the start's time in
    ``start_timestamp``. Instances are told apart by the attribute ``concept:instance``; within one, a completion
    belongs to the oldest start that is still open (first in, first out). A completion without a start and a start
    without a completion stay events; other transitions are none.
    """
    labelled = f"(select * replace ({label_sql(classifier)} as activity) from base_events)"
    if lifecycle == "all":
        return f"select * from {labelled}"
    kept = (
        f"select * from {labelled} where {_MOVE} = 'complete'"
        if lifecycle == "complete"
        else _paired(labelled)
    )
    # Ranked anew: a gap would say that events were tied which are gone.
    return f"""
    select * replace ((row_number() over (
        partition by global_case_id, timestamp order by tie_order
    ) - 1)::integer as tie_order)
    from ({kept})
    """


def label_sql(classifier: Sequence[ClassifierColumn]) -> str:
    """The activity that a classifier makes of an event, as SQL over the columns of the events files."""
    if list(classifier) == ["activity"]:
        return "activity"
    return " || ' / ' || ".join(_cell(name) for name in classifier)


def _cell(column: ClassifierColumn) -> str:
    escaped = rf"replace(replace({column}, '\', '\\'), '/', '\/')"
    return rf"case when {column} = '{_MISSING}' then '\{_MISSING}' else coalesce({escaped}, '{_MISSING}') end"


def _paired(events: str) -> str:
    """Start and complete in one row.

    In a sequence of starts and completes, the completes that found no open start are as many as the running maximum
    of (completes - starts); the n-th of the others belongs to the n-th start.
    """
    return f"""
    with moves as (
        select *, {_MOVE} as move, coalesce(json_extract_string(attributes, '/concept:instance'), '') as instance
        from {events}
        where {_MOVE} in ('start', 'complete')
    ),
    counted as (
        select *,
            count(*) filter (move = 'start') over until as starts,
            count(*) filter (move = 'complete') over until as completes
        from moves
        window until as (
            partition by global_case_id, activity, instance order by timestamp, tie_order
            rows unbounded preceding
        )
    ),
    matched as (
        select *,
            greatest(max(completes - starts) over until, 0) as orphans,
            coalesce(greatest(max(completes - starts) over before, 0), 0) as orphans_before
        from counted
        window
            until as (
                partition by global_case_id, activity, instance order by timestamp, tie_order
                rows unbounded preceding
            ),
            before as (
                partition by global_case_id, activity, instance order by timestamp, tie_order
                rows between unbounded preceding and 1 preceding
            )
    ),
    numbered as (
        select *, case
            when move = 'start' then starts
            when orphans = orphans_before then completes - orphans
        end as number
        from matched
    )
    select ends.* exclude (move, instance, starts, completes, orphans, orphans_before, number)
        replace (coalesce(begins.timestamp, ends.start_timestamp) as start_timestamp)
    from numbered as ends
    left join numbered as begins
        on ends.global_case_id = begins.global_case_id and ends.activity = begins.activity
        and ends.instance = begins.instance and ends.number = begins.number
        and begins.move = 'start'
    where ends.move = 'complete'
    union all
    select begins.* exclude (move, instance, starts, completes, orphans, orphans_before, number)
        replace (begins.timestamp as start_timestamp)
    from numbered as begins
    left join numbered as ends
        on ends.global_case_id = begins.global_case_id and ends.activity = begins.activity
        and ends.instance = begins.instance and ends.number = begins.number
        and ends.move = 'complete'
    where begins.move = 'start' and ends.global_case_id is null
    """
