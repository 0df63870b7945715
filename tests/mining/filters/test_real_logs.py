"""On real logs too, filters select exactly the cases that plain Python selects: every kind, and random combinations."""

import random
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import duckdb
import pyarrow.parquet as pq
import pytest
from pydantic import TypeAdapter

from orchestration.connectors import Hints, land, probe
from orchestration.mining.filters import Filters, select_cases
from tests.connectors.test_real_logs import NOW
from tests.mining.filters.log import COLUMNS, load
from tests.mining.filters.reference import Case, Event, select

FILTERS: TypeAdapter[Any] = TypeAdapter(Filters)
EXHAUSTIVE = (pytest.mark.slow, pytest.mark.exhaustive)
MOST_CASES = 15_000
"""Of a larger log, so many at random."""

Spec = dict[str, Any]


def cases_of(path: Path, folder: Path) -> list[Case]:
    """The cases of a log as it lands; the longer half counts as completed."""
    looked = probe(path, Hints(), first_month="2000-01", now=NOW, max_records=2_000)
    landing = land(path, looked.mapping, first_month="2000-01", now=NOW, into=folder)
    used = {column for _field, column in looked.mapping.named_columns()}
    found: dict[str, list[tuple[Any, int, Event]]] = {}
    for month in landing.months.values():
        for row in pq.read_table(month.path).to_pylist():
            columns = {name: row.get(f"_{name}") for name in COLUMNS}
            attributes = {n: v for n, v in row.items() if v is not None and n[0] != "_" and n not in used}
            event = Event(row["_timestamp"], row["_activity"], columns, attributes)
            found.setdefault(row["_case_id"], []).append((event.time, row["_row_number"], event))
    kept = random.Random(1).sample(sorted(found), min(MOST_CASES, len(found)))
    ordered = {case: tuple(event for *_, event in sorted(found[case])) for case in kept}
    middle = sorted(len(events) for events in ordered.values())[len(ordered) // 2]
    return [
        Case(case, events, "completed" if len(events) >= middle else "open")
        for case, events in ordered.items()
    ]


class Questions:
    """Filters of every kind that make sense of a log: their names, values and bounds are taken from its cases."""

    def __init__(self, cases: Sequence[Case], seed: int) -> None:
        self._cases, self._draw = cases, random.Random(seed)
        self._activities = sorted({activity for case in cases for activity in case.path})
        self._attributes = sorted(
            {name for case in cases[:200] for e in case.events for name in e.attributes}
        )
        self.kinds: dict[str, Callable[[], Spec]] = {
            "time": self._time,
            "activities": lambda: {
                "activities": self._some(),
                **self._choice({"mode": "with"}, {"mode": "with", "match": "all"}, {"mode": "without"}),
            },
            "follows": lambda: {
                "mode": self._choice("eventually", "directly"),
                "from": self._some(),
                "to": self._some(),
            },
            "start_activity": lambda: {"activities": [self._case().path[0], *self._some()]},
            "end_activity": lambda: {"activities": [self._case().path[-1], *self._some()]},
            "attribute": self._attribute,
            "resource": self._performer,
            "variants": lambda: self._choice({"top": 5}, {"top": 50}, {"coverage": 0.5}, {"coverage": 0.9}),
            "cycle_time": lambda: self._range(
                ("min_seconds", "max_seconds"), *(self._case().cycle_us / 1e6 for _ in range(2))
            ),
            "case_size": lambda: self._range(("min", "max"), *(len(self._case().events) for _ in range(2))),
            "state": lambda: {"in": [self._choice("completed", "open")]},
        }

    def leaf(self, kind: str) -> Spec:
        """A filter of a kind."""
        return {"kind": kind, **self.kinds[kind]()}

    def tree(self, depth: int = 2) -> Spec:
        """A random combination."""
        if depth == 0 or self._draw.random() < 0.3:
            return self.leaf(self._choice(*self.kinds))
        kind = self._choice("all", "any", "not")
        if kind == "not":
            return {"kind": "not", "of": self.tree(depth - 1)}
        return {"kind": kind, "of": [self.tree(depth - 1) for _ in range(2)]}

    def _choice(self, *options: Any) -> Any:
        return self._draw.choice(options)

    def _case(self) -> Case:
        return self._draw.choice(self._cases)

    def _some(self) -> list[str]:
        """Activities of one case, and any one."""
        path = self._case().path
        return [*self._draw.sample(path, min(2, len(path))), self._draw.choice(self._activities)]

    def _range(self, names: tuple[str, str], one: float, other: float) -> Spec:
        pair = dict(zip(names, sorted((one, other)), strict=True))
        return self._choice(pair, {names[0]: pair[names[0]]}, {names[1]: pair[names[1]]})

    def _time(self) -> Spec:
        times = sorted(self._case().events[0].time for _ in range(2))
        start, end = (f"{t.isoformat()}Z" for t in (times[0], times[1] + timedelta(days=30)))
        return {
            "mode": self._choice("contained", "intersecting", "started", "ended"),
            **self._choice({"from": start, "to": end}, {"from": start}, {"to": end}),
        }

    def _attribute(self) -> Spec:
        name = self._draw.choice(self._attributes)
        held = [
            str(e.attributes[name]) for _ in range(20) for e in self._case().events if name in e.attributes
        ]
        conditions: list[Spec] = [{"null": True}, {"null": False}]
        if held:
            conditions += [{"in": sorted(set(held))[:3]}] * 2
        numbers = sorted(float(value) for value in held if value.replace(".", "", 1).isdigit())
        if numbers:
            conditions += [{"min": numbers[0], "max": numbers[len(numbers) // 2]}, {"max": numbers[0]}]
        return {"level": self._choice("case", "event"), "name": name, **self._choice(*conditions)}

    def _performer(self) -> Spec:
        event = self._draw.choice(self._case().events)
        held = {name: value for name, value in event.columns.items() if value is not None}
        if not held:
            return {"in": ["nobody"]}
        column = self._choice(*sorted(held))
        return {"column": column, "in": [held[column]]}


@pytest.mark.parametrize(
    ("log", "of_each", "trees"),
    [
        ("sepsis/Sepsis_Cases.xes.gz", 2, 10),
        pytest.param("bpic2012/bpic2012.xes.gz", 3, 20, marks=EXHAUSTIVE),
        pytest.param("traffic_fines/traffic_fines.parquet", 3, 20, marks=EXHAUSTIVE),
    ],
)
@pytest.mark.timeout(900)
def test_every_kind_and_combinations_select_what_plain_python_selects(
    shared_data: Path, tmp_path: Path, log: str, of_each: int, trees: int
) -> None:
    cases = cases_of(shared_data / log, tmp_path)
    questions, sizes = Questions(cases, seed=len(cases)), Counter[str]()
    asked = [[questions.leaf(kind)] for kind in questions.kinds for _ in range(of_each)]
    asked += [[questions.tree(), questions.tree()] for _ in range(trees)]
    with duckdb.connect() as connection:
        load(connection, cases)
        for specs in asked:
            query = select_cases(FILTERS.validate_python(specs))
            found = [row[0] for row in connection.execute(query.sql, query.parameters).fetchall()]
            assert len(found) == len(set(found))
            assert set(found) == select(cases, specs), specs
            sizes["none" if not found else "all" if len(found) == len(cases) else "some"] += 1
    assert sizes["some"] > len(asked) / 2, f"most questions decide nothing: {dict(sizes)}"
