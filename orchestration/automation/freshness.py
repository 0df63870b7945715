"""Whether the releases are what the ledgers say: an asset that stays fresh only while no workspace is stale for long.

Dagster judges freshness by the age of an asset's last materialisation. A workspace at rest materialises nothing and its
release is true all the same, so the policy is not on the assets of the standing analysis: it is on this one, which the
sensor reports as materialised, without a run, each time that it finds no workspace stale for longer than ``LATE``.
"""

from datetime import datetime, timedelta
from typing import Any

import dagster as dg

from orchestration.control_plane import database, planner_marks
from orchestration.control_plane.planner_marks import Staleness
from orchestration.settings import Settings

LATE = timedelta(hours=1)
EVERY = timedelta(hours=1)

releases_are_current = dg.AssetSpec(
    "releases_are_current",
    deps=["provenance"],
    description="Every release is what its workspace's ledgers say, or has not been otherwise for more than an hour.",
    group_name="standing_analysis",
    kinds={"postgres"},
    freshness_policy=dg.FreshnessPolicy.time_window(
        fail_window=timedelta(hours=24), warn_window=timedelta(hours=6)
    ),
)


def is_due(cursor: str | None, now: datetime) -> bool:
    """Whether the last report, whose time is the sensor's cursor, is old enough for the next."""
    return cursor is None or now - datetime.fromisoformat(cursor) >= EVERY


def report(settings: Settings, now: datetime) -> dg.AssetMaterialization | dg.AssetObservation:
    """What the sensor says of all workspaces."""
    with database.as_planner(settings.system_dsn) as connection:
        return event(planner_marks.staleness(connection), now)


def event(found: Staleness, now: datetime) -> dg.AssetMaterialization | dg.AssetObservation:
    """A materialisation if no workspace is late, which makes the asset fresh; else an observation that names them."""
    late = found.oldest is not None and now - found.oldest > LATE
    metadata: dict[str, Any] = {"workspaces": found.workspaces, "stale": found.stale}
    if found.oldest is not None:
        metadata |= {
            "stale since": f"{found.oldest:%Y-%m-%d %H:%M} UTC",
            "longest stale": ", ".join(found.longest),
        }
    kind = dg.AssetObservation if late else dg.AssetMaterialization
    return kind(releases_are_current.key, metadata=metadata)
