"""Every number that an explanation depends on, in one place; provenance records them with the release.

What does not belong here: settings that cannot change a result, such as the number of threads.
"""

from dataclasses import asdict, dataclass
from importlib.metadata import version
from typing import Any

EXPLAIN_VERSION = "explain-4"
"""Names the features and the algorithm; raise it when the same input would give another result."""

VERSIONS = {"explain": EXPLAIN_VERSION, "lightgbm": version("lightgbm"), "numpy": version("numpy")}
"""What an explanation was made with; each row carries it."""


@dataclass(frozen=True)
class ExplainConfig:
    """Thresholds of the explanations. Durations are in seconds, shares are fractions of one."""

    seed: int = 20_240_101
    # The record of month M explains the cases that started in M and in the months before it.
    window_months: int = 12

    # The sample is taken by a hash of the case id, so it does not depend on order or threads.
    most_sample_cases: int = 20_000
    most_test_cases: int = 3_000
    least_train_cases: int = 200
    least_test_cases: int = 100
    # Training cases ended before this quantile of the start times; test cases started after it.
    split_quantile: float = 2 / 3

    # A value is told apart from "(other)" if it has this share of the cases, and at least so many.
    value_share: float = 0.005
    value_cases: int = 20
    most_values: int = 50
    most_attributes: int = 100
    most_activities: int = 60
    # An attribute that is no `case:` one counts as the case's if so few cases change it on the way.
    changing_share: float = 0.01
    constancy_cases_per_month: int = 50
    # A number that orders the cases as the cycle time does was written after the outcome; one that orders
    # them as their start does is the calendar.
    leak_rank_correlation: float = 0.95
    twin_correlation: float = 0.98

    trees: int = 200
    patience: int = 10
    learning_rate: float = 0.3
    leaves: int = 8
    # A split must reduce the squared error by so many times the variance of one case; chance alone seldom does.
    # Without it most trees split on noise, which costs time and explains nothing.
    least_split_variances: float = 4.0
    bins: int = 63

    # The gate: below this the model is refused, not explained.
    least_skill: float = 0.02
    # A feature is real if shuffling it raises the holdout's error by this share, and so many standard errors.
    least_gain_share: float = 0.005
    least_gain_errors: float = 3.0
    # Of the holdout, for the interval in which a gain stays.
    resamples: int = 200
    # A yes/no needs so many cases of either answer, in training and in the holdout.
    least_answers: int = 20
    most_causes: int = 12
    most_values_shown: int = 5
    # A value is shown if it alone makes this share of what its feature contributes.
    least_value_weight: float = 0.1

    bottlenecks: int = 5
    least_transition_cases: int = 50
    shrinkage_cases: float = 20.0
    # A factor must add this share of the variance, and so many standard errors of what chance would add.
    least_adjusted_gain: float = 0.005
    least_factor_errors: float = 4.0
    most_factors: int = 3

    # Two groups are compared from so many cases each; a change is told beyond so many standard errors, since many
    # things are looked at.
    least_compared_cases: int = 50
    least_change_errors: float = 4.0
    most_changes: int = 10

    slowest_cases: int = 10
    segments_shown: int = 6


EXPLAIN_CONFIG: dict[str, Any] = {"version": EXPLAIN_VERSION, "versions": VERSIONS, **asdict(ExplainConfig())}
"""The default configuration as JSON, for the provenance record's `explainability_config`."""
