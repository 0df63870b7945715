"""The Dagster code location: assembly only."""

import dagster as dg
from dagster_aws.s3 import S3Resource
from dagster_duckdb import DuckDBResource

from orchestration.assets import analysis, events, explainability, process, provenance, raw
from orchestration.automation import (
    analyses,
    arrivals,
    asking,
    corrections,
    delivery,
    freshness,
    garbage,
    job_status,
    notifications,
    refresh,
    syncing,
)
from orchestration.resources import Workspaces


def build_definitions(**overrides: object) -> dg.Definitions:
    """The code location; a test passes its own resources by name."""
    resources = {"workspaces": Workspaces(duckdb=DuckDBResource(database=":memory:"), s3=S3Resource())}
    return dg.Definitions(
        assets=[
            *dg.load_assets_from_modules([raw, events, process, explainability, provenance, analysis]),
            freshness.releases_are_current,
        ],
        jobs=[
            *refresh.JOBS,
            delivery.delivery_job,
            garbage.garbage_job,
            *corrections.JOBS,
            analyses.analysis_job,
            asking.asking_job,
            syncing.sync_connector,
        ],
        sensors=[
            arrivals.arrival_sensor,
            analyses.analysis_queue,
            corrections.readmissions,
            *job_status.SENSORS,
            notifications.notification_sensor,
            syncing.connector_syncs,
        ],
        schedules=[refresh.daily_refresh, garbage.weekly_garbage],
        resources={**resources, **overrides},
        executor=dg.in_process_executor,
    )


defs = build_definitions()
