"""How much of a difference of two means lies in what cases there are, and how much in how the same cases do.

A two-way regression of the value on the side and on an attribute's values (ordinary least squares) splits the
difference exactly: the mix is what the other shares of the values make at equal means, the rest is the difference at
equal values (the pooled decomposition of Kitagawa, Oaxaca and Blinder). Attributes are taken one at a time, each given
those before it, so that one that only goes along with another adds nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from orchestration.mining.explain.bottleneck import Candidate
from orchestration.mining.explain.cases import Flags, Floats, Ints
from orchestration.mining.explain.config import ExplainConfig
from orchestration.mining.explain.features import MISSING
from orchestration.mining.explain.intervals import Interval


@dataclass(frozen=True)
class ValueShift:
    """A value's share of either side's cases, and what the change of its share makes of the difference."""

    value: str
    cases: tuple[int, int]
    shares: tuple[float, float]
    effect: float


@dataclass(frozen=True)
class MixEffect:
    """What the other shares of an attribute's values make of the difference of the means."""

    name: str
    effect: float
    standard_error: float
    values: tuple[ValueShift, ...]


@dataclass(frozen=True)
class RateChange:
    """By how much more one value's mean changed than that of all other cases."""

    name: str
    value: str
    cases: tuple[int, int]
    means: tuple[float, float]
    change: float
    excess: float
    standard_error: float


@dataclass(frozen=True)
class Difference:
    """The difference of the target's means: what the mix of cases makes, and what is left at equal attributes.

    `explained_variance` is the share of the values' variance that side and mix go with.
    """

    means: tuple[float, float]
    cases: tuple[int, int]
    difference: float
    standard_error: float
    interval: Interval
    mix: Sequence[MixEffect]
    within: float
    within_error: float
    rates: Sequence[RateChange]
    explained_variance: float


@dataclass(frozen=True)
class _Fit:
    """The regression on one attribute: what each value adds, and the mix that follows."""

    adds: Floats
    counts: tuple[Ints, Ints]
    effect: float
    standard_error: float


def decompose(
    values: Floats, is_compared: Flags, candidates: Sequence[Candidate], config: ExplainConfig
) -> tuple[list[MixEffect], Floats]:
    """The mix effects beyond chance, the largest first, and the values without what they account for.

    Args:
        values: The target of the cases of both sides.
        is_compared: Which side a case is on.
        candidates: Attributes, with a code per case.
        config: The thresholds.
    """
    rest, remaining = values, list(candidates)
    effects: list[MixEffect] = []
    while remaining and len(effects) < config.most_factors:
        fits = [_fit(rest, is_compared, candidate) for candidate in remaining]
        sizes = [
            abs(fit.effect) if abs(fit.effect) > config.least_change_errors * fit.standard_error else 0.0
            for fit in fits
        ]
        best = int(np.argmax(sizes))
        if sizes[best] == 0.0:
            break
        chosen, fit = remaining.pop(best), fits[best]
        effects.append(_mix_effect(chosen, fit, config))
        rest = rest - fit.adds[_codes(chosen)]
    return effects, rest


def rate_changes(
    values: Floats, is_compared: Flags, candidates: Sequence[Candidate], config: ExplainConfig
) -> list[RateChange]:
    """The values whose mean changed otherwise than that of the other cases, beyond chance; the weightiest first.

    Each is given those before it: their excess is taken away first.
    """
    rest = values
    found: list[RateChange] = []
    flags = [
        (candidate, code, _codes(candidate) == code)
        for candidate in candidates
        for code in range(len(candidate.labels) + 1)
    ]
    while len(found) < config.most_factors:
        best: tuple[float, RateChange, Flags] | None = None
        for candidate, code, exposed in flags:
            change = _rate_change(candidate, code, exposed, rest, values, is_compared, config)
            if change is None or abs(change.excess) <= config.least_change_errors * change.standard_error:
                continue
            share = float(exposed.mean())
            weight = abs(change.excess) * share * (1 - share)
            if best is None or weight > best[0]:
                best = weight, change, exposed
        if best is None:
            break
        found.append(best[1])
        rest = np.where(best[2] & is_compared, rest - best[1].excess, rest)
    return found


