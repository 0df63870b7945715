"""The explanations of a month's record and of a whole analysis: the one door to this package.

What belongs here: putting the parts together and turning them into JSON. Everything below is a pure function
of the window's completed cases, so the same input gives the same bytes, for any number of threads.
"""

from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any, Literal, Self

import duckdb
import numpy as np
import pyarrow as pa

from orchestration.mining.explain.bottleneck import find_bottlenecks
from orchestration.mining.explain.cases import CaseSet, Floats
from orchestration.mining.explain.causes import Cause, rank_causes
from orchestration.mining.explain.config import ExplainConfig
from orchestration.mining.explain.contributions import CONTRIBUTIONS_SCHEMA, contributions_of_month
from orchestration.mining.explain.feature_choice import learn_features
from orchestration.mining.explain.features import FeatureSpace
from orchestration.mining.explain.model import CycleTimeModel, Split, fit_model, split_in_time
from orchestration.mining.explain.narrative import (
    duration,
    tell_bottleneck,
    tell_case,
    tell_global,
    tell_refusal,
)
from orchestration.mining.explain.population import Population, Transitions
from orchestration.mining.explain.waterfall import MeanCase, SlowCase, split_slowest
from orchestration.mining.explain.window import Window, months_before
from orchestration.mining.explain.working_tables import build_working_tables, drop_working_tables

Scope = Literal["global", "bottleneck", "case"]
TARGET = "cycle_time"
_SIGNIFICANT_DIGITS = 6


@dataclass(frozen=True)
class Explanation:
    """One row of the explainability table; `features` is JSON, `month` is None for the whole analysis."""

    scope: Scope
    target: str
    month: str | None
    global_case_id: str | None
    features: dict[str, Any]
    summary: str


@dataclass(frozen=True)
class MonthExplanation:
    """The explanations of one month's record, and the contributions for its completed cases.

    `contributions` has `CONTRIBUTIONS_SCHEMA`, one row per completed case of the month in order of its id; no
    row where nothing is explained.
    """

    explanations: list[Explanation]
    contributions: pa.Table


@dataclass(frozen=True)
class _Study:
    """What was learned about a window; `refusal` says why there is no model to trust."""

    window: Window
    transitions: Transitions
    sample: CaseSet
    keys: list[str]
    space: FeatureSpace
    matrix: Floats
    split: Split
    model: CycleTimeModel | None
    causes: list[Cause]
    refusal: str | None


class Explainer:
    """Explains the cycle times of the cases on a DuckDB connection.

    The connection has `cases` (global_case_id, home_month, start_ts, end_ts, cycle_time_us, state) and all of
    their `events` (global_case_id, native_case_id, timestamp, tie_order, activity, resource_id, role,
    org_unit, attributes). Temporary tables named `explain_*` are made on it, and dropped by `close`.
    """

    def __init__(
        self,
        conn: duckdb.DuckDBPyConnection,
        config: ExplainConfig | None = None,
        *,
        threads: int = 1,
        from_profiles: bool = False,
    ) -> None:
        """Read the events once; `threads` is for the model, DuckDB's are the connection's own.

        A connection that `load_profiles` has prepared is good for `explain_all`.

        A window is small enough for one thread, and OpenMP's threads wait busily: on a machine with other
        work, two of them took up to three times as long as one.
        """
        self._conn = conn
        self._config = config or ExplainConfig()
        self._threads = threads
        build_working_tables(conn, self._config, from_profiles=from_profiles)
        self._population = Population(conn, self._config, from_profiles=from_profiles)

    def __enter__(self) -> Self:
        """Use it as a context manager to drop the temporary tables at the end."""
        return self

    def __exit__(self, *_: object) -> None:
        """Drop the temporary tables."""
        self.close()

    def close(self) -> None:
        """Drop the temporary tables."""
        drop_working_tables(self._conn)

    def months(self) -> list[str]:
        """The home months (`YYYY-MM`) that have completed cases."""
        return self._population.months()

    def explain_month(self, month: str) -> MonthExplanation:
        """Explain the record of a month: its window's model and bottlenecks, and its own slowest cases."""
        study = self._study(months_before(month, self._config.window_months - 1), month)
        contributions = CONTRIBUTIONS_SCHEMA.empty_table()
        if study.model is not None and study.causes:
            contributions = contributions_of_month(
                self._conn, self._population, month, study.keys, study.model, study.causes
            )
        mean = MeanCase(study.window.completed, self._population.cycle_us(study.window), study.transitions)
        slow = split_slowest(self._conn, month, mean, self._population.labels, self._config)
        # Contributions are in order of case numbers, which follow each other within a month.
        first_no = self._population.first_no(month)
        explanations = [
            self._explain_globally(study, month),
            *self._explain_bottlenecks(study, month),
            *(
                _explain_case(rank, case, month, _account(contributions, case.case_no - first_no))
                for rank, case in enumerate(slow, start=1)
            ),
        ]
        return MonthExplanation(explanations, contributions)

    def explain_all(self) -> list[Explanation]:
        """Explain the whole analysis as one window: its model and its bottlenecks."""
        months = self.months()
        study = self._study(months[0], months[-1]) if months else self._study("0000-00", "0000-00")
        return [self._explain_globally(study, None), *self._explain_bottlenecks(study, None)]

    def _study(self, first: str, last: str) -> _Study:
        config, population = self._config, self._population
        window = population.window(first, last)
        transitions = population.transitions(window)
        keys = population.case_attributes(window)
        sample = population.sample(window, keys)
        if not len(sample):
            nothing = np.array([], dtype=np.int64)
            empty = FeatureSpace((), ())
            split = Split(0, nothing, nothing)
            return _Study(
                window, transitions, sample, keys, empty, np.empty((0, 0)), split, None, [], "there are none."
            )
        space, matrix = learn_features(sample, population.labels, config)
        split = split_in_time(sample, config)
        too_few = _too_few(split, config)
        if too_few:
            return _Study(window, transitions, sample, keys, space, matrix, split, None, [], too_few)
        model = fit_model(sample, space, space.model_matrix(matrix), split, config, self._threads)
        refusal = _refusal(model, config)
        causes = [] if refusal else rank_causes(model, matrix, sample.cycle_us / 1e6, split, config)
        if not refusal and not causes:
            refusal = "no feature improves the prediction of later cases beyond chance."
        return _Study(window, transitions, sample, keys, space, matrix, split, model, causes, refusal)

    def _explain_globally(self, study: _Study, month: str | None) -> Explanation:
        features = _global_features(study)
        if study.refusal or study.model is None:
            summary = tell_refusal(study.window, study.refusal or "")
        else:
            summary = tell_global(study.window, study.model.fit, len(study.split.test), study.causes)
        return Explanation("global", TARGET, month, None, _rounded(features), summary)

    def _explain_bottlenecks(self, study: _Study, month: str | None) -> list[Explanation]:
        if not len(study.sample):
            return []
        found = find_bottlenecks(
            study.transitions,
            study.sample,
            study.space,
            study.matrix,
            self._population.labels,
            self._config,
        )
        return [
            Explanation(
                "bottleneck",
                TARGET,
                month,
                None,
                _rounded({"rank": rank, "window": asdict(study.window), **asdict(bottleneck)}),
                tell_bottleneck(rank, bottleneck),
            )
            for rank, bottleneck in enumerate(found, start=1)
        ]


