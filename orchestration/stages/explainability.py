"""Explanations of months and of the whole analysis, from the staged cases and their events."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import duckdb
import pyarrow as pa

from orchestration.mining.explain import EXPLAIN_VERSION, Explainer, Explanation
from orchestration.stages.comparison import compare_sides
from orchestration.stages.profiles import PROFILES, load_whole, stage_profiles, stale_profiles
from orchestration.stages.staleness import (
    explanation_fingerprint,
    explanation_window,
    stale_explanation_months,
)
from orchestration.stages.tree import WHOLE_ANALYSIS, Draft
from orchestration.stages.workbench import MonthOutcome, Workbench, outcomes, timed

EXPLANATIONS = pa.schema(
    [
        ("month", pa.string()),
        ("place", pa.int32()),
        ("scope", pa.string()),
        ("target", pa.string()),
        ("global_case_id", pa.string()),
        ("features", pa.string()),
        ("summary", pa.string()),
    ]
)
"""Columns of the ``explanations`` files; ``features`` is JSON text, ``month`` is ``all`` for the whole analysis."""


def stage_explanations(bench: Workbench, months: Iterable[str]) -> list[MonthOutcome]:
    """Explain the stale months among ``months``, and the whole analysis if it is stale; carry the others over."""
    months = sorted(months)
    cases = bench.tree.files("cases")
    question = bench.parameters.explanation
    stale = stale_explanation_months(
        cases, bench.tree.files("explanations"), bench.tree.files("samples"), bench.parameters
    )
    gone = [m for m in stale if m not in cases and (m != WHOLE_ANALYSIS or not cases)]
    for dataset in (
        *PROFILES,
        "contributions",
        "explanations",
    ):  # the first and the last tell that a month is stale
        bench.tree.forget(dataset, gone)
    wanted = [m for m in stale if m in cases and m in months]
    whole = bool(cases) and WHOLE_ANALYSIS in stale
    profiles = stale_profiles(cases, bench.tree.files("samples")) if whole else []
    if wanted or profiles:
        homes = {home for m in wanted for home in explanation_window(m, cases, question)} | set(profiles)
        with bench.session() as connection:
            _create_views(bench, connection, homes)
            with Explainer(
                connection, question.config(), target=question.target, narrator=bench.narrator()
            ) as explainer:
                stage_profiles(bench, connection, profiles)
                for month in wanted:
                    bench.progress(f"explanations: {month}")
                    bench.tree.put(_explain(bench, explainer, month))
    if whole:
        _explain_whole(bench)
    return outcomes(bench.tree, "explanations", months, wanted)


def _explain_whole(bench: Workbench) -> None:
    """The explanation of the whole analysis, from the profiles of its months."""
    bench.progress("explanations: the whole analysis")
    with bench.session() as connection:
        load_whole(bench, connection)
        question = bench.parameters.explanation
        with Explainer(
            connection,
            question.config(),
            target=question.target,
            narrator=bench.narrator(),
            from_profiles=True,
        ) as explainer:
            bench.tree.put(_explain(bench, explainer, WHOLE_ANALYSIS))


def _create_views(bench: Workbench, connection: duckdb.DuckDBPyConnection, homes: set[str]) -> None:
    """``cases`` with these home months, and ``events`` with all events of those cases."""
    cases, events, index = (bench.tree.files(name) for name in ("cases", "events", "case_index"))
    case_urls = ", ".join(f"'{bench.tree.url(cases[home])}'" for home in sorted(homes))
    needed = sorted({entry["month"] for home in homes for entry in index[home].inputs})
    event_urls = ", ".join(f"'{bench.tree.url(events[month])}'" for month in needed)
    connection.execute(
        f"""
        create temp view cases as
        select global_case_id, split_part(partition_id, '|', 1) as home_month, start_ts, end_ts, cycle_time_us, state
        from read_parquet([{case_urls}])
        """
    )
    connection.execute(f"create temp view events as select * from read_parquet([{event_urls}])")
    bench.measure_durations(connection, needed)


def _explain(bench: Workbench, explainer: Explainer, month: str) -> list[Draft]:
    """The ``explanations`` of a month and, but for the whole analysis, its ``contributions``."""
    cases = bench.tree.files("cases")
    question = bench.parameters.explanation
    fingerprint = explanation_fingerprint(month, cases, bench.parameters)
    inputs: list[dict[str, Any]] = [
        {"dataset": "cases", "month": home, "content_sha256": cases[home].content_sha256}
        for home in explanation_window(month, cases, question)
    ]

    def draft(dataset: str, reader: pa.RecordBatchReader, rows: int | None, seconds: float = 0.0) -> Draft:
        return bench.draft(
            dataset,
            month,
            reader,
            rows=rows,
            fingerprint=fingerprint,
            code_version=EXPLAIN_VERSION,
            inputs=inputs,
            seconds=seconds,
        )

    with timed() as spent:
        if month == WHOLE_ANALYSIS:
            explanations, drafts = [*explainer.explain_all(), *compare_sides(bench)], []
        else:
            explained = explainer.explain_month(month, lambda reader: draft("contributions", reader, None))
            explanations, drafts = explained.explanations, [explained.contributions]
        seconds = spent() - sum(each.seconds for each in drafts)
    table = _table(month, explanations)
    stats = _stats(explanations) | ({"clock": "working"} if bench.parameters.calendar else {})
    told = draft("explanations", table.to_reader(), table.num_rows, seconds)
    return [replace(told, stats=stats), *drafts]


def _table(month: str, explanations: Sequence[Explanation]) -> pa.Table:
    rows = [
        {
            "month": month,
            "place": place,
            "scope": explanation.scope,
            "target": explanation.target,
            "global_case_id": explanation.global_case_id,
            "features": json.dumps(explanation.features, sort_keys=True),
            "summary": explanation.summary,
        }
        for place, explanation in enumerate(explanations)
    ]
    return pa.Table.from_pylist(rows, schema=EXPLANATIONS)


def _stats(explanations: Sequence[Explanation]) -> dict[str, Any]:
    """What the UI shows: the narrative, the fit, the steps that take most time, and what changed."""
    found = explanations[0].features
    fit = found["fit"] or {}
    steps = [
        {**{name: e.features[name] for name in _STEP}, "factors": [f["name"] for f in e.features["factors"]]}
        for e in explanations
        if e.scope == "bottleneck"
    ]
    compared = [
        {"summary": e.summary, "features": e.features} for e in explanations if e.scope == "comparison"
    ]
    return {
        "status": found["status"],
        "narrative": explanations[0].summary,
        "bottlenecks": "\n\n".join(e.summary for e in explanations if e.scope == "bottleneck"),
        "steps": steps,
        "top": [[f"{s['source']} > {s['target']}", round(s["total_seconds"] / 86_400, 1)] for s in steps],
        **({"share_of_slowest_step": steps[0]["share"]} if steps else {}),
        **({"comparison": compared} if compared else {}),
        "completed_cases": found["window"]["completed"],
        **{name: fit[name] for name in ("r2", "brier_skill", "auc") if name in fit},
    }


_STEP = (
    "source",
    "target",
    "count",
    "share",
    "total_seconds",
    "mean_seconds",
    "median_seconds",
    "p90_seconds",
)
"""The figures of a bottleneck that its table shows; ``factors`` are the names of what goes with slow passages."""
