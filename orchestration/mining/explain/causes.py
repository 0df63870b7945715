"""From a model to named causes: which features are real, how much they matter, and for which values.

What belongs here: attribution and its checks on cases that the model has not seen. A "cause" is a feature
that is associated with the target and survives shuffling; a log cannot show more than that.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from orchestration.mining.explain.cases import PERFORMER_COLUMNS, Floats
from orchestration.mining.explain.config import ExplainConfig
from orchestration.mining.explain.features import MISSING, Feature, binned, describe
from orchestration.mining.explain.intervals import Interval, mean_difference, resampled_mean
from orchestration.mining.explain.model import Split, TargetModel
from orchestration.mining.explain.question import Unit

OTHER_FEATURES = "(other features)"


@dataclass(frozen=True)
class Effect:
    """One value against all other cases, in the target's unit: `adjusted` for the other features by the model.

    `raw` is the plain difference of means, with its 90 % confidence interval. The adjusted one has none: the model
    shrinks it, so that an interval around it would promise what it does not keep.
    """

    column: str
    value: str
    cases: int
    share: float
    adjusted: float
    raw: float
    raw_interval: Interval

    @property
    def weight(self) -> float:
        """What the value alone contributes to a case on average, without its sign."""
        return 2 * self.share * (1 - self.share) * abs(self.adjusted)

    def figures(self, unit: Unit) -> dict[str, Any]:
        """As JSON."""
        return {
            "column": self.column,
            "value": self.value,
            "cases": self.cases,
            "share": self.share,
            f"adjusted_{unit}": self.adjusted,
            f"raw_{unit}": self.raw,
            f"raw_confidence_interval_90_{unit}": self.raw_interval,
        }


@dataclass(frozen=True)
class Cause:
    """One group of features, with its mean absolute contribution and what shuffling it adds to the mean loss.

    The gain's interval is the 5 % to 95 % range over resampled test cases, for this one model: how stable its gain is.
    """

    group: str
    name: str
    tag: str
    importance: float
    gain: float
    gain_error: float
    gain_interval: Interval
    effects: tuple[Effect, ...]
    twins: tuple[str, ...]

    def figures(self, unit: Unit) -> dict[str, Any]:
        """As JSON. The gain is in the unit of the loss: seconds, or nats of log loss."""
        loss = "seconds" if unit == "seconds" else "log_loss"
        return {
            "group": self.group,
            "name": self.name,
            "tag": self.tag,
            f"importance_{unit}": self.importance,
            f"gain_{loss}": self.gain,
            f"gain_error_{loss}": self.gain_error,
            f"gain_stability_interval_90_{loss}": self.gain_interval,
            "effects": [effect.figures(unit) for effect in self.effects],
            "twins": self.twins,
        }


def rank_causes(
    model: TargetModel, matrix: Floats, values: Floats, split: Split, config: ExplainConfig
) -> list[Cause]:
    """The real causes of a window, the most important first.

    Args:
        model: The window's model.
        matrix: The sample's feature matrix with NaN for missing values, shape (cases, features).
        values: Their values of the target.
        split: Who was unseen in training: importance, gain and adjusted effects are measured on those.
        config: The thresholds.
    """
    unseen = model.space.model_matrix(matrix[split.test])
    gains = _shuffle_gains(model, unseen, values[split.test], config)
    least = config.least_gain_share * model.fit.baseline_error
    real = [g for g, (gain, error, _) in gains.items() if gain > max(least, config.least_gain_errors * error)]
    if not real:
        return []
    contributions = model.contributions(unseen)
    causes = []
    for group in real:
        columns = group_columns(model, group)
        total = contributions[:, columns].sum(axis=1)
        features = [model.space.features[column] for column in columns]
        effects = [
            effect
            for column, feature in zip(columns, features, strict=True)
            for effect in _effects(feature, matrix[:, column], values, total, split, config)
        ]
        importance = float(np.abs(total).mean())
        effects = [effect for effect in effects if effect.weight >= config.least_value_weight * importance]
        gain, error, interval = gains[group]
        effects.sort(key=lambda effect: (-effect.weight, effect.column, effect.value))
        causes.append(
            Cause(
                group=group,
                name=features[0].name,
                tag=features[0].tag,
                importance=importance,
                gain=gain,
                gain_error=error,
                gain_interval=interval,
                effects=tuple(effects[: config.most_values_shown]),
                twins=tuple(sorted({twin for feature in features for twin in feature.twins})),
            )
        )
    causes.sort(key=lambda cause: (-cause.importance, cause.group))
    return causes[: config.most_causes]


def group_columns(model: TargetModel, group: str) -> list[int]:
    """The columns of one group of features."""
    return [index for index, feature in enumerate(model.space.features) if feature.group == group]


def _shuffle_gains(
    model: TargetModel, unseen: Floats, values: Floats, config: ExplainConfig
) -> dict[str, tuple[float, float, Interval]]:
    """Per group in use: how shuffling its columns raises the mean loss, the standard error, and the interval."""
    used = model.used_features()
    groups = sorted({feature.group for feature, use in zip(model.space.features, used, strict=True) if use})
    loss = model.objective.losses(values, model.predict(unseen))
    order = np.random.default_rng(config.seed).permutation(len(unseen))
    gains = {}
    for group in groups:
        columns = group_columns(model, group)
        shuffled = unseen.copy()
        shuffled[:, columns] = unseen[order][:, columns]
        rise = model.objective.losses(values, model.predict(shuffled)) - loss
        error = float(rise.std()) / float(np.sqrt(len(rise)))
        gains[group] = (float(rise.mean()), error, resampled_mean(rise, config.resamples, config.seed))
    return gains


def _effects(
    feature: Feature,
    column: Floats,
    values: Floats,
    contribution: Floats,
    split: Split,
    config: ExplainConfig,
) -> list[Effect]:
    """The effect of each value with enough unseen cases; `contribution` is the group's, per unseen case."""
    codes, labels = binned(feature, column)
    effects = []
    candidates = [1] if feature.kind == "flag" else [*range(len(labels)), -1]
    # Who performed a skipped activity has no answer, so its cases are on neither side of the comparison.
    asked = codes >= 0 if feature.source in PERFORMER_COLUMNS else np.ones(len(codes), bool)
    for code in candidates:
        exposed = (codes == code) & asked
        seen = exposed[split.test]
        rest = asked[split.test] & ~seen
        if min(seen.sum(), rest.sum()) < config.value_cases:
            continue
        raw, interval = mean_difference(values[exposed], values[asked & ~exposed])
        effects.append(
            Effect(
                column=describe(feature),
                value=labels[code] if code >= 0 else MISSING,
                cases=int(exposed.sum()),
                share=float(exposed.mean()),
                adjusted=float(contribution[seen].mean() - contribution[rest].mean()),
                raw=raw,
                raw_interval=interval,
            )
        )
    return effects
