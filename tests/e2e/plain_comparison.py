"""What two sets of cases differ in, worked out in plain Python from the rows of their events."""

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from itertools import pairwise
from statistics import fmean, variance
from typing import Any

from orchestration.mining.explain import ExplainConfig

_CONFIG = ExplainConfig()

Case = list[dict[str, Any]]
Told = tuple[str, float, float, float, float]
"""A name, its figure on either side, the change and the standard error of that."""


def cases_of(events: Iterable[Mapping[str, Any]]) -> list[Case]:
    """The events of each case in their order; ``timestamp`` is ISO text."""
    cases: dict[str, Case] = defaultdict(list)
    for event in events:
        moment = datetime.fromisoformat(event["timestamp"])
        cases[event["global_case_id"]].append({**event, "timestamp": moment})
    for case in cases.values():
        case.sort(key=lambda event: (event["timestamp"], event["tie_order"]))
    return list(cases.values())


def cycle_seconds(case: Case) -> float:
    """From the first to the last event."""
    return float((case[-1]["timestamp"] - case[0]["timestamp"]).total_seconds())


def means(sides: Sequence[Sequence[Case]]) -> tuple[float, float, float, float]:
    """The mean cycle time of either side, the difference, and its standard error (Welch)."""
    first, second = ([cycle_seconds(case) for case in side] for side in sides)
    error = math.sqrt(variance(first) / len(first) + variance(second) / len(second))
    return fmean(first), fmean(second), fmean(second) - fmean(first), error


def transition_changes(sides: Sequence[Sequence[Case]]) -> list[Told]:
    """The transitions whose seconds per case changed beyond chance."""
    spent = [[_seconds_by_transition(case) for case in side] for side in sides]
    found = []
    for name in {name for side in spent for case in side for name in case}:
        if max(sum(name in case for case in side) for side in spent) < _CONFIG.value_cases:
            continue
        first, second = ([case.get(name, 0.0) for case in side] for side in spent)
        error = math.sqrt(variance(first) / len(first) + variance(second) / len(second))
        found.append((" → ".join(name), fmean(first), fmean(second), fmean(second) - fmean(first), error))
    return _told(found)


def share_changes(sides: Sequence[Sequence[Case]], names: Callable[[Case], Iterable[str]]) -> list[Told]:
    """The names that other shares of the cases have, beyond chance (standard errors of Agresti and Caffo)."""
    counts = [Counter(name for case in side for name in names(case)) for side in sides]
    found = []
    for name in counts[0].keys() | counts[1].keys():
        if max(count[name] for count in counts) < _CONFIG.value_cases:
            continue
        first, second = (count[name] / len(side) for count, side in zip(counts, sides, strict=True))
        smoothed = [
            ((count[name] + 1) / (len(side) + 2), len(side) + 2)
            for count, side in zip(counts, sides, strict=True)
        ]
        error = math.sqrt(sum(share * (1 - share) / size for share, size in smoothed))
        found.append((name, first, second, second - first, error))
    return _told(found)


def activities(case: Case) -> set[str]:
    """Those that the case has."""
    return {event["activity"] for event in case}


def path(case: Case) -> list[str]:
    """The whole path, as one name; these logs have no path that is too long to be shown."""
    return [" → ".join(event["activity"] for event in case)]


def _seconds_by_transition(case: Case) -> dict[tuple[str, str], float]:
    spent: dict[tuple[str, str], float] = defaultdict(float)
    for before, after in pairwise(case):
        passage = before["activity"], after["activity"]
        spent[passage] += (after["timestamp"] - before["timestamp"]).total_seconds()
    return spent


def _told(found: Iterable[Told]) -> list[Told]:
    """The changes beyond chance, the largest first."""
    real = [told for told in found if abs(told[3]) > _CONFIG.least_change_errors * told[4]]
    return sorted(real, key=lambda told: (-abs(told[3]), told[0]))[: _CONFIG.most_changes]
