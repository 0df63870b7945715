"""What two sets of cases do differently: time per transition, how often activities and whole paths happen.

What belongs here: differences with their standard errors, for cases that are independent of each other. What does
not: the difference of the target (``mix``).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import erfc, sqrt
from typing import Any, Generic, TypeVar

import numpy as np

from orchestration.mining.explain.cases import CaseSet, Floats, Ints
from orchestration.mining.explain.config import ExplainConfig
from orchestration.mining.explain.population import Labels

_SHOWN_STEPS = 12


@dataclass(frozen=True)
class TransitionChange:
    """The mean time that a case spends on a transition, all of its passages together; seconds.

    It changes with how often cases pass it (`passes_per_case`) and with how long a passage takes.
    """

    source: str
    target: str
    cases: tuple[int, int]
    passes_per_case: tuple[float, float]
    seconds_per_passage: tuple[float, float]
    seconds_per_case: tuple[float, float]
    change_seconds: float
    standard_error_seconds: float


@dataclass(frozen=True)
class FrequencyChange:
    """The share of cases that have an activity, or that take a path."""

    name: str
    cases: tuple[int, int]
    shares: tuple[float, float]
    change: float
    standard_error: float


Change = TypeVar("Change", TransitionChange, FrequencyChange)


@dataclass(frozen=True)
class Changes(Generic[Change]):
    """What changed beyond chance, the largest change first, among so many things that were looked at."""

    found: list[Change]
    looked_at: int

    def fit(self, config: ExplainConfig) -> dict[str, Any]:
        """How many there are, and how many there would be by chance if the sides were alike (normal quantile)."""
        by_chance = self.looked_at * erfc(config.least_change_errors / sqrt(2))
        return {
            "looked_at": self.looked_at,
            "beyond_chance": len(self.found),
            "expected_by_chance": by_chance,
            "baseline": "no difference between the sides",
        }


def transition_changes(
    reference: CaseSet, compared: CaseSet, labels: Labels, config: ExplainConfig
) -> Changes[TransitionChange]:
    """The transitions whose time per case changed."""
    sides = [_times(cases, len(labels["activity"])) for cases in (reference, compared)]
    sizes = (len(reference), len(compared))
    found, looked_at = [], 0
    for key in sorted(sides[0].keys() | sides[1].keys()):
        visits = [side.get(key, (0, 0, 0.0, 0.0)) for side in sides]
        cases = (visits[0][0], visits[1][0])
        if max(cases) < config.value_cases:
            continue
        looked_at += 1
        means = [total / size for (*_, total, _), size in zip(visits, sizes, strict=True)]
        variances = [
            (squares - size * mean**2) / (size - 1) / size
            for (*_, squares), mean, size in zip(visits, means, sizes, strict=True)
        ]
        error = float(np.sqrt(max(sum(variances), 0.0)))
        if abs(means[1] - means[0]) <= config.least_change_errors * error or means[0] == means[1]:
            continue
        found.append(
            TransitionChange(
                source=labels["activity"][key[0]],
                target=labels["activity"][key[1]],
                cases=cases,
                passes_per_case=(visits[0][1] / sizes[0], visits[1][1] / sizes[1]),
                seconds_per_passage=(
                    visits[0][2] / max(visits[0][1], 1),
                    visits[1][2] / max(visits[1][1], 1),
                ),
                seconds_per_case=(means[0], means[1]),
                change_seconds=means[1] - means[0],
                standard_error_seconds=error,
            )
        )
    found.sort(key=lambda change: (-abs(change.change_seconds), change.source, change.target))
    return Changes(found, looked_at)


def activity_changes(
    reference: CaseSet, compared: CaseSet, labels: Labels, config: ExplainConfig
) -> Changes[FrequencyChange]:
    """The activities that other shares of the cases have."""
    counts = [
        dict(enumerate(np.bincount(cases.visits["activity"], minlength=len(labels["activity"])).tolist()))
        for cases in (reference, compared)
    ]
    return _frequency_changes(
        counts, (len(reference), len(compared)), dict(enumerate(labels["activity"])), config
    )


def path_changes(
    reference: CaseSet, compared: CaseSet, labels: Labels, config: ExplainConfig
) -> Changes[FrequencyChange]:
    """The whole paths (variants) that other shares of the cases take."""
    counts = [_paths(cases) for cases in (reference, compared)]
    names = {
        path: _path_name([labels["activity"][code] for code in path])
        for path in counts[0].keys() | counts[1].keys()
    }
    return _frequency_changes(counts, (len(reference), len(compared)), names, config)


def _frequency_changes(
    counts: Sequence[Mapping[Any, int]],
    sizes: tuple[int, int],
    names: Mapping[Any, str],
    config: ExplainConfig,
) -> Changes[FrequencyChange]:
    found, looked_at = [], 0
    for key in sorted(names):
        cases = (counts[0].get(key, 0), counts[1].get(key, 0))
        if max(cases) < config.value_cases:
            continue
        looked_at += 1
        shares = (cases[0] / sizes[0], cases[1] / sizes[1])
        # Two cases more, one of them with it: no share is so certain that its standard error is 0 (Agresti, Caffo).
        smoothed = [(case + 1) / (size + 2) for case, size in zip(cases, sizes, strict=True)]
        error = float(
            np.sqrt(
                sum(share * (1 - share) / (size + 2) for share, size in zip(smoothed, sizes, strict=True))
            )
        )
        if abs(shares[1] - shares[0]) > config.least_change_errors * error:
            found.append(FrequencyChange(names[key], cases, shares, shares[1] - shares[0], error))
    found.sort(key=lambda change: (-abs(change.change), change.name))
    return Changes(found, looked_at)


def _times(cases: CaseSet, activities: int) -> dict[tuple[int, int], tuple[int, int, float, float]]:
    """Per transition: cases and passages, the cases' seconds on it, and these squared and summed."""
    steps = cases.steps
    passed = np.flatnonzero(steps["previous"] >= 0)
    edge = steps["previous"][passed].astype(np.int64) * activities + steps["activity"][passed]
    place = edge * max(len(cases), 1) + steps["case"][passed]
    places, inverse = np.unique(place, return_inverse=True)
    seconds: Floats = np.bincount(inverse, weights=steps["wait_us"][passed]) / 1e6
    edges, first, visiting = np.unique(places // max(len(cases), 1), return_index=True, return_counts=True)
    if not len(edges):
        return {}
    totals, squares = np.add.reduceat(seconds, first), np.add.reduceat(seconds**2, first)
    passes: Ints = np.bincount(np.searchsorted(edges, edge), minlength=len(edges))
    return {
        (int(edge // activities), int(edge % activities)): (int(n), int(p), float(total), float(square))
        for edge, n, p, total, square in zip(edges, visiting, passes, totals, squares, strict=True)
    }


def _paths(cases: CaseSet) -> dict[tuple[int, ...], int]:
    """How many cases take each path, as codes of activities."""
    ends = np.searchsorted(cases.steps["case"], np.arange(1, len(cases)))
    counts: dict[tuple[int, ...], int] = {}
    for path in np.split(cases.steps["activity"], ends):
        key = tuple(path.tolist())
        counts[key] = counts.get(key, 0) + 1
    return counts


def _path_name(activities: list[str]) -> str:
    shown = activities if len(activities) <= _SHOWN_STEPS else activities[: _SHOWN_STEPS - 1]
    more = f" → and {len(activities) - len(shown)} more" if len(shown) < len(activities) else ""
    return " → ".join(shown) + more
