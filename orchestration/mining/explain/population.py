"""All completed cases, month by month: each month is read once, and a window's sample is put together from months.

What belongs here: counting windows, and choosing and reading cases. What does not: making the tables that they are
read from (`working_tables`), and what can be told of the cases.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import reduce
from operator import xor

import duckdb
import numpy as np

from orchestration.mining.explain.cases import (
    PERFORMER_COLUMNS,
    Attribute,
    CaseSet,
    Keys,
    count_visits,
    join_cases,
    keep_cases,
    numbers_of,
)
from orchestration.mining.explain.config import ExplainConfig
from orchestration.mining.explain.window import Window, months_before

Labels = dict[str, list[str]]
"""The names of the codes of activities, resources, roles and departments."""

Transitions = dict[tuple[int, int], tuple[int, int]]
"""How often activity follows activity, and the time of all passages together in microseconds."""

# DuckDB makes Arrow buffers for a whole chunk, however few rows there are; parts of months are kept for long.
_CHUNK_ROWS = 2_048


@dataclass(frozen=True)
class MonthCount:
    """The cases of one home month; the completed ones that are `held` are numbered from `first_no`.

    `keys` is the exclusive or of the hashes of all completed ones.
    """

    completed: int
    open_cases: int
    first_no: int
    cycle_us: int
    held: int
    keys: int

    @property
    def last_no(self) -> int:
        """The number of its last completed case."""
        return self.first_no + self.held - 1


@dataclass(frozen=True)
class About:
    """The cases that something is said of: how many, and a hash that tells sets of cases apart.

    The hash is the exclusive or of the cases' own hashes, so that it depends on no order and adds up over months.
    """

    cases: int
    hash: str


class Population:
    """The completed cases on a connection that holds the working tables."""

    def __init__(
        self, conn: duckdb.DuckDBPyConnection, config: ExplainConfig, *, from_profiles: bool = False
    ) -> None:
        """Count the months, and settle how many cases of each are ever in a sample.

        From profiles the counts are those of all cases, and `totals` tells them.
        """
        self._conn = conn
        self._config = config
        self._counts = _count_months(conn, "totals" if from_profiles else _COUNTED)
        self._needed = _needed_cases(self._sample_keys(), list(self._counts), config)
        self._parts: dict[str, CaseSet] = {}
        self.labels: Labels = _read_labels(conn)

    def months(self) -> list[str]:
        """The home months (`YYYY-MM`) that have completed cases."""
        return [month for month, count in self._counts.items() if count.completed]

    def window(self, first: str, last: str) -> Window:
        """The window from one month to another."""
        counts = [count for month, count in self._counts.items() if first <= month <= last]
        completed = sum(count.completed for count in counts)
        return Window(first, last, completed, sum(count.open_cases for count in counts))

    def about(self, window: Window) -> About:
        """The window's completed cases."""
        keys = (self._counts[month].keys for month in self._months_of(window))
        return About(window.completed, _in_hex(reduce(xor, keys, 0)))

    def cycle_us(self, window: Window) -> int:
        """The cycle times of the window's cases together, in microseconds."""
        return sum(self._counts[month].cycle_us for month in self._months_of(window))

    def transitions(self, window: Window) -> Transitions:
        """The transitions of all of the window's cases."""
        rows = self._conn.execute(
            """
            select previous, activity, sum(passes)::bigint, sum(total_us)::hugeint
            from explain_transition
            where home_month between $first and $last
            group by previous, activity
            order by previous, activity
            """,
            window.parameters,
        ).fetchall()
        return {(previous, activity): (passes, total_us) for previous, activity, passes, total_us in rows}

    def case_attributes(self, window: Window) -> list[str]:
        """The attribute keys that belong to the case: named `case:...`, or hardly ever changing within one.

        Judged on a fixed few cases of every month of the window; a limited number, the most frequent first.
        """
        rows = self._conn.execute(
            """
            select key
            from explain_constancy
            where home_month between $first and $last
            group by key
            having key like 'case:%' or sum(changing) <= $changing_share * sum(cases)
            order by sum(cases) desc, key
            limit $most
            """,
            {
                **window.parameters,
                "changing_share": self._config.changing_share,
                "most": self._config.most_attributes,
            },
        ).fetchall()
        return sorted(str(key) for (key,) in rows)

    def _late_attributes(self, window: Window) -> frozenset[str]:
        """The attributes that most cases of the window get after their first event."""
        rows = self._conn.execute(
            """
            select key from explain_constancy where home_month between $first and $last
            group by key having sum(late) > sum(cases) / 2
            """,
            window.parameters,
        ).fetchall()
        return frozenset(str(key) for (key,) in rows)

    def sample(self, window: Window, keys: list[str]) -> CaseSet:
        """The window's fixed sample, with these attributes: the cases with the smallest hashes of their ids.

        Raises:
            ValueError: the window has cases and ends after the last month, so that it is no month's.
        """
        parts = [self._part(month, keys) for month in self._months_of(window)]
        if not parts:
            return _read_cases(self._conn, 0, -1, 0)
        if window.last > max(self._counts):
            raise ValueError(f"no cases start in {window.last}: explain a month up to {max(self._counts)}")
        limit = _key_limit([part.sample_key for part in parts], self._config.most_sample_cases)
        joined = join_cases([keep_cases(part, part.sample_key <= limit) for part in parts])
        return replace(joined, late=self._late_attributes(window))

    def batches(self, month: str, keys: list[str], most: int) -> Iterator[CaseSet]:
        """All cases of a month in order of their numbers, at most `most` at a time."""
        if month not in self._counts:
            return
        count = self._counts[month]
        if count.held == self._needed.get(month) and count.held <= most:
            # The sample read the whole month, and it fits in one batch.
            yield self._part(month, keys)
            return
        for first in range(count.first_no, count.last_no + 1, most):
            last = min(first + most - 1, count.last_no)
            cases = _read_cases(self._conn, first, last, count.held)
            yield replace(cases, attributes=_read_attributes(self._conn, keys, first, last, count.held))

    def _months_of(self, window: Window) -> list[str]:
        return [month for month in self.months() if window.first <= month <= window.last]

    def _part(self, month: str, keys: list[str]) -> CaseSet:
        """What samples need of one month, with these attributes."""
        bounds = self._counts[month].first_no, self._counts[month].last_no, self._needed[month]
        if month not in self._parts:
            self._parts[month] = _read_cases(self._conn, *bounds)
        known = self._parts[month].attributes
        known |= _read_attributes(self._conn, [key for key in keys if key not in known], *bounds)
        return replace(self._parts[month], attributes={key: known[key] for key in keys})

    def _sample_keys(self) -> dict[str, Keys]:
        """The smallest hashes of each month with completed cases, in order: as many as a sample could hold."""
        most = self._config.most_sample_cases
        found = self._conn.execute(
            "select sample_key from explain_case where rank_in_month <= $most order by home_month, rank_in_month",
            {"most": most},
        ).fetchnumpy()["sample_key"]
        ends = np.cumsum([min(self._counts[month].held, most) for month in self.months()])
        return dict(zip(self.months(), np.split(found.astype(np.uint64), ends)[:-1], strict=True))


