"""Where the time goes: transitions by their share of all elapsed time, and what goes with the slow ones.

What belongs here: ranking transitions and choosing factors one at a time, each given those before it, so
that an attribute that only correlates with the real factor adds nothing. What does not: whole
cycle times (`causes`).
"""

from dataclasses import dataclass, replace

import numpy as np

from orchestration.mining.explain.cases import PERFORMER_COLUMNS, CaseSet, Floats, Ints, Rows
from orchestration.mining.explain.config import ExplainConfig
from orchestration.mining.explain.features import (
    KNOWN_AT_START,
    MISSING,
    Feature,
    FeatureSpace,
    binned,
    code_performers,
    describe,
)
from orchestration.mining.explain.population import Labels, Transitions


@dataclass(frozen=True)
class FactorValue:
    """One value against the rest: mean seconds more, given the factors before it, and plainly compared."""

    value: str
    count: int
    adjusted_seconds: float
    raw_seconds: float


@dataclass(frozen=True)
class Factor:
    """One chosen factor and the share of the variance that it adds."""

    name: str
    tag: str
    gain: float
    values: tuple[FactorValue, ...]


@dataclass(frozen=True)
class Bottleneck:
    """One transition over all completed cases of a window; times are in seconds.

    Counts, totals and means are of all passages, quantiles and factors of the `sampled` ones.
    """

    source: str
    target: str
    count: int
    share: float
    total_seconds: float
    mean_seconds: float
    median_seconds: float
    p90_seconds: float
    sampled: int
    factors: tuple[Factor, ...]


@dataclass(frozen=True)
class Candidate:
    """What may go with a wait: a code per wait (-1: missing) and the codes' names."""

    name: str
    tag: str
    codes: Ints
    labels: tuple[str, ...]


def find_bottlenecks(
    transitions: Transitions,
    sample: CaseSet,
    space: FeatureSpace,
    matrix: Floats,
    labels: Labels,
    config: ExplainConfig,
) -> list[Bottleneck]:
    """The transitions that take most time in total, each with its factors.

    Args:
        transitions: Those of all completed cases of the window.
        sample: The window's sample, on which quantiles are measured and factors chosen.
        space: The window's features.
        matrix: The sample's feature matrix, with NaN for missing values.
        labels: Names of the codes.
        config: The thresholds.
    """
    known = [
        candidate_of(feature, matrix[:, index])
        for index, feature in enumerate(space.features)
        if feature.tag == KNOWN_AT_START
    ]
    all_us = sum(total_us for _, total_us in transitions.values())
    longest = sorted(transitions, key=lambda transition: (-transitions[transition][1], transition))
    bottlenecks = []
    for transition in longest[: config.bottlenecks]:
        passed, total_us = transitions[transition]
        steps = _steps_on(sample, transition)
        if not total_us or not len(steps["wait_us"]):
            continue
        waits = steps["wait_us"] / 1e6
        candidates = [
            *(replace(candidate, codes=candidate.codes[steps["case"]]) for candidate in known),
            *_performer_candidates(space, steps, transition[1]),
        ]
        median, p90 = np.quantile(waits, [0.5, 0.9])
        bottlenecks.append(
            Bottleneck(
                source=labels["activity"][transition[0]],
                target=labels["activity"][transition[1]],
                count=passed,
                share=total_us / all_us,
                total_seconds=total_us / 1e6,
                mean_seconds=total_us / passed / 1e6,
                median_seconds=float(median),
                p90_seconds=float(p90),
                sampled=len(waits),
                factors=tuple(select_factors(waits, candidates, config)),
            )
        )
    return bottlenecks


def _steps_on(sample: CaseSet, transition: tuple[int, int]) -> Rows:
    """The sample's steps from the one activity to the other."""
    same = (sample.steps["previous"] == transition[0]) & (sample.steps["activity"] == transition[1])
    on = np.flatnonzero(same)
    return {name: column[on] for name, column in sample.steps.items()}


