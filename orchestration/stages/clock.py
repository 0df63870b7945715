"""How long the states of a home month's cases hold, where silence ends a case: the clock as an input of a month.

A case that silence may complete changes its state at one moment, its last event plus the days of silence. So what a
month was found to be at one ``as_of`` is true for every ``as_of`` between the last such moment before and the first one
after: ``holds_from`` <= as_of < ``holds_before``, either of them open. Outside, and only there, the month is stale.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any

import duckdb

from orchestration.control_plane.staging import StagedFile
from orchestration.stages.workbench import Completion, midnight_before

_HOLDS = """
with judged_by_silence as (
    select cases.state, epoch_us(cases.end_ts) + parameters.silence_us as changes_us
    from main.cases as cases cross join input.parameters as parameters
    where
        cases.home_month = ? and parameters.silence_us is not null and cases.state <> 'left_cut'
        and not list_contains(parameters.end_activities, cases.end_activity)
)
select strftime(make_timestamp(moment), '%Y-%m-%dT%H:%M:%S.%f+00:00')
from (
    select unnest([
        max(changes_us) filter (where state = 'completed'), min(changes_us) filter (where state = 'open')
    ]) as moment
    from judged_by_silence
)
"""


def measure_holds(connection: duckdb.DuckDBPyConnection, home: str) -> dict[str, str | None]:
    """``holds_from`` and ``holds_before`` (ISO, UTC; None: open) of a built home month."""
    (first,), (before,) = connection.execute(_HOLDS, [home]).fetchall()
    return {"holds_from": first, "holds_before": before}


def holds(stats: Mapping[str, Any], rule: Completion, as_of: datetime) -> bool:
    """Whether the states of a month's cases are the same at ``as_of`` as when they were judged."""
    if rule.silence_days is None:
        return True
    if "holds_from" not in stats:
        return False
    first, before = _moment(stats["holds_from"]), _moment(stats["holds_before"])
    return (first is None or first <= as_of) and (before is None or as_of < before)


def next_change(cases: Iterable[StagedFile], rule: Completion, as_of: datetime) -> datetime | None:
    """The first UTC midnight after ``as_of`` at which a month's states change; None: never."""
    if rule.silence_days is None:
        return None
    ends = [end for file in cases if (end := _moment(file.stats.get("holds_before"))) and end > as_of]
    if not ends:
        return None
    midnight = midnight_before(min(ends))
    return midnight if midnight == min(ends) else midnight + timedelta(days=1)


def _moment(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)
