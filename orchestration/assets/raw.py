"""The raw asset, of uploads and pulls: the landed files of each month, proved to be there."""

from collections.abc import Iterator

import dagster as dg

from orchestration.assets.reporting import check_results, report_months
from orchestration.checks.audits import AUDITS, check_specs
from orchestration.partitions import months_by_workspace, workspace_months
from orchestration.resources import Workspaces
from orchestration.stages.raw import check_raw

Results = Iterator[dg.MaterializeResult | dg.AssetCheckResult]  # type: ignore[type-arg]


@dg.asset(
    partitions_def=workspace_months,
    backfill_policy=dg.BackfillPolicy.single_run(),
    check_specs=check_specs("raw_records"),
    group_name="standing_analysis",
    kinds={"s3", "parquet"},
)
def raw_records(context: dg.AssetExecutionContext, workspaces: Workspaces) -> Results:
    """Uploaded and pulled records as they arrived, by the month of the record's own time.

    Landing writes the files once, at `s3://{bucket}/{workspace_id}/raw/{connector_type}/{yyyy-mm}/`; they are never
    changed.
    Materialising compares the ledger with S3.
    """
    outcomes = {}
    for slug, months in months_by_workspace(context.partition_keys).items():
        with workspaces.open(slug, context) as opened:
            made = check_raw(opened.bench, months, opened.store)
        report_months(context, slug, made, "raw_records")
        outcomes[slug] = made
    yield from check_results(outcomes, "raw_records", AUDITS["raw_records"])
    yield dg.MaterializeResult(asset_key="raw_records")