def _performer_candidates(space: FeatureSpace, steps: Rows, activity: int) -> list[Candidate]:
    """Who performed each of the steps, which all are of this activity."""
    return [
        candidate_of(feature, code_performers(feature, steps[feature.source]))
        for feature in space.features
        if feature.source in PERFORMER_COLUMNS and feature.codes[0] == activity
    ]


def candidate_of(feature: Feature, column: Floats) -> Candidate:
    """A column of a feature matrix as a candidate."""
    codes, names = binned(feature, column)
    return Candidate(describe(feature), feature.tag, codes, names)


def select_factors(waits: Floats, candidates: list[Candidate], config: ExplainConfig) -> list[Factor]:
    """Choose factors one by one while the next one explains enough more of the variance.

    A value's mean is shrunk by n / (n + k), so that rare values do not win by chance, and the gain is charged
    for the number of values.
    """
    spread = float(((waits - waits.mean()) ** 2).sum()) if len(waits) else 0.0
    if len(waits) < config.least_transition_cases or spread == 0.0:
        return []
    residual = waits - waits.mean()
    remaining = list(candidates)
    factors: list[Factor] = []
    while remaining and len(factors) < config.most_factors:
        gains = [_adjusted_gain(residual, candidate, spread, config) for candidate in remaining]
        best = int(np.argmax(gains))
        if gains[best] <= 0.0:
            break
        chosen = remaining.pop(best)
        values = tuple(_factor_values(waits, residual, chosen, config))
        factors.append(Factor(chosen.name, chosen.tag, gains[best], values))
        counts, totals = _group_totals(residual, chosen)
        residual = residual - (totals / (counts + config.shrinkage_cases))[chosen.codes]
    return factors


def _group_totals(residual: Floats, candidate: Candidate) -> tuple[Ints, Floats]:
    """The number of waits and their residuals' total per code; the last entry is that of missing values (-1)."""
    codes = np.where(candidate.codes < 0, len(candidate.labels), candidate.codes)
    groups = len(candidate.labels) + 1
    totals = np.bincount(codes, weights=residual, minlength=groups).astype(np.float64)
    return np.bincount(codes, minlength=groups), totals


def _adjusted_gain(residual: Floats, candidate: Candidate, spread: float, config: ExplainConfig) -> float:
    """The share of the variance that the candidate explains beyond chance; 0 if that may be chance itself.

    Groups that mean nothing explain (groups - 1) / n of the variance on average, with a standard error of
    sqrt(2 (groups - 1)) / n.
    """
    before = float((residual**2).sum())
    counts, totals = _group_totals(residual, candidate)
    means = totals / (counts + config.shrinkage_cases)
    # What taking each group's mean away takes from the sum of squares.
    explained = float((2 * means * totals - counts * means**2).sum())
    degrees = int(np.count_nonzero(counts)) - 1
    gain = (explained - before * degrees / len(residual)) / spread
    chance = config.least_factor_errors * float(np.sqrt(2 * degrees)) / len(residual)
    return gain if gain >= max(config.least_adjusted_gain, chance) else 0.0


def _factor_values(
    waits: Floats, residual: Floats, chosen: Candidate, config: ExplainConfig
) -> list[FactorValue]:
    weighed = []
    for code in (*range(len(chosen.labels)), -1):
        exposed = chosen.codes == code
        share = float(exposed.mean())
        if min(int(exposed.sum()), int((~exposed).sum())) < config.value_cases:
            continue
        adjusted = float(residual[exposed].mean() - residual[~exposed].mean())
        raw = float(waits[exposed].mean() - waits[~exposed].mean())
        name = chosen.labels[code] if code >= 0 else MISSING
        weighed.append(
            (abs(adjusted) * share * (1 - share), FactorValue(name, int(exposed.sum()), adjusted, raw))
        )
    weighed.sort(key=lambda pair: (-pair[0], pair[1].value))
    return [value for _, value in weighed[: config.most_values_shown]]
