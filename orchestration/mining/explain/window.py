"""The cases that one explanation is about: a range of home months, and a fixed sample of its completed cases.

What belongs here: choosing the cases and reading their raw traits. What does not: making features of them.
"""

from dataclasses import dataclass

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow as pa

Ints = npt.NDArray[np.int64]

PERFORMER_COLUMNS = ("resource", "role", "org_unit")
_MISSING_CODE = -1


@dataclass(frozen=True)
class Window:
    """Completed cases with home months `first`..`last` (`YYYY-MM`, both included)."""

    first: str
    last: str
    completed: int
    open_cases: int

    @property
    def parameters(self) -> dict[str, str]:
        """The bounds as named parameters of a query."""
        return {"first": self.first, "last": self.last}


@dataclass(frozen=True)
class CaseSet:
    """Raw traits of some cases, ordered by case number; times are in microseconds, UTC.

    The `visit_*` arrays have one entry per case and activity: the case's index, the activity's code, how
    often it happened, and per performer column the code of its first performer (-1: none).
    """

    case_no: Ints
    sample_key: npt.NDArray[np.uint64]
    start_us: Ints
    end_us: Ints
    cycle_us: Ints
    attributes: dict[str, pa.DictionaryArray]
    visit_case: Ints
    visit_activity: Ints
    visit_count: Ints
    visit_performer: dict[str, Ints]

    def __len__(self) -> int:
        """The number of cases."""
        return len(self.case_no)


def months_before(month: str, count: int) -> str:
    """The month `count` months before `month`, both as `YYYY-MM`."""
    year, number = (int(part) for part in month.split("-"))
    index = year * 12 + number - 1 - count
    return f"{index // 12:04d}-{index % 12 + 1:02d}"


def find_window(conn: duckdb.DuckDBPyConnection, first: str, last: str) -> Window:
    """Count the window's cases."""
    bounds = {"first": first, "last": last}
    completed = conn.execute(
        "select count(*) from explain_case where home_month between $first and $last", bounds
    ).fetchone()
    still_open = conn.execute(
        "select coalesce(sum(open_cases), 0) from explain_open where home_month between $first and $last",
        bounds,
    ).fetchone()
    return Window(first, last, int(completed[0]) if completed else 0, int(still_open[0]) if still_open else 0)


def case_attributes(
    conn: duckdb.DuckDBPyConnection, window: Window, most: int, changing_share: float
) -> list[str]:
    """The attribute keys that belong to the case: named `case:...`, or hardly ever changing within one.

    Judged on a fixed few cases of every month of the window; at most `most` keys, the most frequent first.
    """
    rows = conn.execute(
        """
        select key
        from explain_constancy
        where home_month between $first and $last
        group by key
        having key like 'case:%' or sum(changing) <= $changing_share * sum(cases)
        order by sum(cases) desc, key
        limit $most
        """,
        {**window.parameters, "changing_share": changing_share, "most": most},
    ).fetchall()
    return sorted(str(key) for (key,) in rows)


def sample_cases(conn: duckdb.DuckDBPyConnection, window: Window, keys: list[str], most: int) -> CaseSet:
    """The window's fixed sample: the `most` cases with the smallest hash of their id."""
    conn.execute(
        """
        create or replace temp table explain_selection as
        select case_no
        from explain_case
        where home_month between $first and $last
        order by sample_key, global_case_id
        limit $most
        """,
        {**window.parameters, "most": most},
    )
    return _read_selection(conn, keys)


def month_cases(
    conn: duckdb.DuckDBPyConnection, month: str, keys: list[str], after: int, most: int
) -> CaseSet:
    """The next `most` cases of one home month with case numbers above `after`."""
    conn.execute(
        """
        create or replace temp table explain_selection as
        select case_no
        from explain_case
        where home_month = $month and case_no > $after
        order by case_no
        limit $most
        """,
        {"month": month, "after": after, "most": most},
    )
    return _read_selection(conn, keys)


def _read_selection(conn: duckdb.DuckDBPyConnection, keys: list[str]) -> CaseSet:
    cases = conn.execute(
        """
        select case_no, sample_key, start_us, end_us, cycle_time_us
        from explain_case
        inner join explain_selection using (case_no)
        order by case_no
        """
    ).fetchnumpy()
    visits = conn.execute(
        """
        select
            case_no, activity, count(*) as visits,
            coalesce(arg_min(resource, position), $missing) as resource,
            coalesce(arg_min(role, position), $missing) as role,
            coalesce(arg_min(org_unit, position), $missing) as org_unit
        from explain_step
        inner join explain_selection using (case_no)
        group by case_no, activity
        order by case_no, activity
        """,
        {"missing": _MISSING_CODE},
    ).fetchnumpy()
    case_no = cases["case_no"].astype(np.int64)
    return CaseSet(
        case_no=case_no,
        sample_key=cases["sample_key"].astype(np.uint64),
        start_us=cases["start_us"].astype(np.int64),
        end_us=cases["end_us"].astype(np.int64),
        cycle_us=cases["cycle_time_us"].astype(np.int64),
        attributes=_read_attributes(conn, keys),
        visit_case=np.searchsorted(case_no, visits["case_no"]),
        visit_activity=visits["activity"].astype(np.int64),
        visit_count=visits["visits"].astype(np.int64),
        visit_performer={name: visits[name].astype(np.int64) for name in PERFORMER_COLUMNS},
    )


def _read_attributes(conn: duckdb.DuckDBPyConnection, keys: list[str]) -> dict[str, pa.DictionaryArray]:
    """The first event's attributes as text, one array per key; a missing or empty value is null."""
    if not keys:
        return {}
    pointers = ["/" + key.replace("~", "~0").replace("/", "~1") for key in keys]
    names = [f"k{index}" for index in range(len(keys))]
    columns = ", ".join(f"nullif(found[{index + 1}], '') as {name}" for index, name in enumerate(names))
    table = conn.execute(
        f"""
        select {columns}
        from (
            select s.case_no, json_extract_string(f.attributes, $pointers) as found
            from explain_selection as s
            left join explain_first as f using (case_no)
        )
        order by case_no
        """,
        {"pointers": pointers},
    ).to_arrow_table()
    return {
        key: table[name].combine_chunks().dictionary_encode() for key, name in zip(keys, names, strict=True)
    }
