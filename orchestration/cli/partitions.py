"""The Dagster side of making a workspace: its key in the dynamic partition."""

import os
from pathlib import Path

import typer

from orchestration.services.dagster_processes import dagster_environment
from orchestration.settings import load_settings


def ensure_workspace_partition(slug: str) -> None:
    """Add the workspace's partition if Dagster is set up here and answers.

    It may be down or elsewhere: the workspace is made then all the same, and the arrival sensor adds its partition.
    """
    environment = dagster_environment(load_settings())
    if not Path(environment["DAGSTER_HOME"]).is_dir():
        return
    os.environ.update(environment)  # noqa: TID251  (Dagster finds its instance by the environment only)
    # Dagster takes a second to import, and most commands do not need it.
    from dagster import DagsterInstance
    from dagster_postgres.utils import DagsterPostgresException

    from orchestration.partitions import WORKSPACE_PARTITIONS_NAME

    try:
        with DagsterInstance.get() as instance:
            instance.add_dynamic_partitions(WORKSPACE_PARTITIONS_NAME, [slug])
    except DagsterPostgresException:
        typer.echo("Dagster's database does not answer; its sensor adds the partition later.", err=True)