def _too_few(split: Split, config: ExplainConfig) -> str | None:
    if len(split.train) >= config.least_train_cases and len(split.test) >= config.least_test_cases:
        return None
    return (
        f"there are too few to learn from and to test on: {len(split.train):,} had ended when "
        f"{len(split.test):,} later ones began, and {config.least_train_cases:,} and "
        f"{config.least_test_cases:,} are needed."
    )


def _refusal(model: CycleTimeModel, config: ExplainConfig) -> str | None:
    fit = model.fit
    if fit.r2 >= config.least_r2 and fit.error_seconds < fit.baseline_error_seconds:
        return None
    return (
        f"on later cases the model does not beat the median (R2 {fit.r2:.2f}; it errs by "
        f"{duration(fit.error_seconds)} on average, the median by {duration(fit.baseline_error_seconds)})."
    )


def _global_features(study: _Study) -> dict[str, Any]:
    window, split = study.window, study.split
    at = (
        datetime.fromtimestamp(split.at_us / 1e6, UTC).isoformat(timespec="seconds")
        if len(study.sample)
        else None
    )
    return {
        "status": "not_explained" if study.refusal else "explained",
        "reason": study.refusal,
        "window": asdict(window),
        "cases": {
            "sampled": len(study.sample),
            "train": len(split.train),
            "test": len(split.test),
            "split_at": at,
        },
        "fit": asdict(study.model.fit) if study.model else None,
        "causes": [{"rank": rank, **asdict(cause)} for rank, cause in enumerate(study.causes, start=1)],
        "considered": sorted({feature.group for feature in study.space.features}),
        "refused": dict(study.space.refused),
    }


def _explain_case(rank: int, case: SlowCase, month: str, account: dict[str, Any] | None) -> Explanation:
    features: dict[str, Any] = {
        "rank": rank,
        "native_case_id": case.native_case_id,
        "cycle_us": case.cycle_us,
        "mean_cycle_us": case.mean_cycle_us,
        "mean_of_cases": case.cases,
        "segments": [
            {**asdict(segment), "difference_us": segment.difference_us} for segment in case.segments
        ],
        "other_us": case.other_us,
        "model": account,
    }
    return Explanation(
        "case", TARGET, month, case.global_case_id, _rounded(features), tell_case(rank, case, month)
    )


def _account(contributions: pa.Table, place: int) -> dict[str, Any] | None:
    """The model's account of one case: base, contributions and what it leaves unexplained."""
    if not contributions.num_rows:
        return None
    row = contributions.slice(place, 1).to_pylist()[0]
    return {
        "base_seconds": row["base_seconds"],
        "contributions_seconds": dict(zip(row["features"], row["contributions_seconds"], strict=True)),
        "prediction_seconds": row["prediction_seconds"],
        "residual_seconds": row["residual_seconds"],
    }


def _rounded(value: Any) -> Any:
    """The value with its floats cut to six significant digits, tuples as lists; whole numbers stay exact."""
    if isinstance(value, float):
        return float(f"{value:.{_SIGNIFICANT_DIGITS}g}")
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_rounded(item) for item in value]
    return value
