"""Partition keys of workspaces and months, and what a run's keys mean."""

from collections.abc import Iterator
from datetime import UTC, datetime

import dagster as dg
import pytest

from orchestration.partitions import (
    WORKSPACE_PARTITIONS_NAME,
    cases_need_later_events,
    explanations_need_earlier_cases,
    months_by_workspace,
    partition_key,
    workspace_months,
)


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as made:
        made.add_dynamic_partitions(WORKSPACE_PARTITIONS_NAME, ["acme", "beta"])
        yield made


def keys_in(instance: dg.DagsterInstance, first: str, last: str) -> list[str]:
    span = dg.PartitionKeyRange(first, last)
    return list(workspace_months.get_partition_keys_in_range(span, instance))


def test_the_key_names_the_month_first() -> None:
    assert str(partition_key("acme", "2024-03")) == "2024-03|acme"


def test_a_range_gives_all_months_of_its_workspace_only(instance: dg.DagsterInstance) -> None:
    keys = keys_in(instance, "2023-11|acme", "2024-02|acme")
    assert months_by_workspace(keys) == {"acme": ["2023-11", "2023-12", "2024-01", "2024-02"]}


def test_a_range_over_workspaces_gives_each_its_months(instance: dg.DagsterInstance) -> None:
    keys = keys_in(instance, "2024-01|acme", "2024-02|beta")
    assert months_by_workspace(reversed(keys)) == {
        "acme": ["2024-01", "2024-02"],
        "beta": ["2024-01", "2024-02"],
    }


def test_a_reversed_range_is_refused(instance: dg.DagsterInstance) -> None:
    """Dagster itself calls a run over such a range a success."""
    keys = keys_in(instance, "2024-02|acme", "2024-01|acme")
    with pytest.raises(ValueError, match="range reversed"):
        months_by_workspace(keys)


def test_a_slug_may_hold_a_hyphen_and_a_digit() -> None:
    assert months_by_workspace(["2024-01|acme-2-eu"]) == {"acme-2-eu": ["2024-01"]}


def test_the_running_month_has_a_partition(instance: dg.DagsterInstance) -> None:
    keys = workspace_months.get_partition_keys(dynamic_partitions_store=instance)
    assert keys[0] == "2000-01|acme"
    months = {str(key).split("|")[0] for key in keys}
    assert max(months) > datetime.now(UTC).strftime("%Y-%m")


@pytest.mark.parametrize(
    ("mapping", "first", "last"),
    [
        (cases_need_later_events, "2024-03", "2025-02"),
        (explanations_need_earlier_cases, "2023-04", "2024-03"),
    ],
)
def test_the_mappings_stay_in_the_workspace_and_reach_a_year(
    instance: dg.DagsterInstance, mapping: dg.PartitionMapping, first: str, last: str
) -> None:
    downstream = workspace_months.subset_with_partition_keys(["2024-03|acme"])
    upstream = mapping.get_upstream_mapped_partitions_result_for_partitions(
        downstream, workspace_months, workspace_months, dynamic_partitions_store=instance
    )
    reached = months_by_workspace(upstream.partitions_subset.get_partition_keys())
    assert list(reached) == ["acme"]
    assert (reached["acme"][0], reached["acme"][-1], len(reached["acme"])) == (first, last, 12)
