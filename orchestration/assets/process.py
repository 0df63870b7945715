"""Cases, variants and process map: the dbt marts as assets."""

from collections.abc import Mapping
from typing import Any

import dagster as dg
from dagster_dbt import DagsterDbtTranslator, dbt_assets

from orchestration.assets.pictures import draw_months
from orchestration.assets.raw import Results
from orchestration.assets.reporting import check_results, report_months
from orchestration.mining.dbt_build import manifest_path
from orchestration.partitions import cases_need_later_events, months_by_workspace, workspace_months
from orchestration.resources import Workspaces
from orchestration.stages.process import PROCESS_DATASETS, stage_process
from orchestration.stages.staleness import PROCESS_VERSION


class CaseModels(DagsterDbtTranslator):
    """Draws the marts as assets of the data's path; the staging models in between are not assets."""

    def get_asset_spec(self, manifest: Mapping[str, Any], unique_id: str, project: Any) -> dg.AssetSpec:
        """A mart under its own name, below what it is made from."""
        spec = super().get_asset_spec(manifest, unique_id, project)
        name = spec.key.path[-1]
        if name not in PROCESS_DATASETS:
            return spec
        upstream = dg.AssetDep("events", partition_mapping=cases_need_later_events)
        return spec.replace_attributes(
            deps=[upstream] if name == "cases" else [dg.AssetDep("cases")],
            metadata=_of_the_files(spec.metadata),
            code_version=PROCESS_VERSION,
            group_name="standing_analysis",
            kinds={"dbt", "duckdb"},
        )


def _of_the_files(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """What dbt tells of a mart, as far as it holds for the month files: those are no tables, and have no home_month."""
    told = {k: v for k, v in metadata.items() if k not in ("dagster/table_name", "dagster/storage_kind")}
    columns = [c for c in told["dagster/column_schema"].columns if c.name != "home_month"]
    return told | {"dagster/column_schema": dg.TableSchema(columns)}


@dbt_assets(
    manifest=manifest_path(),
    select=" ".join(PROCESS_DATASETS),
    partitions_def=workspace_months,
    backfill_policy=dg.BackfillPolicy.single_run(),
    dagster_dbt_translator=CaseModels(),
    name="process_models",
)
def process_models(context: dg.AssetExecutionContext, workspaces: Workspaces) -> Results:
    """Cases, variants and process map of home months. dbt runs in this process, with its tests, per batch of months."""
    outcomes = {}
    for slug, months in months_by_workspace(context.partition_keys).items():
        with workspaces.open(slug, context) as opened:
            made = stage_process(opened.bench, months)
            pictures = draw_months(opened.bench, made)
        for dataset in PROCESS_DATASETS:
            report_months(context, slug, [o for o in made if o.dataset == dataset], dataset, pictures)
        outcomes[slug] = made
    for spec in context.selected_asset_check_keys:
        dataset = spec.asset_key.path[-1]
        of_dataset = {slug: [o for o in made if o.dataset == dataset] for slug, made in outcomes.items()}
        yield from check_results(of_dataset, dataset, [spec.name])
    for dataset in PROCESS_DATASETS:
        yield dg.MaterializeResult(asset_key=dataset)
