"""What kind of value a target has: seconds, or yes and no. How it is learned, and how a prediction of it is judged.

What belongs here: everything that differs between the two. What does not: the model itself (``model``).
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from orchestration.mining.explain.cases import Floats
from orchestration.mining.explain.question import Unit
from orchestration.mining.explain.ranks import area_under_curve

_SECONDS_PER_HOUR = 3600.0
_CERTAIN = 1e-6
_DECIMALS = 9


@dataclass(frozen=True)
class Fit:
    """How well the holdout is predicted, beside a baseline that knows the training cases' values only.

    `skill` is the share of the baseline's mean squared error that the model takes away: R2 of seconds, where the
    baseline is the holdout's own mean; the Brier skill score of a yes/no, where it is the base rate. `error` is
    the mean loss: absolute error against the median in seconds, log loss against the base rate of a yes/no.
    """

    skill: float
    error: float
    baseline_error: float
    trees: int

    @property
    def beats_baseline(self) -> bool:
        """Whether the mean loss is smaller than the baseline's."""
        return self.error < self.baseline_error

    def measures(self) -> dict[str, float]:
        """The figures by the names that readers know."""
        return {
            "r2": self.skill,
            "error_seconds": self.error,
            "baseline_error_seconds": self.baseline_error,
            "trees": self.trees,
        }


@dataclass(frozen=True)
class YesNoFit(Fit):
    """Also the Brier scores (mean squared errors of the probability) and the area under the ROC curve."""

    brier: float
    baseline_brier: float
    auc: float

    def measures(self) -> dict[str, float]:
        """The figures by the names that readers know."""
        return {
            "brier_skill": self.skill,
            "log_loss": self.error,
            "baseline_log_loss": self.baseline_error,
            "brier": self.brier,
            "baseline_brier": self.baseline_brier,
            "auc": self.auc,
            "trees": self.trees,
        }


class Objective(ABC):
    """How a model learns the values of a target, and in which unit it answers."""

    unit: Unit
    parameters: Mapping[str, object]
    """LightGBM's own."""

    @abstractmethod
    def learned(self, values: Floats) -> Floats:
        """The values as the model learns them."""

    @abstractmethod
    def case_variance(self, learned: Floats) -> float:
        """What a split that means nothing gains on average, in the model's own measure of gain."""

    @abstractmethod
    def answers(self, raw: Floats) -> Floats:
        """The model's raw scores in the target's unit."""

    @abstractmethod
    def contributions(self, raw: Floats) -> Floats:
        """Raw contributions, the base last, in the target's unit; each row adds up to its answer."""

    @abstractmethod
    def losses(self, values: Floats, answers: Floats) -> Floats:
        """The loss of each case."""

    @abstractmethod
    def fit(self, train: Floats, test: Floats, answers: Floats, trees: int) -> Fit:
        """How well the answers for the test cases are, beside those that the train cases alone give."""


class Seconds(Objective):
    """Durations. The model learns hours with squared error."""

    unit: Unit = "seconds"
    parameters = MappingProxyType({"objective": "regression", "metric": "l2"})

    def learned(self, values: Floats) -> Floats:
        """Hours."""
        return values / _SECONDS_PER_HOUR

    def case_variance(self, learned: Floats) -> float:
        """The variance of one case."""
        return float(learned.var())

    def answers(self, raw: Floats) -> Floats:
        """Seconds."""
        return raw * _SECONDS_PER_HOUR

    def contributions(self, raw: Floats) -> Floats:
        """Seconds."""
        return raw * _SECONDS_PER_HOUR

    def losses(self, values: Floats, answers: Floats) -> Floats:
        """Absolute errors."""
        return np.abs(values - answers)

    def fit(self, train: Floats, test: Floats, answers: Floats, trees: int) -> Fit:
        """R2 and the mean absolute error, beside that of the train median."""
        spread = float(((test - test.mean()) ** 2).sum())
        return Fit(
            skill=1.0 - float(((test - answers) ** 2).sum()) / spread if spread > 0 else 0.0,
            error=float(np.abs(test - answers).mean()),
            baseline_error=float(np.abs(test - np.median(train)).mean()),
            trees=trees,
        )


class YesNo(Objective):
    """Probabilities of yes. The model learns log-odds with log loss."""

    unit: Unit = "probability"
    parameters = MappingProxyType({"objective": "binary", "metric": "binary_logloss"})

    def learned(self, values: Floats) -> Floats:
        """1 and 0."""
        return values

    def case_variance(self, learned: Floats) -> float:
        """1: a split's gain is a squared gradient in units of its own variance."""
        return 1.0

    def answers(self, raw: Floats) -> Floats:
        """Probabilities."""
        return np.asarray(1.0 / (1.0 + np.exp(-raw)))

    def contributions(self, raw: Floats) -> Floats:
        """Probability points: contributions to the log-odds, scaled by the slope of the logistic curve's chord.

        The chord goes from the base to the case's own log-odds, so that a row adds up exactly. Rounded, since the
        last digits of an exponential are not the same on every machine.
        """
        base, total = raw[:, -1], raw.sum(axis=1)
        low, high = self.answers(base), self.answers(total)
        rise = total - base
        slope = np.where(
            np.abs(rise) > _CERTAIN, (high - low) / np.where(rise == 0, 1, rise), low * (1 - low)
        )
        points: Floats = np.column_stack([raw[:, :-1] * slope[:, None], low])
        return points.round(_DECIMALS)

    def losses(self, values: Floats, answers: Floats) -> Floats:
        """Log losses."""
        sure = np.clip(answers, _CERTAIN, 1 - _CERTAIN)
        losses: Floats = -np.log(np.where(values == 1.0, sure, 1.0 - sure).astype(np.float64))
        return losses

    def fit(self, train: Floats, test: Floats, answers: Floats, trees: int) -> YesNoFit:
        """Brier score and log loss, beside those of the train cases' share of yes; area under the curve."""
        rate = np.full(len(test), train.mean())
        brier, baseline = (float(((test - told) ** 2).mean()) for told in (answers, rate))
        return YesNoFit(
            skill=1.0 - brier / baseline if baseline > 0 else 0.0,
            error=float(self.losses(test, answers).mean()),
            baseline_error=float(self.losses(test, rate).mean()),
            trees=trees,
            brier=brier,
            baseline_brier=baseline,
            auc=area_under_curve(answers, test == 1.0),
        )


OBJECTIVES: dict[Unit, Objective] = {"seconds": Seconds(), "probability": YesNo()}
