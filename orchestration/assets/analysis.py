"""Analyses on demand as assets of their own, partitioned workspace x analysis.

A filtered run never marks a month of the standing analysis as fresh. All of them are made by one run, or none.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import dagster as dg

from orchestration.assets.bottlenecks import bottleneck_table
from orchestration.assets.comparisons import comparison_table
from orchestration.assets.pictures import draw_months
from orchestration.assets.reporting import clock, numbers
from orchestration.control_plane import analyses, database
from orchestration.partitions import workspace_analyses
from orchestration.resources import Workspaces
from orchestration.stages.answer import answer
from orchestration.stages.opening import OpenedWorkspace
from orchestration.stages.tree import WHOLE_ANALYSIS
from orchestration.stages.workbench import MonthOutcome

GROUP = "analysis_on_demand"
_PREFIX = "analysis_"
_DESCRIPTIONS = {
    "events": "The events of the selected cases, as the classifier and the lifecycle say.",
    "cases": "The selected cases, one row each.",
    "variants": "The paths of the selected cases.",
    "process_map": "Which activity follows which in the selected cases.",
    "explanations": "What goes with long cycle times of the selected cases, or why nothing is said.",
    "provenance": "The release of the analysis: files, inputs, parameters and versions.",
}


def _specs() -> list[dg.AssetSpec]:
    deps = {
        "events": ["provenance"],
        "cases": ["analysis_events"],
        "variants": ["analysis_cases"],
        "process_map": ["analysis_cases"],
        "explanations": ["analysis_cases", "analysis_events"],
        "provenance": ["analysis_variants", "analysis_process_map", "analysis_explanations"],
    }
    return [
        dg.AssetSpec(
            f"{_PREFIX}{name}",
            description=description,
            group_name=GROUP,
            kinds={"postgres"} if name == "provenance" else {"duckdb", "parquet"},
            deps=[_dep(upstream) for upstream in deps[name]],
        )
        for name, description in _DESCRIPTIONS.items()
    ]


def _dep(name: str) -> dg.AssetDep:
    if name != "provenance":
        return dg.AssetDep(name)
    # Which release an analysis is asked of stands in its job, not in the partitions.
    return dg.AssetDep(name, partition_mapping=dg.AllPartitionMapping())


@dg.multi_asset(
    specs=_specs(), partitions_def=workspace_analyses, can_subset=False, name="analysis_on_demand"
)
def analysis_on_demand(
    context: dg.AssetExecutionContext, workspaces: Workspaces
) -> Iterator[dg.MaterializeResult]:  # type: ignore[type-arg]
    """Answer one analysis: its selected events, their cases and explanations, and the release of it all."""
    key = workspace_analyses.get_partition_key_from_str(context.partition_key).keys_by_dimension
    settings = workspaces.settings()
    with workspaces.open_analysis(key["analysis"], key["workspace"], context) as opened:

        def is_cancelled() -> bool:
            with database.as_system(settings.system_dsn, opened.workspace.id) as connection:
                return analyses.is_cancelled(connection, opened.workspace.id, opened.job.id)

        for outcomes in answer(settings, opened, context.run.run_id, is_cancelled):
            pictures = _pictures(opened, outcomes)
            for dataset in dict.fromkeys(outcome.dataset for outcome in outcomes):
                of_dataset = [o for o in outcomes if o.dataset == dataset]
                yield dg.MaterializeResult(
                    asset_key=f"{_PREFIX}{dataset}",
                    metadata={**_summary(of_dataset), **pictures.get(dataset, {})},
                )


def _pictures(opened: OpenedWorkspace, outcomes: Sequence[MonthOutcome]) -> Mapping[str, Any]:
    """Of each dataset, the picture of its last month that has one."""
    drawn = draw_months(opened.bench, outcomes)
    return {dataset: metadata for (dataset, _month), metadata in sorted(drawn.items())}


def _summary(outcomes: Sequence[MonthOutcome]) -> dict[str, Any]:
    """The months of a dataset together: rows and other counts; of the whole analysis, what explains it."""
    totals: Counter[str] = Counter()
    for outcome in outcomes:
        totals.update(
            {name: value for name, value in numbers(outcome.stats).items() if isinstance(value, int)}
        )
    whole = next((o.stats for o in outcomes if o.month == WHOLE_ANALYSIS and o.stats.get("narrative")), {})
    told = {"narrative": dg.MetadataValue.text(whole["narrative"])} if whole else {}
    return {
        "dagster/row_count": sum(outcome.rows for outcome in outcomes),
        "months": len(outcomes),
        **told,
        **bottleneck_table(whole),
        **comparison_table(whole),
        **clock(outcomes[-1].stats),
        **totals,
        "state": dg.MetadataValue.text(outcomes[-1].state),
    }
