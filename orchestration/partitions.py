"""Workspace x month: the partitions of every asset, their keys, and which upstream months a month looks at.

Not here: which months must be rebuilt; the fingerprints decide that (``stages.staleness``). The mappings below are what
the Dagster UI draws.
"""

import warnings
from collections.abc import Iterable

import dagster as dg

from orchestration.settings import load_installation
from orchestration.stages.staleness import EXPLANATION_WINDOW_MONTHS

# The partition mappings are beta in Dagster 1.13; the pin to one version is what keeps them as they are.
warnings.filterwarnings("ignore", category=dg.BetaWarning, message=".*PartitionMapping.*")

WORKSPACE_PARTITIONS_NAME = "workspace"

workspace_partitions = dg.DynamicPartitionsDefinition(name=WORKSPACE_PARTITIONS_NAME)
# end_offset: the running month, which otherwise has no partition, and the next one, for records dated tomorrow.
month_partitions = dg.MonthlyPartitionsDefinition(
    start_date=load_installation().first_month, fmt="%Y-%m", end_offset=2
)
workspace_months = dg.MultiPartitionsDefinition(
    {"workspace": workspace_partitions, "month": month_partitions}
)


ANALYSIS_PARTITIONS_NAME = "analysis"

analysis_partitions = dg.DynamicPartitionsDefinition(name=ANALYSIS_PARTITIONS_NAME)
workspace_analyses = dg.MultiPartitionsDefinition(
    {"workspace": workspace_partitions, "analysis": analysis_partitions}
)


def analysis_key(slug: str, analysis_id: str) -> dg.MultiPartitionKey:
    """The partition key of an analysis on demand."""
    return dg.MultiPartitionKey({"workspace": slug, "analysis": analysis_id})


def _months(start_offset: int, end_offset: int) -> dg.MultiPartitionMapping:
    return dg.MultiPartitionMapping(
        {
            "workspace": dg.DimensionPartitionMapping("workspace", dg.IdentityPartitionMapping()),
            "month": dg.DimensionPartitionMapping(
                "month",
                dg.TimeWindowPartitionMapping(
                    start_offset=start_offset,
                    end_offset=end_offset,
                    allow_nonexistent_upstream_partitions=True,
                ),
            ),
        }
    )


cases_need_later_events = _months(0, 11)
"""A case carries its later events: drawn for a year, though a case may run on for longer."""

explanations_need_earlier_cases = _months(1 - EXPLANATION_WINDOW_MONTHS, 0)


def partition_key(slug: str, month: str) -> dg.MultiPartitionKey:
    """The partition key of a workspace's month."""
    return dg.MultiPartitionKey({"workspace": slug, "month": month})


def months_by_workspace(keys: Iterable[str]) -> dict[str, list[str]]:
    """``{slug: [months]}`` of the partition keys of a run, which may span workspaces; slugs and months in order.

    Raises:
        ValueError: there are no keys; Dagster accepts a reversed range and calls the empty run a success.
    """
    grouped: dict[str, list[str]] = {}
    for key in keys:
        parts = workspace_months.get_partition_key_from_str(key).keys_by_dimension
        grouped.setdefault(parts["workspace"], []).append(parts["month"])
    if not grouped:
        raise ValueError("this run has no partitions: is its range reversed?")
    return {slug: sorted(months) for slug, months in sorted(grouped.items())}
