"""Why one case is slow: its cycle time as the mean of all cases plus the difference on every segment.

What belongs here: exact accounting in whole microseconds. What does not: estimates (`causes`).
"""

from dataclasses import dataclass

import duckdb

from orchestration.mining.explain.config import ExplainConfig
from orchestration.mining.explain.population import Labels, Transitions


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


@dataclass(frozen=True)
class MeanCase:
    """The mean case of a window, from exact totals in microseconds; transitions that a case skips count as zero."""

    cases: int
    total_cycle_us: int
    transitions: Transitions

    @property
    def cycle_us(self) -> int:
        """Its cycle time, in whole microseconds."""
        return _rounded(self.total_cycle_us, self.cases)

    def segments_us(self) -> dict[tuple[int, int], int]:
        """Its time per transition, in whole microseconds."""
        return {key: _rounded(total_us, self.cases) for key, (_, total_us) in self.transitions.items()}


def split_slowest(
    conn: duckdb.DuckDBPyConnection, month: str, mean: MeanCase, labels: Labels, config: ExplainConfig
) -> list[SlowCase]:
    """Split the slowest completed cases of a month, the slowest first, against the mean case of its window.

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
    own = _own_segments(conn, [case_no for case_no, *_ in slowest])
    means = mean.segments_us()
    cases = []
    for case_no, global_case_id, native_case_id, cycle_us in slowest:
        segments = [
            Segment(
                labels["activity"][key[0]],
                labels["activity"][key[1]],
                *own[case_no].get(key, (0, 0)),
                means.get(key, 0),
            )
            for key in sorted(own[case_no].keys() | means.keys())
        ]
        segments.sort(key=lambda segment: (-abs(segment.difference_us), segment.source, segment.target))
        shown = tuple(segments[: config.segments_shown])
        other = cycle_us - mean.cycle_us - sum(segment.difference_us for segment in shown)
        cases.append(
            SlowCase(
                case_no, global_case_id, native_case_id, cycle_us, mean.cycle_us, mean.cases, shown, other
            )
        )
    return cases


def _own_segments(conn: duckdb.DuckDBPyConnection, case_nos: list[int]) -> dict[int, Transitions]:
    """Each case's own passages and their time."""
    rows = conn.execute(
        """
        select case_no, previous, activity, count(*), sum(wait_us)::hugeint
        from explain_step
        where case_no between $first and $last and case_no in $case_nos and previous is not null
        group by case_no, previous, activity
        """,
        {"case_nos": case_nos, "first": min(case_nos), "last": max(case_nos)},
    ).fetchall()
    own: dict[int, Transitions] = {case_no: {} for case_no in case_nos}
    for case_no, source, target, passes, total_us in rows:
        own[case_no][source, target] = passes, total_us
    return own


def _rounded(total: int, count: int) -> int:
    """The quotient of two whole numbers, rounded half up, without a float in between."""
    return (2 * total + count) // (2 * count)
