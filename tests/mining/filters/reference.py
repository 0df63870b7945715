"""What filters mean, in plain Python over lists of events: slow, and written apart from the SQL that it checks."""

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from hashlib import sha256
from typing import Any

Spec = Mapping[str, Any]
Holds = Callable[["Case"], bool]


@dataclass(frozen=True)
class Event:
    """One event; a case's events are in their order."""

    time: datetime
    activity: str
    columns: Mapping[str, str | None] = field(default_factory=dict)
    attributes: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Case:
    """A case with its state, as the completion rule judged it."""

    id: str
    events: tuple[Event, ...]
    state: str = "completed"

    @cached_property
    def path(self) -> tuple[str, ...]:
        return tuple(event.activity for event in self.events)

    @property
    def cycle_us(self) -> int:
        elapsed = self.events[-1].time - self.events[0].time
        return (elapsed.days * 86_400 + elapsed.seconds) * 1_000_000 + elapsed.microseconds


def variant_hash(path: Sequence[str]) -> str:
    coded = "".join(f"{len(label.encode())}:{label}" for label in path)
    return sha256(f"casetrail-variant-1{coded}".encode()).hexdigest()


def select(cases: Sequence[Case], filters: Sequence[Spec]) -> set[str]:
    """The ids of the cases that every filter in turn leaves."""
    left = list(cases)
    for spec in filters:
        left = list(filter(condition(spec, left), left))
    return {case.id for case in left}


def condition(spec: Spec, among: Sequence[Case]) -> Holds:
    """What a filter says of a case, where these are left."""
    kind = spec["kind"]
    if kind in ("all", "any"):
        parts, joined = [condition(part, among) for part in spec["of"]], {"all": all, "any": any}[kind]
        return lambda case: joined(part(case) for part in parts)
    if kind == "not":
        part = condition(spec["of"], among)
        return lambda case: not part(case)
    if kind == "variants":
        frequent = _frequent(spec, among)
        return lambda case: case.path in frequent
    return lambda case: LEAVES[kind](spec, case)


def _names(value: Any) -> set[str]:
    return {value} if isinstance(value, str) else set(value)


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC).replace(tzinfo=None)


def _time(spec: Spec, case: Case) -> bool:
    start = _moment(spec["from"]) if spec.get("from") else datetime.min
    end = _moment(spec["to"]) if spec.get("to") else datetime.max
    times = [event.time for event in case.events]
    if spec["mode"] == "contained":
        return all(start <= time < end for time in times)
    if spec["mode"] == "intersecting":
        return times[0] < end and times[-1] >= start
    time = times[0] if spec["mode"] == "started" else times[-1]
    return start <= time < end


def _activities(spec: Spec, case: Case) -> bool:
    names, path = _names(spec["activities"]), set(case.path)
    if spec["mode"] == "without":
        return not names & path
    return names <= path if spec.get("match") == "all" else bool(names & path)


def _follows(spec: Spec, case: Case) -> bool:
    sources, targets = _names(spec["from"]), _names(spec["to"])
    for place, activity in enumerate(case.path):
        later = case.path[place + 1 :] if spec["mode"] == "eventually" else case.path[place + 1 : place + 2]
        if activity in sources and targets & set(later):
            return True
    return False


def _value(event: Event, name: str) -> str | None:
    value = event.attributes.get(name)
    return None if value is None or value == "" else str(value)


def _attribute(spec: Spec, case: Case) -> bool:
    values = [_value(event, spec["name"]) for event in case.events]
    if spec.get("level", "case") == "case":
        values = values[:1]
    if spec.get("null") is not None:
        return (all if spec["null"] else any)((value is None) == spec["null"] for value in values)
    if spec.get("in") is not None:
        return any(value in _names(spec["in"]) for value in values if value is not None)
    numbers = [
        float(value)
        for value in values
        if value is not None and re.fullmatch(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?", value)
    ]
    return any(_within(number, spec.get("min"), spec.get("max")) for number in numbers)


def _within(value: float, low: float | None, high: float | None) -> bool:
    return (low is None or value >= low) and (high is None or value <= high)


def _frequent(spec: Spec, among: Sequence[Case]) -> set[tuple[str, ...]]:
    counted = Counter(case.path for case in among)
    ranked = sorted(counted, key=lambda path: (-counted[path], variant_hash(path)))
    if "top" in spec:
        return set(ranked[: spec["top"]])
    chosen, covered = set(), 0
    for path in ranked:
        if covered >= spec["coverage"] * len(among):
            break
        chosen.add(path)
        covered += counted[path]
    return chosen


LEAVES = {
    "time": _time,
    "activities": _activities,
    "follows": _follows,
    "start_activity": lambda spec, case: case.path[0] in _names(spec["activities"]),
    "end_activity": lambda spec, case: case.path[-1] in _names(spec["activities"]),
    "attribute": _attribute,
    "resource": lambda spec, case: any(
        event.columns.get(spec.get("column", "resource_id")) in _names(spec["in"]) for event in case.events
    ),
    "cycle_time": lambda spec, case: _within(
        case.cycle_us,
        None if spec.get("min_seconds") is None else round(spec["min_seconds"] * 1e6),
        None if spec.get("max_seconds") is None else round(spec["max_seconds"] * 1e6),
    ),
    "case_size": lambda spec, case: _within(len(case.events), spec.get("min"), spec.get("max")),
    "state": lambda spec, case: case.state in _names(spec["in"]),
}
