"""The code location as Dagster sees it: a snapshot of what has a name there, and the rules that every asset keeps."""

import dagster as dg
import pytest
from dagster_aws.s3 import S3Resource
from dagster_duckdb import DuckDBResource

from orchestration.definitions import build_definitions, defs
from orchestration.partitions import workspace_analyses, workspace_months
from orchestration.resources import Workspaces

GRAPH = defs.resolve_asset_graph()
REPOSITORY = defs.get_repository_def()

# asset -> (what it is made from, its checks)
ASSETS = {
    "raw_records": ([], ["landed_files_exist"]),
    "events": (["raw_records"], ["conservation", "contract", "isolation", "total_order"]),
    "cases": (
        ["events"],
        ["accepted_values_cases_state__completed__open__left_cut", "unique_cases_global_case_id"],
    ),
    "variants": (["cases"], ["every_month_has_one_happy_path"]),
    "process_map": (["cases"], []),
    "explainability": (["cases", "events"], []),
    "provenance": (
        ["cases", "explainability", "process_map", "variants"],
        ["arrivals_conserved", "cases_conserved", "raw_conserved"],
    ),
}
ARRIVAL = {"raw_records", "events"}
JOBS = {"arrival_job": ARRIVAL, "case_job": set(ASSETS) - ARRIVAL, "refresh_job": set(ASSETS)}
ON_DEMAND = {
    "analysis_events": ["provenance"],
    "analysis_cases": ["analysis_events"],
    "analysis_variants": ["analysis_cases"],
    "analysis_process_map": ["analysis_cases"],
    "analysis_explanations": ["analysis_cases", "analysis_events"],
    "analysis_provenance": ["analysis_explanations", "analysis_process_map", "analysis_variants"],
}
SENSORS = {
    "analysis_queue": {"analysis_job"},
    "arrival_sensor": {"arrival_job", "case_job", "delivery_job", "refresh_job"},
    "connector_syncs": {"sync_connector"},
    "readmissions": {"readmit_quarantine"},
    "failed_runs": set(),
    "canceled_runs": set(),
    "notifications": set(),
}
OP_JOBS = {
    "delivery_job",
    "garbage_job",
    "retract_arrival",
    "remap_connector",
    "readmit_quarantine",
    "refresh_workspace",
    "ask_analysis",
    "sync_connector",
}
SECRETS = ("aws_access_key_id", "aws_secret_access_key", "aws_session_token")


def names(keys: object) -> list[str]:
    return sorted(key.to_user_string() for key in keys)  # type: ignore[attr-defined]


def test_the_assets_are_the_path_of_the_data() -> None:
    found = {
        key.to_user_string(): (
            names(GRAPH.get(key).parent_keys),
            sorted(check.name for check in GRAPH.get(key).check_keys),
        )
        for key in GRAPH.get_all_asset_keys()
    }
    assert found.pop("releases_are_current") == (["provenance"], [])
    assert {name: found.pop(name) for name in ON_DEMAND} == {
        name: (deps, []) for name, deps in ON_DEMAND.items()
    }
    assert found == ASSETS


@pytest.mark.parametrize("asset", ON_DEMAND)
def test_an_analysis_on_demand_is_assets_of_its_own(asset: str) -> None:
    node = GRAPH.get(dg.AssetKey(asset))
    assert node.partitions_def == workspace_analyses
    assert node.group_name == "analysis_on_demand"
    assert node.description
    assert node.kinds


@pytest.mark.parametrize("asset", ASSETS)
def test_an_asset_is_partitioned_described_and_refreshed_in_one_run(asset: str) -> None:
    node = GRAPH.get(dg.AssetKey(asset))
    assert node.partitions_def == workspace_months
    assert node.backfill_policy == dg.BackfillPolicy.single_run()
    assert node.group_name == "standing_analysis"
    assert node.description
    assert node.kinds


@pytest.mark.parametrize("asset", ["events", "cases", "variants", "process_map", "explainability"])
def test_the_columns_are_those_of_the_month_files(asset: str) -> None:
    schema = GRAPH.get(dg.AssetKey(asset)).metadata["dagster/column_schema"]
    shown = {column.name for column in schema.columns}
    assert {"home_month", "dagster/table_name"}.isdisjoint(shown)
    assert shown >= ({"workspace_id", "partition_id"} if asset != "explainability" else {"features"})
    assert "dagster/table_name" not in GRAPH.get(dg.AssetKey(asset)).metadata


def test_a_failed_audit_blocks_what_comes_after() -> None:
    checks = {key.name: GRAPH.get_check_spec(key) for key in GRAPH.asset_check_keys}
    ours = [name for asset in ("raw_records", "events", "provenance") for name in ASSETS[asset][1]]
    assert [name for name in ours if not checks[name].blocking] == []
    assert [name for name in ours if not checks[name].description] == []


def test_the_jobs_hold_the_assets_of_their_runs() -> None:
    assert set(REPOSITORY.job_names) - {"__ASSET_JOB"} == {*JOBS, *OP_JOBS, "analysis_job"}
    for name, assets in JOBS.items():
        job = REPOSITORY.get_job(name)
        assert set(names(job.asset_layer.executable_asset_keys)) == assets
        assert job.partitions_def == workspace_months
        assert int(job.tags["dagster/max_runtime"]) > 0


def test_the_sensors_and_schedules_run_by_default() -> None:
    sensors = {sensor.name: sensor for sensor in REPOSITORY.sensor_defs}
    assert {name: {target.job_name for target in s.targets} for name, s in sensors.items()} == SENSORS
    assert {s.default_status for s in sensors.values()} == {dg.DefaultSensorStatus.RUNNING}
    daily, weekly = sorted(REPOSITORY.schedule_defs, key=lambda schedule: schedule.name)
    assert (weekly.name, weekly.job_name, weekly.cron_schedule) == (
        "weekly_garbage",
        "garbage_job",
        "41 4 * * 0",
    )
    assert (daily.name, daily.job_name, daily.cron_schedule) == ("daily_refresh", "refresh_job", "17 3 * * *")
    assert daily.execution_timezone == "UTC"
    assert daily.default_status == dg.DefaultScheduleStatus.RUNNING


def test_no_resource_is_configured_with_a_secret() -> None:
    """The UI shows the configuration of resources, whoever looks."""
    assert set(defs.resources or {}) == {"workspaces"}
    workspaces = (defs.resources or {})["workspaces"]
    assert isinstance(workspaces, Workspaces)
    configured = workspaces.s3.model_dump() | workspaces.duckdb.model_dump()
    secrets = {name: value for name, value in configured.items() if name in SECRETS}
    assert secrets == dict.fromkeys(SECRETS)
    assert configured["connection_config"] == {}


def test_a_test_can_bring_its_own_resources() -> None:
    mine = Workspaces(duckdb=DuckDBResource(database="mine.duckdb"), s3=S3Resource())
    assert build_definitions(workspaces=mine).resources == {"workspaces": mine}
