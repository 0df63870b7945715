"""Why one case is slow: its cycle time as the mean of all cases plus the difference on every segment.

What belongs here: exact accounting in whole microseconds. What does not: estimates (`causes`).
"""

from dataclasses import dataclass

import duckdb

from orchestration.mining.explain.config import ExplainConfig
from orchestration.mining.explain.feature_choice import Labels
from orchestration.mining.explain.window import Window


@dataclass(frozen=True)
class Segment:
    """All steps of a case from one activity to another, and the mean case's time on them."""

    source: str
    target: str
    passes: int
    case_us: int
    mean_us: int

    @property
    def difference_us(self) -> int:
        """How much longer than the mean case."""
        return self.case_us - self.mean_us


@dataclass(frozen=True)
class SlowCase:
    """`cycle_us` = `mean_cycle_us` + the segments' differences + `other_us`, exactly."""

    case_no: int
    global_case_id: str
    native_case_id: str
    cycle_us: int
    mean_cycle_us: int
    cases: int
    segments: tuple[Segment, ...]
    other_us: int


def split_slowest(
    conn: duckdb.DuckDBPyConnection, month: str, window: Window, labels: Labels, config: ExplainConfig
) -> list[SlowCase]:
    """Split the slowest completed cases of a month, the slowest first, against the mean case of the window.

    A transition that a case skips counts too: the mean case spends time there.
    """
    slowest = conn.execute(
        """
        select c.case_no, c.global_case_id::varchar, coalesce(f.native_case_id, ''), c.cycle_time_us
        from explain_case as c
        left join explain_first as f using (case_no)
        where c.home_month = $month and c.cycle_time_us > 0
        order by c.cycle_time_us desc, c.global_case_id
        limit $most
        """,
        {"month": month, "most": config.slowest_cases},
    ).fetchall()
    if not slowest:
        return []
    means = _mean_segments(conn, window)
    mean_cycle = _mean_cycle_us(conn, window)
    cases = []
    for case_no, global_case_id, native_case_id, cycle_us in slowest:
        own = _own_segments(conn, case_no)
        segments = [
            Segment(
                labels["activity"][key[0]],
                labels["activity"][key[1]],
                *own.get(key, (0, 0)),
                means.get(key, 0),
            )
            for key in sorted(own.keys() | means.keys())
        ]
        segments.sort(key=lambda segment: (-abs(segment.difference_us), segment.source, segment.target))
        shown = tuple(segments[: config.segments_shown])
        other = cycle_us - mean_cycle - sum(segment.difference_us for segment in shown)
        cases.append(
            SlowCase(
                case_no, global_case_id, native_case_id, cycle_us, mean_cycle, window.completed, shown, other
            )
        )
    return cases


def _mean_segments(conn: duckdb.DuckDBPyConnection, window: Window) -> dict[tuple[int, int], int]:
    """The mean case's time per transition, in whole microseconds; cases that skip it count as zero."""
    rows = conn.execute(
        """
        select previous, activity, sum(wait_us)::hugeint
        from explain_step
        where home_month between $first and $last and previous is not null
        group by previous, activity
        """,
        window.parameters,
    ).fetchall()
    return {(source, target): _rounded(total, window.completed) for source, target, total in rows}


def _mean_cycle_us(conn: duckdb.DuckDBPyConnection, window: Window) -> int:
    row = conn.execute(
        "select sum(cycle_time_us)::hugeint from explain_case where home_month between $first and $last",
        window.parameters,
    ).fetchone()
    return _rounded(row[0], window.completed) if row else 0


def _own_segments(conn: duckdb.DuckDBPyConnection, case_no: int) -> dict[tuple[int, int], tuple[int, int]]:
    rows = conn.execute(
        """
        select previous, activity, count(*), sum(wait_us)::hugeint
        from explain_step
        where case_no = $case_no and previous is not null
        group by previous, activity
        """,
        {"case_no": case_no},
    ).fetchall()
    return {(source, target): (passes, total) for source, target, passes, total in rows}


def _rounded(total: int, count: int) -> int:
    """The quotient of two whole numbers, rounded half up, without a float in between."""
    return (2 * total + count) // (2 * count)
