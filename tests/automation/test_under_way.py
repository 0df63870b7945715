"""Which workspaces a run works on, by its tags alone."""

from orchestration.automation.under_way import between, workspaces_named

START, END = "dagster/asset_partition_range_start", "dagster/asset_partition_range_end"


def test_a_run_of_ours_names_its_workspace() -> None:
    assert workspaces_named({"casetrail/workspace": "acme", START: "2024-01|beta"}) == ("acme", "acme")


def test_a_backfill_of_one_partition_names_it() -> None:
    assert workspaces_named({"dagster/partition": "2024-01|acme"}) == ("acme", "acme")


def test_a_ranged_backfill_may_span_workspaces() -> None:
    assert workspaces_named({START: "2024-01|acme", END: "2024-03|acme"}) == ("acme", "acme")
    assert workspaces_named({START: "2024-01|acme", END: "2024-01|zeta"}) == ("acme", "zeta")
    assert between(["acme", "beta", "zeta", "other"], "acme", "zeta") == ["acme", "beta", "zeta"]
    assert between(["acme"], "acme", "gone") == ["acme", "gone"]


def test_a_run_without_partitions_names_none() -> None:
    assert workspaces_named({"team": "x"}) is None
    assert workspaces_named({"dagster/partition": "2024-01"}) is None