def _codes(candidate: Candidate) -> Ints:
    """The codes, with a missing value as the last."""
    return np.where(candidate.codes < 0, len(candidate.labels), candidate.codes)


def _fit(values: Floats, is_compared: Flags, candidate: Candidate) -> _Fit:
    codes, groups = _codes(candidate), len(candidate.labels) + 1
    sides = [(codes[side], values[side]) for side in (~is_compared, is_compared)]
    reference, compared = (np.bincount(code, minlength=groups) for code, _ in sides)
    sums = [np.bincount(code, weights=value, minlength=groups) for code, value in sides]
    both = reference + compared
    weight = reference * compared / np.maximum(both, 1)
    if not weight.sum():
        return _Fit(np.zeros(groups), (reference, compared), 0.0, 0.0)
    means = [total / np.maximum(count, 1) for total, count in zip(sums, (reference, compared), strict=True)]
    within = float((weight * (means[1] - means[0])).sum() / weight.sum())
    adds = (sums[0] + sums[1] - compared * within) / np.maximum(both, 1)
    adds = np.where(both > 0, adds - float((both * adds).sum() / both.sum()), 0.0)
    shares = reference / reference.sum(), compared / compared.sum()
    moved = shares[1] - shares[0]
    residual = values - adds[codes] - within * is_compared
    noise = float(residual.var())
    # What the shares may be by chance, and what the values' means may be.
    variance = sum(
        float((share * adds**2).sum() - (share * adds).sum() ** 2) / count.sum()
        for share, count in zip(shares, (reference, compared), strict=True)
    ) + float((moved**2 * noise / np.maximum(both, 1)).sum())
    return _Fit(adds, (reference, compared), float((moved * adds).sum()), float(np.sqrt(variance)))


def _mix_effect(candidate: Candidate, fit: _Fit, config: ExplainConfig) -> MixEffect:
    names = (*candidate.labels, MISSING)
    shares = [count / count.sum() for count in fit.counts]
    shifts = [
        ValueShift(
            names[code],
            (int(fit.counts[0][code]), int(fit.counts[1][code])),
            (float(shares[0][code]), float(shares[1][code])),
            float((shares[1][code] - shares[0][code]) * fit.adds[code]),
        )
        for code in range(len(names))
    ]
    shifts.sort(key=lambda shift: (-abs(shift.effect), shift.value))
    return MixEffect(
        candidate.name, fit.effect, fit.standard_error, tuple(shifts[: config.most_values_shown])
    )


def _rate_change(
    candidate: Candidate,
    code: int,
    exposed: Flags,
    rest: Floats,
    values: Floats,
    is_compared: Flags,
    config: ExplainConfig,
) -> RateChange | None:
    """The value's change against that of all others; None where one of the four cells has too few cases."""
    cells = [exposed & ~is_compared, exposed & is_compared, ~exposed & ~is_compared, ~exposed & is_compared]
    counts = [int(cell.sum()) for cell in cells]
    if min(counts) < config.value_cases:
        return None
    means = [float(rest[cell].mean()) for cell in cells]
    variance = sum(float(rest[cell].var(ddof=1)) / count for cell, count in zip(cells, counts, strict=True))
    own = float(values[cells[0]].mean()), float(values[cells[1]].mean())
    return RateChange(
        name=candidate.name,
        value=(*candidate.labels, MISSING)[code],
        cases=(counts[0], counts[1]),
        means=own,
        change=own[1] - own[0],
        excess=(means[1] - means[0]) - (means[3] - means[2]),
        standard_error=float(np.sqrt(variance)),
    )