def about_cases(cases: CaseSet) -> About:
    """What the cases of a set are."""
    return About(len(cases), _in_hex(int(np.bitwise_xor.reduce(cases.sample_key))))


def _in_hex(keys: int) -> str:
    return f"{keys:016x}"


def _needed_cases(keys: dict[str, Keys], months: list[str], config: ExplainConfig) -> dict[str, int]:
    """How many cases of each month, in order of their hashes, suffice for the sample of any window."""
    needed = dict.fromkeys(keys, 0)
    for first, last in _windows(months, config.window_months):
        inside = [month for month in keys if first <= month <= last]
        if inside:
            limit = _key_limit([keys[month] for month in inside], config.most_sample_cases)
            for month in inside:
                needed[month] = max(needed[month], int(np.searchsorted(keys[month], limit, side="right")))
    return needed


def _windows(months: list[str], length: int) -> Iterator[tuple[str, str]]:
    """The windows of the records of these months and all between, and of the whole."""
    if not months:
        return
    yield months[0], months[-1]
    last = months[0]
    while last <= months[-1]:
        yield months_before(last, length - 1), last
        last = months_before(last, -1)


def _key_limit(keys: list[Keys], most: int) -> np.uint64:
    """The largest hash in a sample of at most `most` cases."""
    together = np.concatenate(keys)
    return np.uint64(together.max() if len(together) <= most else np.partition(together, most - 1)[most - 1])


