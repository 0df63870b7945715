"""The model of a window's target, and the gate that refuses it.

What belongs here: the split in time, the fit, its error on cases that it has not seen, and contributions per
feature. What does not: deciding which features are causes worth naming (`causes`).
"""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from orchestration.mining.explain.cases import CaseSet, Flags, Floats, Ints
from orchestration.mining.explain.config import ExplainConfig
from orchestration.mining.explain.features import FeatureSpace
from orchestration.mining.explain.objective import Fit, Objective

if TYPE_CHECKING:
    import lightgbm


@dataclass(frozen=True)
class Split:
    """Indices into a sample: train cases had ended when the test cases began (`at_us`, microseconds UTC)."""

    at_us: int
    train: Ints
    test: Ints


@dataclass(frozen=True)
class TargetModel:
    """A fitted model, and how it did on the test cases."""

    booster: "lightgbm.Booster"
    space: FeatureSpace
    objective: Objective
    fit: Fit
    threads: int

    def predict(self, matrix: Floats) -> Floats:
        """Predicted values of the target for rows of the feature space's `model_matrix`."""
        raw = self.booster.predict(matrix, raw_score=True, num_threads=self.threads)
        return self.objective.answers(np.asarray(raw, dtype=np.float64))

    def contributions(self, matrix: Floats) -> Floats:
        """Shape (rows, features + 1): contributions and, last, the base; a row adds up to its prediction."""
        raw = self.booster.predict(matrix, pred_contrib=True, num_threads=self.threads)
        return self.objective.contributions(np.asarray(raw, dtype=np.float64))

    def used_features(self) -> Flags:
        """Which features any tree splits on."""
        return np.asarray(self.booster.feature_importance("split")) > 0


def split_in_time(cases: CaseSet, config: ExplainConfig) -> Split:
    """Split a sample at a quantile of its start times; cases that straddle it are in neither part."""
    at_us = int(np.quantile(cases.start_us, config.split_quantile, method="inverted_cdf"))
    test = np.flatnonzero(cases.start_us >= at_us)
    by_key = test[np.argsort(cases.sample_key[test], kind="stable")]
    return Split(at_us, np.flatnonzero(cases.end_us < at_us), np.sort(by_key[: config.most_test_cases]))


def fit_model(
    cases: CaseSet,
    space: FeatureSpace,
    matrix: Floats,
    split: Split,
    objective: Objective,
    config: ExplainConfig,
    threads: int,
) -> TargetModel:
    """Fit on the train cases, stop early by a fifth of them, and measure on the test cases.

    Args:
        cases: The sample, with the values of the target.
        space: Its features.
        matrix: The sample's `model_matrix`.
        split: The train and test cases.
        objective: That of the target.
        config: The parameters.
        threads: How many threads; the result is the same for any number.
    """
    # Imported here, as it takes a while and most of casetrail's commands explain nothing.
    import lightgbm

    learned = objective.learned(cases.values)
    # The hash decides who stops the training, so it is one random fifth, whatever the order of the cases.
    held = cases.sample_key[split.train] % 5 == 0
    fitted, stopper = split.train[~held], split.train[held]
    categories = [index for index, feature in enumerate(space.features) if feature.kind == "category"]
    train_set = lightgbm.Dataset(matrix[fitted], learned[fitted], categorical_feature=categories)
    stop_set = train_set.create_valid(matrix[stopper], learned[stopper])
    booster = lightgbm.train(
        _parameters(learned[fitted], objective, config, threads),
        train_set,
        num_boost_round=config.trees,
        valid_sets=[stop_set],
        callbacks=[lightgbm.early_stopping(config.patience, verbose=False)],
    )
    model = TargetModel(booster, space, objective, Fit(0.0, 0.0, 0.0, 0), threads)
    values = cases.values
    fit = objective.fit(
        values[split.train],
        values[split.test],
        model.predict(matrix[split.test]),
        int(booster.best_iteration),
    )
    return replace(model, fit=fit)


def _parameters(
    learned: Floats, objective: Objective, config: ExplainConfig, threads: int
) -> dict[str, object]:
    return {
        **objective.parameters,
        "learning_rate": config.learning_rate,
        "num_leaves": config.leaves,
        "max_bin": config.bins,
        "min_data_in_leaf": max(20, len(learned) // 200),
        "min_gain_to_split": config.least_split_variances * objective.case_variance(learned),
        "min_data_per_group": 20,
        "cat_smooth": 20.0,
        "lambda_l2": 1.0,
        "seed": config.seed,
        "deterministic": True,
        "force_row_wise": True,
        "num_threads": threads,
        "verbosity": -1,
    }
