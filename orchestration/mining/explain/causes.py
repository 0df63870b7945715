"""From a model to named causes: which features are real, how much they matter, and for which values.

What belongs here: attribution and its checks on cases that the model has not seen. A "cause" is a feature
that is associated with the cycle time and survives shuffling; a log cannot show more than that.
"""

from dataclasses import dataclass

import numpy as np

from orchestration.mining.explain.cases import PERFORMER_COLUMNS, Floats
from orchestration.mining.explain.config import ExplainConfig
from orchestration.mining.explain.features import MISSING, Feature, binned, describe
from orchestration.mining.explain.model import CycleTimeModel, Split

OTHER_FEATURES = "(other features)"


@dataclass(frozen=True)
class Effect:
    """One value against all other cases: `adjusted` for the other features by the model; `raw` is not."""

    column: str
    value: str
    cases: int
    share: float
    adjusted_seconds: float
    raw_seconds: float

    @property
    def weight(self) -> float:
        """What the value alone contributes to a case on average, in seconds, without its sign."""
        return 2 * self.share * (1 - self.share) * abs(self.adjusted_seconds)


@dataclass(frozen=True)
class Cause:
    """One group of features, with its mean absolute contribution and what shuffling it adds to the error."""

    group: str
    name: str
    role: str
    importance_seconds: float
    gain_seconds: float
    gain_error_seconds: float
    effects: tuple[Effect, ...]
    twins: tuple[str, ...]


def rank_causes(
    model: CycleTimeModel, matrix: Floats, seconds: Floats, split: Split, config: ExplainConfig
) -> list[Cause]:
    """The real causes of a window, the most important first.

    Args:
        model: The window's model.
        matrix: The sample's feature matrix with NaN for missing values, shape (cases, features).
        seconds: Their cycle times.
        split: Who was unseen in training: importance, gain and adjusted effects are measured on those.
        config: The thresholds.
    """
    unseen = model.space.model_matrix(matrix[split.test])
    gains = _shuffle_gains(model, unseen, seconds[split.test], config)
    least = config.least_gain_share * model.fit.baseline_error_seconds
    real = [g for g, (gain, error) in gains.items() if gain > max(least, config.least_gain_errors * error)]
    if not real:
        return []
    contributions = model.contributions_seconds(unseen)
    causes = []
    for group in real:
        columns = group_columns(model, group)
        total = contributions[:, columns].sum(axis=1)
        features = [model.space.features[column] for column in columns]
        effects = [
            effect
            for column, feature in zip(columns, features, strict=True)
            for effect in _effects(feature, matrix[:, column], seconds, total, split, config)
        ]
        importance = float(np.abs(total).mean())
        effects = [effect for effect in effects if effect.weight >= config.least_value_weight * importance]
        effects.sort(key=lambda effect: (-effect.weight, effect.column, effect.value))
        causes.append(
            Cause(
                group=group,
                name=features[0].name,
                role=features[0].role,
                importance_seconds=importance,
                gain_seconds=gains[group][0],
                gain_error_seconds=gains[group][1],
                effects=tuple(effects[: config.most_values_shown]),
                twins=tuple(sorted({twin for feature in features for twin in feature.twins})),
            )
        )
    causes.sort(key=lambda cause: (-cause.importance_seconds, cause.group))
    return causes[: config.most_causes]


def group_columns(model: CycleTimeModel, group: str) -> list[int]:
    """The columns of one group of features."""
    return [index for index, feature in enumerate(model.space.features) if feature.group == group]


def _shuffle_gains(
    model: CycleTimeModel, unseen: Floats, seconds: Floats, config: ExplainConfig
) -> dict[str, tuple[float, float]]:
    """Per group in use: how shuffling its columns raises the mean absolute error, and the standard error."""
    used = model.used_features()
    groups = sorted({feature.group for feature, use in zip(model.space.features, used, strict=True) if use})
    error = np.abs(seconds - model.predict_seconds(unseen))
    order = np.random.default_rng(config.seed).permutation(len(unseen))
    gains = {}
    for group in groups:
        columns = group_columns(model, group)
        shuffled = unseen.copy()
        shuffled[:, columns] = unseen[order][:, columns]
        rise = np.abs(seconds - model.predict_seconds(shuffled)) - error
        gains[group] = (float(rise.mean()), float(rise.std()) / float(np.sqrt(len(rise))))
    return gains


def _effects(
    feature: Feature,
    column: Floats,
    seconds: Floats,
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
        effects.append(
            Effect(
                column=describe(feature),
                value=labels[code] if code >= 0 else MISSING,
                cases=int(exposed.sum()),
                share=float(exposed.mean()),
                adjusted_seconds=float(contribution[seen].mean() - contribution[rest].mean()),
                raw_seconds=float(seconds[exposed].mean() - seconds[asked & ~exposed].mean()),
            )
        )
    return effects
