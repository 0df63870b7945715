"""Measures that only depend on the order of numbers, and the share of a spread that groups account for."""

import numpy as np
import numpy.typing as npt

from orchestration.mining.explain.cases import Flags, Floats, Ints


def rank_correlation(left: npt.NDArray[np.generic], right: npt.NDArray[np.generic]) -> float:
    """The absolute rank correlation (Spearman's, with ties at their mean rank); 0 where there is none."""
    if len(left) < 3:
        return 0.0
    ranks = [mean_ranks(values) for values in (left, right)]
    spreads = [float(rank.std()) for rank in ranks]
    if min(spreads) == 0.0:
        return 0.0
    covariance = float(np.mean((ranks[0] - ranks[0].mean()) * (ranks[1] - ranks[1].mean())))
    return abs(covariance) / (spreads[0] * spreads[1])


def area_under_curve(scores: npt.NDArray[np.generic], is_yes: Flags) -> float:
    """The probability that a yes has a higher score than a no (ROC AUC); 0.5 where one of them is missing."""
    yes = int(is_yes.sum())
    no = len(is_yes) - yes
    if not yes or not no:
        return 0.5
    return float((mean_ranks(scores)[is_yes].sum() - yes * (yes + 1) / 2) / (yes * no))


def correlation_ratio(values: Floats, groups: Ints) -> float:
    """The share of the values' variance that lies between groups (codes from 0): eta squared."""
    spread = float(((values - values.mean()) ** 2).sum()) if len(values) else 0.0
    if spread == 0.0:
        return 0.0
    counts = np.bincount(groups)
    means = np.bincount(groups, weights=values) / np.maximum(counts, 1)
    return float((counts * (means - values.mean()) ** 2).sum()) / spread


def mean_ranks(values: npt.NDArray[np.generic]) -> Floats:
    """The rank of each value from 1, equal ones at the mean of theirs."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    ranks: Floats = (last - (counts - 1) / 2)[inverse]
    return ranks
