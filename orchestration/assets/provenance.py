"""The provenance asset: the release of everything before it."""

import dagster as dg

from orchestration.assets.raw import Results
from orchestration.assets.reporting import check_results, report_months
from orchestration.checks.audits import AUDITS, check_specs
from orchestration.partitions import months_by_workspace, workspace_months
from orchestration.resources import Workspaces
from orchestration.stages.publish import release_workspace


@dg.asset(
    partitions_def=workspace_months,
    backfill_policy=dg.BackfillPolicy.single_run(),
    deps=["cases", "variants", "process_map", "explainability"],
    check_specs=check_specs("provenance"),
    group_name="standing_analysis",
    kinds={"postgres"},
)
def provenance(context: dg.AssetExecutionContext, workspaces: Workspaces) -> Results:
    """The release: one provenance row with the exact files, steps, inputs and versions, swapped in as the result.

    Refused when a month is stale or an audit failed; readers then keep the release that they have.
    """
    outcomes = {}
    for slug, months in months_by_workspace(context.partition_keys).items():
        with workspaces.open(slug, context) as opened:
            made = release_workspace(workspaces.settings(), opened, months, context.run.run_id)
        report_months(context, slug, made, "provenance")
        outcomes[slug] = made
    yield from check_results(outcomes, "provenance", AUDITS["provenance"])
    yield dg.MaterializeResult(asset_key="provenance")
