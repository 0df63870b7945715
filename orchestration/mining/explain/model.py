"""The model of a window's cycle times, and the gate that refuses it.

What belongs here: the split in time, the fit, its error on cases that it has not seen, and contributions per
feature. What does not: deciding which features are causes worth naming (`causes`).
"""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from orchestration.mining.explain.cases import CaseSet, Flags, Floats, Ints
from orchestration.mining.explain.config import ExplainConfig
from orchestration.mining.explain.features import FeatureSpace

if TYPE_CHECKING:
    import lightgbm

SECONDS_PER_HOUR = 3600.0


@dataclass(frozen=True)
class Split:
    """Indices into a sample: train cases had ended when the test cases began (`at_us`, microseconds UTC)."""

    at_us: int
    train: Ints
    test: Ints


@dataclass(frozen=True)
class Fit:
    """How well the model predicts the test cases, beside the train median; errors are mean absolute."""

    r2: float
    error_seconds: float
    baseline_error_seconds: float
    trees: int


@dataclass(frozen=True)
class CycleTimeModel:
    """A fitted model; its target is hours, its answers are seconds."""

    booster: "lightgbm.Booster"
    space: FeatureSpace
    fit: Fit
    threads: int

    def predict_seconds(self, matrix: Floats) -> Floats:
        """Predicted cycle times for rows of the feature space's `model_matrix`."""
        hours = self.booster.predict(matrix, num_threads=self.threads)
        return np.asarray(hours, dtype=np.float64) * SECONDS_PER_HOUR

    def contributions_seconds(self, matrix: Floats) -> Floats:
        """Shape (rows, features + 1): contributions and, last, the base; a row adds up to its prediction."""
        hours = self.booster.predict(matrix, pred_contrib=True, num_threads=self.threads)
        return np.asarray(hours, dtype=np.float64) * SECONDS_PER_HOUR

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
    cases: CaseSet, space: FeatureSpace, matrix: Floats, split: Split, config: ExplainConfig, threads: int
) -> CycleTimeModel:
    """Fit on the train cases, stop early by a fifth of them, and measure on the test cases.

    Args:
        cases: The sample.
        space: Its features.
        matrix: The sample's `model_matrix`.
        split: The train and test cases.
        config: The parameters.
        threads: How many threads; the result is the same for any number.
    """
    # Imported here, as it takes a while and most of casetrail's commands explain nothing.
    import lightgbm

    hours = cases.cycle_us / 1e6 / SECONDS_PER_HOUR
    # The hash decides who stops the training, so it is one random fifth, whatever the order of the cases.
    held = cases.sample_key[split.train] % 5 == 0
    fitted, stopper = split.train[~held], split.train[held]
    categories = [index for index, feature in enumerate(space.features) if feature.kind == "category"]
    train_set = lightgbm.Dataset(matrix[fitted], hours[fitted], categorical_feature=categories)
    stop_set = train_set.create_valid(matrix[stopper], hours[stopper])
    booster = lightgbm.train(
        _parameters(hours[fitted], config, threads),
        train_set,
        num_boost_round=config.trees,
        valid_sets=[stop_set],
        callbacks=[lightgbm.early_stopping(config.patience, verbose=False)],
    )
    model = CycleTimeModel(booster, space, Fit(0.0, 0.0, 0.0, 0), threads)
    return replace(model, fit=_measure(model, matrix, cases.cycle_us / 1e6, split))


def _measure(model: CycleTimeModel, matrix: Floats, seconds: Floats, split: Split) -> Fit:
    truth = seconds[split.test]
    residual = truth - model.predict_seconds(matrix[split.test])
    spread = float(((truth - truth.mean()) ** 2).sum())
    return Fit(
        r2=1.0 - float((residual**2).sum()) / spread if spread > 0 else 0.0,
        error_seconds=float(np.abs(residual).mean()),
        baseline_error_seconds=float(np.abs(truth - np.median(seconds[split.train])).mean()),
        trees=int(model.booster.best_iteration),
    )


def _parameters(hours: Floats, config: ExplainConfig, threads: int) -> dict[str, object]:
    return {
        "objective": "regression",
        "metric": "l2",
        "learning_rate": config.learning_rate,
        "num_leaves": config.leaves,
        "max_bin": config.bins,
        "min_data_in_leaf": max(20, len(hours) // 200),
        "min_gain_to_split": config.least_split_variances * float(hours.var()),
        "min_data_per_group": 20,
        "cat_smooth": 20.0,
        "lambda_l2": 1.0,
        "seed": config.seed,
        "deterministic": True,
        "force_row_wise": True,
        "num_threads": threads,
        "verbosity": -1,
    }
