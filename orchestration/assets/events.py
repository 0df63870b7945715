"""The events asset: canonical, audited events of each month, and the case index over them."""

import dagster as dg

from orchestration.assets.raw import Results
from orchestration.assets.reporting import check_results, column_schema, report_months
from orchestration.checks.audits import AUDITS, check_specs
from orchestration.lake.views import MONTH_FILES
from orchestration.partitions import months_by_workspace, workspace_months
from orchestration.resources import Workspaces
from orchestration.stages.case_index import stage_case_index
from orchestration.stages.event_contract import EVENT
from orchestration.stages.events import EVENTS_VERSION, stage_events
from orchestration.stages.identity import stage_identity


@dg.asset(
    partitions_def=workspace_months,
    backfill_policy=dg.BackfillPolicy.single_run(),
    deps=["raw_records"],
    check_specs=check_specs("events"),
    code_version=EVENTS_VERSION,
    metadata=column_schema(MONTH_FILES["events"], [n for n, c in EVENT.columns.items() if c.nullable]),
    group_name="standing_analysis",
    kinds={"duckdb", "parquet"},
)
def events(context: dg.AssetExecutionContext, workspaces: Workspaces) -> Results:
    """The canonical event log: one row per event, in a total order, with the pandera contract kept.

    Written to `s3://{bucket}/{workspace_id}/analyses/{analysis_id}/events/`. A month whose raw files, mappings, cases
    and code are unchanged is carried over.
    """
    outcomes = {}
    for slug, months in months_by_workspace(context.partition_keys).items():
        with workspaces.open(slug, context) as opened:
            stage_identity(opened.bench)
            made = stage_events(opened.bench, months)
            changed = stage_case_index(opened.bench)
        context.log.info(f"{slug}: home months touched: {', '.join(changed) or 'none'}")
        report_months(context, slug, made, "events")
        outcomes[slug] = made
    yield from check_results(outcomes, "events", AUDITS["events"])
    yield dg.MaterializeResult(asset_key="events")
