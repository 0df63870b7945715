"""Intervals, each called what it is: one of a difference of means, and one of a figure over resampled cases."""

import numpy as np

from orchestration.mining.explain.cases import Floats

Interval = tuple[float, float]

_NORMAL_95 = 1.6448536269514722


def mean_difference(left: Floats, right: Floats) -> tuple[float, Interval]:
    """The difference of two means and its 90 % confidence interval (Welch's standard error, normal quantile)."""
    difference = float(left.mean() - right.mean())
    reach = _NORMAL_95 * standard_error(left, right)
    return difference, (difference - reach, difference + reach)


def standard_error(*samples: Floats) -> float:
    """The standard error of a sum or difference of the means of independent samples."""
    return float(np.sqrt(sum(float(s.var(ddof=1)) / len(s) if len(s) > 1 else np.inf for s in samples)))


def resampled_mean(values: Floats, resamples: int, seed: int) -> Interval:
    """The 5 % and 95 % quantiles of the mean over resamples of the values with replacement (bootstrap)."""
    places = np.random.default_rng(seed).integers(0, len(values), (resamples, len(values)))
    low, high = np.quantile(values[places].mean(axis=1), (0.05, 0.95))
    return float(low), float(high)
