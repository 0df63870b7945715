"""What the explanation of the whole analysis needs of each home month, so that it need not read the whole history.

Of a month are kept: its cases with the smallest hashes, with their events, in the order of the hashes, so that the
beginning of the file is a sample of any smaller size; the time between activities over all its cases; and its counts.
The sample of the whole is put together from the beginnings. It is the very sample that all events would give, and so is
the explanation.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import sqrt

import duckdb
import pyarrow as pa

from orchestration.mining.explain.config import ExplainConfig

_ALL_KEYS = 2**64 - 1
_STANDARD_ERRORS = 6


@dataclass(frozen=True)
class MonthTotals:
    """The cases of a home month; the cycle times of the completed ones together are in microseconds.

    `keys` is the exclusive or of the hashes of the completed ones, which tells what cases they are.
    """

    completed: int
    open_cases: int
    cycle_us: int
    keys: int


def month_totals(conn: duckdb.DuckDBPyConnection, month: str) -> MonthTotals:
    """The counts of a month on a connection that holds the working tables."""
    completed, cycle_us, keys = conn.execute(
        """
        select count(*), coalesce(sum(cycle_time_us), 0)::bigint, coalesce(bit_xor(sample_key), 0)
        from explain_case where home_month = ?
        """,
        [month],
    ).fetchall()[0]
    open_cases = conn.execute(
        "select sum(open_cases) from explain_open where home_month = ?", [month]
    ).fetchall()
    return MonthTotals(completed, open_cases[0][0] or 0, cycle_us, keys)


def month_waits(conn: duckdb.DuckDBPyConnection, month: str) -> pa.Table:
    """How often activity follows activity in the completed cases of a month, and the time of all passages together."""
    return conn.execute(
        """
        select
            source.label as source_activity, target.label as target_activity,
            w.passes::bigint as passes, w.total_us::bigint as total_us
        from explain_transition as w
        inner join explain_label as source on source.kind = 'activity' and source.code = w.previous
        inner join explain_label as target on target.kind = 'activity' and target.code = w.activity
        where w.home_month = ?
        order by source_activity, target_activity
        """,
        [month],
    ).to_arrow_table()


def month_sample(conn: duckdb.DuckDBPyConnection, month: str, events: str, config: ExplainConfig) -> pa.Table:
    """The events of the month's completed cases with the smallest hashes; ``events`` is a relation that holds them."""
    return conn.execute(
        f"""
        select
            c.sample_key, c.rank_in_month, c.global_case_id, c.home_month, c.start_ts,
            make_timestamp(c.end_us) as end_ts, c.cycle_time_us,
            e.timestamp, e.tie_order, e.activity, e.resource_id, e.role, e.org_unit, e.attributes,
            row_number() over (
                partition by e.global_case_id, e.native_case_id order by e.timestamp, e.tie_order
            ) = 1 as starts_record
        from {events} as e
        inner join explain_case as c using (global_case_id)
        where c.home_month = $month and c.rank_in_month <= $most
        order by c.sample_key, c.global_case_id, e.timestamp, e.tie_order
        """,
        {"month": month, "most": max(config.most_sample_cases, config.constancy_cases_per_month)},
    ).to_arrow_table()


def load_profiles(
    conn: duckdb.DuckDBPyConnection,
    samples: str,
    waits: str,
    totals: Mapping[str, MonthTotals],
    config: ExplainConfig,
) -> None:
    """Make what an ``Explainer`` of profiles reads: `cases` and `events` of the sample, `waits` and `totals` of all.

    Args:
        conn: A connection without these.
        samples: A relation with the samples of all months.
        waits: A relation with their waits, and the `home_month` of each.
        totals: The counts of all months.
        config: That of the explainer.
    """
    conn.execute(f"create temp view waits as select * from {waits}")
    conn.execute(
        """
        create temp table totals (
            home_month varchar, completed bigint, open_cases bigint, cycle_us bigint, keys ubigint
        )
        """
    )
    conn.executemany(
        "insert into totals values (?, ?, ?, ?, ?)",
        [(month, t.completed, t.open_cases, t.cycle_us, t.keys) for month, t in totals.items()],
    )
    completed, errors = sum(t.completed for t in totals.values()), _STANDARD_ERRORS
    wanted = min(config.most_sample_cases, completed)
    while not _load_sample(conn, samples, _limit(wanted, completed, errors), wanted, config):
        errors *= 4
    conn.execute(
        """
        create temp view cases as
        select global_case_id, home_month, any_value(start_ts) as start_ts, any_value(end_ts) as end_ts,
            any_value(cycle_time_us) as cycle_time_us, 'completed' as state
        from profile_event group by global_case_id, home_month
        """
    )
    conn.execute("create temp view events as select *, null::varchar as native_case_id from profile_event")


def _limit(wanted: int, completed: int, standard_errors: int) -> int:
    """A hash below which are enough cases: hashes are spread evenly, so their number varies by its square root."""
    enough = wanted + standard_errors * sqrt(wanted)
    return min(_ALL_KEYS, int(enough / completed * _ALL_KEYS)) if completed else _ALL_KEYS


def _load_sample(
    conn: duckdb.DuckDBPyConnection, samples: str, limit: int, wanted: int, config: ExplainConfig
) -> bool:
    """Table `profile_event`: the cases up to the hash, and those that attributes are judged on. Is it enough?"""
    conn.execute(
        f"""
        create or replace temp table profile_event as
        select * from {samples} where sample_key <= $limit::ubigint
        union all
        select * from {samples} where rank_in_month <= $judged and sample_key > $limit::ubigint
        """,
        {"limit": limit, "judged": config.constancy_cases_per_month},
    )
    found = conn.execute(
        "select count(distinct global_case_id) from profile_event where sample_key <= $limit::ubigint",
        {"limit": limit},
    ).fetchall()[0][0]
    return limit == _ALL_KEYS or bool(found >= wanted)
