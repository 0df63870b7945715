"""The provenance asset: the release of everything before it."""

import dagster as dg

from orchestration.assets.raw import Results
from orchestration.assets.reporting import check_results, report_months
from orchestration.checks.audits import AUDITS, check_specs
from orchestration.partitions import months_by_workspace, workspace_months
from orchestration.resources import RunContext, Workspaces
from orchestration.stages.opening import OpenedWorkspace
from orchestration.stages.publish import overtaken_outcomes, release_workspace
from orchestration.stages.release import TreeStale
from orchestration.stages.workbench import MonthOutcome


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

    Refused when a month is stale or an audit failed; readers then keep the release that they have. A run that was
    overtaken by new data leaves the release to the next one.
    """
    outcomes = {}
    for slug, months in months_by_workspace(context.partition_keys).items():
        with workspaces.open(slug, context) as opened:
            made = released(workspaces, opened, months, context)
        report_months(context, slug, made, "provenance")
        outcomes[slug] = made
    yield from check_results(outcomes, "provenance", AUDITS["provenance"])
    yield dg.MaterializeResult(asset_key="provenance")


def released(
    workspaces: Workspaces, opened: OpenedWorkspace, months: list[str], context: RunContext
) -> list[MonthOutcome]:
    """Release the working tree, unless new data came during the run; what to tell of each month."""
    slug = opened.workspace.slug
    try:
        return release_workspace(workspaces.settings(), opened, months, context.run.run_id)
    except TreeStale as stale:
        if not workspaces.is_overtaken(slug, context):
            raise
        context.log.warning(
            f"{slug}: superseded by a newer plan, since new data came during this run; {stale}"
        )
        return overtaken_outcomes(opened, months)
