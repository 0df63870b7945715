"""The explainability asset: why some cases are slow, per month and for the whole analysis."""

import dagster as dg

from orchestration.assets.raw import Results
from orchestration.assets.reporting import column_schema, report_months
from orchestration.mining.explain import EXPLAIN_VERSION
from orchestration.partitions import explanations_need_earlier_cases, months_by_workspace, workspace_months
from orchestration.resources import Workspaces
from orchestration.stages.explainability import EXPLANATIONS, stage_explanations


@dg.asset(
    partitions_def=workspace_months,
    backfill_policy=dg.BackfillPolicy.single_run(),
    deps=[dg.AssetDep("cases", partition_mapping=explanations_need_earlier_cases), "events"],
    code_version=EXPLAIN_VERSION,
    metadata=column_schema({field.name: str(field.type) for field in EXPLANATIONS}),
    group_name="standing_analysis",
    kinds={"lightgbm", "parquet"},
)
def explainability(context: dg.AssetExecutionContext, workspaces: Workspaces) -> Results:
    """Explanations of cycle time: global (LightGBM contributions), bottlenecks, and the slowest cases.

    The record of a month looks at the completed cases of twelve home months. Where a model does not beat the median
    baseline on cases that it has not seen, the record says `not_explained` with the figures.
    """
    for slug, months in months_by_workspace(context.partition_keys).items():
        with workspaces.open(slug, context) as opened:
            made = stage_explanations(opened.bench, months)
        report_months(context, slug, made, "explainability")
    yield dg.MaterializeResult(asset_key="explainability")
