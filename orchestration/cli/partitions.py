"""The Dagster side of making a workspace: its key in the dynamic partition."""

import os
from pathlib import Path

from orchestration.services.dagster_processes import dagster_environment
from orchestration.settings import load_settings


def ensure_workspace_partition(slug: str) -> None:
    """Add the workspace's partition if Dagster is set up here. The arrival sensor adds what was left out."""
    environment = dagster_environment(load_settings())
    if not Path(environment["DAGSTER_HOME"]).is_dir():
        return
    os.environ.update(environment)  # noqa: TID251  (Dagster finds its instance by the environment only)
    # Dagster takes a second to import, and most commands do not need it.
    from dagster import DagsterInstance

    from orchestration.partitions import WORKSPACE_PARTITIONS_NAME

    with DagsterInstance.get() as instance:
        instance.add_dynamic_partitions(WORKSPACE_PARTITIONS_NAME, [slug])
