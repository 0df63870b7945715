"""The explanations of a month's record and of a whole analysis: the one door to this package.

What belongs here: putting the parts together. Everything below is a pure function of the window's completed cases, so
the same input gives the same bytes, for any number of threads.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, Self, TypeVar

import duckdb
import pyarrow as pa

from orchestration.mining.explain.bottleneck import find_bottlenecks
from orchestration.mining.explain.cases import CaseSet
from orchestration.mining.explain.config import ExplainConfig
from orchestration.mining.explain.contributions import (
    WatchedContributions,
    contributions_of_month,
    contributions_schema,
)
from orchestration.mining.explain.feature_choice import learn_features
from orchestration.mining.explain.narrative import Narrator
from orchestration.mining.explain.population import Population, Transitions
from orchestration.mining.explain.question import CYCLE_TIME, Target
from orchestration.mining.explain.records import (
    Explanation,
    bottleneck_record,
    case_record,
    global_record,
)
from orchestration.mining.explain.study import Study, study_target
from orchestration.mining.explain.waterfall import MeanCase, SlowCase, split_slowest
from orchestration.mining.explain.window import Window, months_before
from orchestration.mining.explain.working_tables import build_working_tables, drop_working_tables

Written = TypeVar("Written")


@dataclass(frozen=True)
class MonthExplanation(Generic[Written]):
    """The explanations of one month's record, and what was made of its contributions as they were written."""

    explanations: list[Explanation]
    contributions: Written


@dataclass(frozen=True)
class _Look:
    """A window with its transitions and sample, and what was learned of the target there."""

    window: Window
    transitions: Transitions
    keys: list[str]
    sample: CaseSet
    study: Study


class Explainer:
    """Explains a target on the cases on a DuckDB connection.

    The connection has `cases` (global_case_id, home_month, start_ts, end_ts, cycle_time_us, state) and all of
    their `events` (global_case_id, native_case_id, timestamp, tie_order, activity, resource_id, role,
    org_unit, attributes). Temporary tables named `explain_*` are made on it, and dropped by `close`.
    """

    def __init__(
        self,
        conn: duckdb.DuckDBPyConnection,
        config: ExplainConfig | None = None,
        *,
        target: Target = CYCLE_TIME,
        narrator: Narrator | None = None,
        threads: int = 1,
        from_profiles: bool = False,
    ) -> None:
        """Read the events once; `narrator` tells what is found, durations as elapsed time if none is given.

        `threads` is for the model, DuckDB's are the connection's own.

        A connection that `load_profiles` has prepared is good for `explain_all`.

        A window is small enough for one thread, and OpenMP's threads wait busily: on a machine with other
        work, two of them took up to three times as long as one.
        """
        self._conn = conn
        self._config = config or ExplainConfig()
        self._target = target
        self._narrator = narrator or Narrator()
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

    def explain_month(
        self, month: str, write: Callable[[pa.RecordBatchReader], Written]
    ) -> MonthExplanation[Written]:
        """Explain the record of a month: its window's model and bottlenecks, and its own slowest cases.

        `write` is given the contributions and reads them to the end; they are made as it reads, for a month's table
        of them may be larger than the memory. They have `contributions_schema`, one row per completed case of the
        month that the target is asked of, in order of its id; no row where nothing is explained.
        """
        look = self._look(months_before(month, self._config.window_months - 1), month)
        study = look.study
        mean = MeanCase(look.window.completed, self._population.cycle_us(look.window), look.transitions)
        slow = split_slowest(self._conn, month, mean, self._population.labels, self._config)
        contributions = WatchedContributions(
            contributions_of_month(self._conn, self._population, month, look.keys, study),
            [case.global_case_id for case in slow],
        )
        schema = contributions_schema(self._target.unit)
        written = write(pa.RecordBatchReader.from_batches(schema, contributions))
        explanations = [*self._of_window(look, month), *self._of_cases(look, month, slow, contributions.rows)]
        return MonthExplanation(explanations, written)

    def explain_all(self) -> list[Explanation]:
        """Explain the whole analysis as one window: its model and its bottlenecks."""
        months = self.months()
        look = self._look(months[0], months[-1]) if months else self._look("0000-00", "0000-00")
        return self._of_window(look, None)

    def _look(self, first: str, last: str) -> _Look:
        window = self._population.window(first, last)
        keys = self._population.case_attributes(window)
        sample = self._population.sample(window, keys)
        study = study_target(
            self._target, sample, self._population.labels, self._config, self._threads, self._narrator
        )
        return _Look(window, self._population.transitions(window), keys, sample, study)

    def _of_window(self, look: _Look, month: str | None) -> list[Explanation]:
        explanations = [global_record(look.window, look.study, month, self._config, self._narrator)]
        if not len(look.sample):
            return explanations
        labels, about = self._population.labels, self._population.about(look.window)
        # Bottlenecks are about all cases and all of their time, whatever the target.
        space, matrix = (
            (look.study.space, look.study.matrix)
            if self._target == CYCLE_TIME
            else learn_features(look.sample, labels, self._config)
        )
        found = find_bottlenecks(look.transitions, look.sample, space, matrix, labels, self._config)
        return explanations + [
            bottleneck_record(rank, bottleneck, look.window, month, about, self._config, self._narrator)
            for rank, bottleneck in enumerate(found, start=1)
        ]

    def _of_cases(
        self, look: _Look, month: str, slow: list[SlowCase], rows: dict[str, dict[str, Any]]
    ) -> list[Explanation]:
        study, about = look.study, self._population.about(look.window)
        return [
            case_record(
                rank, case, month, study, rows.get(case.global_case_id), about, self._config, self._narrator
            )
            for rank, case in enumerate(slow, start=1)
        ]