_COUNTED = """(
    select home_month, coalesce(completed, 0) as completed, coalesce(open_cases, 0) as open_cases, cycle_us, keys
    from (
        select home_month, count(*) as completed, sum(cycle_time_us) as cycle_us, bit_xor(sample_key) as keys
        from explain_case group by home_month
    )
    full join explain_open using (home_month)
)"""


def _count_months(conn: duckdb.DuckDBPyConnection, counted: str) -> dict[str, MonthCount]:
    """The months of ``counted`` (home_month, completed, open_cases, cycle_us, keys), with the cases that are held."""
    rows = conn.execute(
        f"""
        select home_month, completed, open_cases, coalesce(first_no, 0), coalesce(cycle_us, 0), coalesce(held, 0),
            coalesce(keys, 0)
        from {counted}
        left join (
            select home_month, min(case_no) as first_no, count(*) as held from explain_case group by home_month
        ) using (home_month)
        order by home_month
        """
    ).fetchall()
    return {str(month): MonthCount(*counts) for month, *counts in rows}


def _read_labels(conn: duckdb.DuckDBPyConnection) -> Labels:
    labels: Labels = {"activity": [], **{kind: [] for kind in PERFORMER_COLUMNS}}
    for kind, label in conn.execute("select kind, label from explain_label order by kind, code").fetchall():
        labels[kind].append(label)
    return labels


def _read_cases(conn: duckdb.DuckDBPyConnection, first: int, last: int, most: int) -> CaseSet:
    """Cases numbered `first` to `last`, but of each month only the `most` with the smallest hashes; no attributes."""
    bounds = {"first": first, "last": last, "most": most}
    cases = conn.execute(
        """
        select case_no, sample_key, start_us, end_us, cycle_time_us
        from explain_case
        where case_no between $first and $last and rank_in_month <= $most
        order by case_no
        """,
        bounds,
    ).fetchnumpy()
    steps = conn.execute(
        """
        select
            case_no as "case", activity, coalesce(previous, -1) as previous, coalesce(wait_us, 0) as wait_us,
            coalesce(resource, -1) as resource, coalesce(role, -1) as role, coalesce(org_unit, -1) as org_unit
        from explain_step
        where case_no between $first and $last and case_no in (
            select case_no from explain_case where case_no between $first and $last and rank_in_month <= $most
        )
        order by case_no, position
        """,
        bounds,
    ).fetchnumpy()
    steps["case"] = np.searchsorted(cases["case_no"], steps["case"]).astype(np.int32)
    return CaseSet(
        case_no=cases["case_no"],
        sample_key=cases["sample_key"].astype(np.uint64),
        start_us=cases["start_us"],
        end_us=cases["end_us"],
        cycle_us=cases["cycle_time_us"],
        values=cases["cycle_time_us"] / 1e6,
        steps=steps,
        visits=count_visits(steps),
        attributes={},
    )


def _read_attributes(
    conn: duckdb.DuckDBPyConnection, keys: list[str], first: int, last: int, most: int
) -> dict[str, Attribute]:
    """The attributes that the same cases, or their records, begin with; an empty value is a missing one."""
    if not keys:
        return {}
    pointers = ["/" + key.replace("~", "~0").replace("/", "~1") for key in keys]
    columns = ", ".join(f"nullif(found[{place}], '')" for place in range(1, len(keys) + 1))
    table = conn.execute(
        f"""
        select {columns}
        from (
            select c.case_no, json_extract_string(f.attributes, $pointers) as found
            from explain_case as c
            left join explain_first as f using (case_no)
            where c.case_no between $first and $last and c.rank_in_month <= $most
        )
        order by case_no
        """,
        {"pointers": pointers, "first": first, "last": last, "most": most},
    ).to_arrow_table(_CHUNK_ROWS)
    return {
        key: Attribute(words, numbers_of(words)) for key, words in zip(keys, table.itercolumns(), strict=True)
    }
