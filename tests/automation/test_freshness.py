"""The asset that is fresh while no workspace is stale for long."""

from datetime import UTC, datetime, timedelta

import dagster as dg

from orchestration.automation.freshness import EVERY, LATE, event, is_due, releases_are_current
from orchestration.control_plane.planner_marks import Staleness
from orchestration.definitions import defs

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)


def test_it_is_materialised_while_nothing_is_stale_or_only_for_a_short_time() -> None:
    assert isinstance(event(Staleness(3, 0, None, []), NOW), dg.AssetMaterialization)
    assert isinstance(event(Staleness(3, 1, NOW - LATE, ["acme"]), NOW), dg.AssetMaterialization)


def test_a_workspace_that_is_late_is_observed_by_name_and_leaves_the_asset_to_age() -> None:
    seen = event(Staleness(3, 2, NOW - LATE - timedelta(seconds=1), ["acme", "beta"]), NOW)
    assert isinstance(seen, dg.AssetObservation)
    assert seen.metadata["longest stale"].value == "acme, beta"
    assert seen.metadata["stale since"].value == "2026-01-01 10:59 UTC"


def test_it_is_reported_once_an_hour() -> None:
    assert is_due(None, NOW)
    assert not is_due(NOW.isoformat(), NOW + EVERY - timedelta(seconds=1))
    assert is_due(NOW.isoformat(), NOW + EVERY)


def test_the_policy_is_on_it() -> None:
    policy = defs.resolve_asset_graph().get(releases_are_current.key).freshness_policy
    assert isinstance(policy, dg.FreshnessPolicy)
