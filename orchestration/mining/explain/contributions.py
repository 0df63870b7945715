"""What each feature contributes to the target of each completed case of a month that it is asked of.

What belongs here: applying a window's model to cases, in batches of bounded size that are made as they are read.
"""

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from orchestration.mining.explain.cases import CaseSet, Floats
from orchestration.mining.explain.causes import OTHER_FEATURES, group_columns
from orchestration.mining.explain.model import TargetModel
from orchestration.mining.explain.population import Population
from orchestration.mining.explain.question import Unit
from orchestration.mining.explain.study import Study
from orchestration.mining.explain.targets import pose

BATCH_CASES = 20_000
"""How many cases are in memory at a time; the result does not depend on it."""


def contributions_schema(unit: Unit) -> pa.Schema:
    """The columns. base + the sum of contributions = prediction, and prediction + residual = the case's value.

    `features` names the entries of `contributions_...`: the window's causes in their order, then all others.
    """
    return pa.schema(
        [
            pa.field("global_case_id", pa.uuid()),
            pa.field(f"base_{unit}", pa.float64()),
            pa.field(f"prediction_{unit}", pa.float64()),
            pa.field(f"residual_{unit}", pa.float64()),
            pa.field("features", pa.list_(pa.string())),
            pa.field(f"contributions_{unit}", pa.list_(pa.float64())),
        ]
    )


def contributions_of_month(
    conn: duckdb.DuckDBPyConnection, population: Population, month: str, keys: list[str], study: Study
) -> Iterator[pa.RecordBatch]:
    """The contributions for the completed cases of a month that the target is asked of, in order of their ids.

    There are none where the study explains nothing.

    Args:
        conn: Holds the working tables.
        population: The cases.
        month: The cases' home month.
        keys: The attributes of the study's window.
        study: The window's; each of its causes gets an entry of its own.
    """
    model = study.model
    if model is None or not study.causes:
        return
    named = [group_columns(model, cause.group) for cause in study.causes]
    others = sorted(set(range(len(model.space.features))).difference(*named))
    names = [*(cause.group for cause in study.causes), OTHER_FEATURES]
    for cases in population.batches(month, keys, BATCH_CASES):
        asked = pose(study.target, cases, population.labels)
        if len(asked):
            yield _batch(conn, asked, model, [*named, others], names)


@dataclass
class WatchedContributions:
    """The same batches; of a few cases, given by their ids, `rows` keeps the rows that have gone by."""

    batches: Iterable[pa.RecordBatch]
    cases: Collection[str]
    rows: dict[str, dict[str, Any]] = field(default_factory=dict)

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        """Give the batches, each when it is asked for."""
        watched = pa.array([UUID(case).bytes for case in self.cases], pa.binary(16))
        for batch in self.batches:
            found = batch.filter(pc.is_in(batch["global_case_id"].storage, watched))
            self.rows |= {str(row["global_case_id"]): row for row in found.to_pylist()}
            yield batch


def _batch(
    conn: duckdb.DuckDBPyConnection,
    cases: CaseSet,
    model: TargetModel,
    groups: list[list[int]],
    names: list[str],
) -> pa.RecordBatch:
    parts = model.contributions(model.space.model_matrix(model.space.matrix(cases)))
    base = parts[:, -1]
    grouped: Floats = np.stack([parts[:, columns].sum(axis=1) for columns in groups], axis=1)
    prediction = base + grouped.sum(axis=1)
    ends = pa.array(np.arange(len(cases) + 1, dtype=np.int32) * len(names))
    repeated = pa.array(names).take(pa.array(np.tile(np.arange(len(names)), len(cases))))
    return pa.record_batch(
        [
            _case_ids(conn, cases),
            pa.array(base),
            pa.array(prediction),
            pa.array(cases.values - prediction),
            pa.ListArray.from_arrays(ends, repeated),
            pa.ListArray.from_arrays(ends, pa.array(grouped.ravel())),
        ],
        schema=contributions_schema(model.objective.unit),
    )


def _case_ids(conn: duckdb.DuckDBPyConnection, cases: CaseSet) -> pa.Array:
    table = conn.execute(
        """
        select unhex(replace(global_case_id::varchar, '-', '')) as id
        from explain_case
        where case_no between $first and $last
        order by case_no
        """,
        {"first": int(cases.case_no[0]), "last": int(cases.case_no[-1])},
    ).to_arrow_table()
    # The cases of a month are numbered without gaps; those that the target is not asked of are left out.
    ids = table["id"].combine_chunks().cast(pa.binary(16)).take(pa.array(cases.case_no - cases.case_no[0]))
    return pa.ExtensionArray.from_storage(pa.uuid(), ids)
