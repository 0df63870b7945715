"""Filters as one SELECT with bound parameters: no value of a filter ever becomes SQL text.

What only depends on the order of activities is asked of the variants, of which there are far fewer than cases.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from orchestration.mining.filters.model import (
    ActivitiesFilter,
    AllFilter,
    AnyFilter,
    AttributeFilter,
    CaseSizeFilter,
    CycleTimeFilter,
    EndActivityFilter,
    Filter,
    FollowsFilter,
    NotFilter,
    PerformerFilter,
    StartActivityFilter,
    StateFilter,
    TimeFilter,
    VariantsFilter,
)

NUMBER = r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?"
"""What counts as a number in an attribute's text."""


@dataclass(frozen=True)
class Selection:
    """A query for the ids of the selected cases, one column ``global_case_id``, and its named parameters."""

    sql: str
    parameters: dict[str, Any]


def select_cases(filters: Sequence[Filter]) -> Selection:
    """The query over three relations of the session it is run in.

    ``log_cases`` (global_case_id, start_ts, end_ts, cycle_time_us, event_count, variant_hash, state), ``log_variants``
    (variant_hash, activities) and ``log_events`` (global_case_id, timestamp, tie_order, resource_id, role, org_unit,
    system, attributes).
    """
    compiler = _Compiler()
    steps, left = [], "log_cases"
    for place, item in enumerate(filters, start=1):
        condition = compiler.condition(item, left)
        steps.append(f"left_{place} as (select * from {left} as c where {condition})")
        left = f"left_{place}"
    prefix = "with " + ",\n".join(steps) + "\n" if steps else ""
    return Selection(f"{prefix}select global_case_id from {left}", compiler.parameters)


@dataclass
class _Compiler:
    """Collects the parameters. A condition is never NULL, so that NOT is its complement."""

    parameters: dict[str, Any] = field(default_factory=dict)

    def bind(self, value: Any) -> str:
        name = f"p{len(self.parameters) + 1}"
        self.parameters[name] = value
        return f"${name}"

    def condition(self, item: Filter, cases: str) -> str:
        """SQL for a row ``c`` of ``cases``."""
        match item:
            case AllFilter():
                return self._joined(item.of, " and ", cases)
            case AnyFilter():
                return self._joined(item.of, " or ", cases)
            case NotFilter():
                return f"not {self.condition(item.of, cases)}"
            case VariantsFilter():
                return self._frequent(item, cases)
            case AttributeFilter():
                return self._attribute(item)
            case PerformerFilter():
                return self._some_event(f"{item.column} in {self._list(item.values)}")
            case TimeFilter() | CycleTimeFilter() | CaseSizeFilter() | StateFilter():
                return self._of_case(item)
            case _:
                return f"(c.variant_hash in (select variant_hash from log_variants where {self._path(item)}))"

    def _of_case(self, item: TimeFilter | CycleTimeFilter | CaseSizeFilter | StateFilter) -> str:
        match item:
            case TimeFilter():
                return self._time(item)
            case CycleTimeFilter():
                low, high = (
                    None if value is None else round(value * 1_000_000)
                    for value in (item.min_seconds, item.max_seconds)
                )
                return self._between("c.cycle_time_us", low, high)
            case CaseSizeFilter():
                return self._between("c.event_count", item.min, item.max)
            case StateFilter():
                return f"(c.state in {self._list(item.states)})"

    def _joined(self, items: Sequence[Filter], word: str, cases: str) -> str:
        return "(" + word.join(self.condition(item, cases) for item in items) + ")"

    def _list(self, values: Sequence[str]) -> str:
        return f"(select unnest({self.bind(list(values))}::varchar[]))"

    def _between(self, what: str, low: Any, high: Any) -> str:
        bounds = [f"{what} >= {self.bind(low)}"] if low is not None else []
        bounds += [f"{what} <= {self.bind(high)}"] if high is not None else []
        return "(" + " and ".join(bounds) + ")"

    def _time(self, item: TimeFilter) -> str:
        first, last = {
            "contained": ("c.start_ts", "c.end_ts"),
            "intersecting": ("c.end_ts", "c.start_ts"),
            "started": ("c.start_ts", "c.start_ts"),
            "ended": ("c.end_ts", "c.end_ts"),
        }[item.mode]
        start, end = item.bounds
        bounds = [f"{first} >= {self.bind(start)}::timestamp"] if start else []
        bounds += [f"{last} < {self.bind(end)}::timestamp"] if end else []
        return "(" + " and ".join(bounds) + ")"

    def _frequent(self, item: VariantsFilter, cases: str) -> str:
        # Cases before a variant in the order of frequency: it is needed while they do not yet cover the share.
        wanted = (
            f"place <= {self.bind(item.top)}"
            if item.top is not None
            else f"before < {self.bind(item.coverage)}::double * total"
        )
        return f"""(c.variant_hash in (
            select variant_hash from (
                select variant_hash, row_number() over frequent as place, sum(frequency) over () as total,
                       sum(frequency) over frequent - frequency as before
                from (select variant_hash, count(*) as frequency from {cases} group by variant_hash)
                window frequent as (order by frequency desc, variant_hash rows unbounded preceding)
            ) where {wanted}))"""

    def _path(self, item: Filter) -> str:
        """SQL for a row of ``log_variants``."""
        match item:
            case ActivitiesFilter():
                names = f"{self.bind(list(item.activities))}::varchar[]"
                found = "list_has_all" if item.match == "all" else "list_has_any"
                return f"{'not ' if item.mode == 'without' else ''}{found}(activities, {names})"
            case StartActivityFilter():
                return f"activities[1] in {self._list(item.activities)}"
            case EndActivityFilter():
                return f"activities[-1] in {self._list(item.activities)}"
            case FollowsFilter():
                source, target = (
                    f"{self.bind(list(names))}::varchar[]" for names in (item.source, item.target)
                )
                # The places, from 1, of events that are one of the names.
                here, there = (
                    f"list_filter(range(1, len(activities) + 1), lambda i: list_contains({names}, activities[i]))"
                    for names in (source, target)
                )
                if item.mode == "eventually":
                    return f"coalesce(list_min({here}) < list_max({there}), false)"
                return f"list_has_any(list_transform({here}, lambda i: i + 1), {there})"
        raise AssertionError(f"no condition for {item!r}")

    def _attribute(self, item: AttributeFilter) -> str:
        # A JSON pointer takes any key: `~` and `/` are its only special signs.
        pointer = self.bind("/" + item.name.replace("~", "~0").replace("/", "~1"))
        value = f"nullif(json_extract_string(attributes, {pointer}::varchar), '')"
        if item.level == "event":
            if item.null:
                return f"(not {self._some_event(f'{value} is not null')})"
            return self._some_event(self._holds(item, value))
        # arg_min skips NULLs: whether the first event has a value is part of the value.
        first = f"arg_min(row({value}), row(timestamp, tie_order))[1]"
        return f"""(c.global_case_id in (
            select global_case_id from (
                select global_case_id, {first} as value from log_events group by global_case_id
            ) where {self._holds(item, "value")}))"""

    def _holds(self, item: AttributeFilter, value: str) -> str:
        if item.values is not None:
            return f"{value} in {self._list(item.values)}"
        if item.null is not None:
            return f"{value} is {'' if item.null else 'not '}null"
        number = f"(case when regexp_full_match({value}, '{NUMBER}') then {value}::double end)"
        return self._between(number, item.min, item.max)

    def _some_event(self, condition: str) -> str:
        return f"(c.global_case_id in (select global_case_id from log_events where {condition}))"
