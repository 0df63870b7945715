"""Which causes are needed: a feature that goes along with another one can be left out, and nothing is lost.

Shuffling tells what a model uses. Of two features that say nearly the same it uses both, now and then, though one of
them has nothing to do with the target. So each cause, the weakest first, is left out of a model of the causes alone.
"""

from collections.abc import Sequence

import numpy as np

from orchestration.mining.explain.cases import CaseSet, Floats
from orchestration.mining.explain.causes import Cause
from orchestration.mining.explain.config import ExplainConfig
from orchestration.mining.explain.features import FeatureSpace
from orchestration.mining.explain.model import Split, TargetModel, fit_model


def needed_causes(
    model: TargetModel,
    cases: CaseSet,
    matrix: Floats,
    split: Split,
    causes: Sequence[Cause],
    config: ExplainConfig,
) -> list[Cause]:
    """The causes without which later cases are predicted worse, in their order.

    Args:
        model: The model of all features.
        cases: The sample.
        matrix: Its feature matrix, with NaN for missing values.
        split: The train and test cases.
        causes: The causes of the model, the most important first.
        config: The thresholds: those of a gain.
    """
    if not causes:
        return []
    kept = list(causes)
    least = config.least_gain_share * model.fit.baseline_error
    losses = _losses_with(kept, model, cases, matrix, split, config)
    for cause in reversed(causes):
        if len(kept) == 1:
            break
        others = [other for other in kept if other is not cause]
        without = _losses_with(others, model, cases, matrix, split, config)
        rise = without - losses
        error = float(rise.std()) / float(np.sqrt(len(rise)))
        if float(rise.mean()) <= max(least, config.least_gain_errors * error):
            kept, losses = others, without
    return kept


def _losses_with(
    causes: Sequence[Cause],
    model: TargetModel,
    cases: CaseSet,
    matrix: Floats,
    split: Split,
    config: ExplainConfig,
) -> Floats:
    """The loss of each test case under a model of these causes' features."""
    groups = {cause.group for cause in causes}
    columns = [index for index, feature in enumerate(model.space.features) if feature.group in groups]
    space = FeatureSpace(tuple(model.space.features[index] for index in columns), ())
    filled = space.model_matrix(matrix[:, columns])
    smaller = fit_model(cases, space, filled, split, model.objective, config, model.threads)
    return model.objective.losses(cases.values[split.test], smaller.predict(filled[split.test]))
