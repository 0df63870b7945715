"""The run queue: fair between workspaces, small runs before large ones, and no run waits without end.

Dagster launches queued runs by priority. Ours is a run's place in virtual time: its submission, or the place of the
last run of its workspace that is still queued, whichever is later, plus the seconds that it is expected to take. So a
large run gives way to the small ones that come within its own length, and to no later one; and the hundredth run of a
workspace's backfill stands behind the first run of anyone else. Not here: launching, which Dagster's daemon does.
"""

import time
from collections.abc import Iterable, Mapping
from typing import Any

import dagster as dg

from orchestration.automation.tags import ANALYSIS_TAG, EXPECTED_SECONDS_TAG, WORKSPACE_TAG

PRIORITY_TAG = "dagster/priority"
SIZE_TAG = "casetrail/size"
LARGE = "large"
LARGE_SECONDS = 60
"""A run that takes longer is large; large runs leave one place free, so that small ones need not wait for their end."""

_PARTITION = "dagster/partition"
_FIRST, _LAST = "dagster/asset_partition_range_start", "dagster/asset_partition_range_end"
_LEAST_SECONDS, _SECONDS_PER_MONTH = 5, 1


def place(now: float, expected_seconds: float, ahead: Iterable[int]) -> int:
    """The place in virtual time (seconds since 1970) of a run that is submitted now.

    Args:
        now: seconds since 1970.
        expected_seconds: what the run will take.
        ahead: the places of the runs of its workspace that are queued.
    """
    return round(max([now, *ahead]) + expected_seconds)


def expected_seconds(tags: Mapping[str, str]) -> float:
    """What a run will take, as it says itself, or by the number of its months."""
    if EXPECTED_SECONDS_TAG in tags:
        return float(tags[EXPECTED_SECONDS_TAG])
    if _FIRST not in tags or _LAST not in tags:
        return _LEAST_SECONDS
    first, last = (_months(tags[end].partition("|")[0]) for end in (_FIRST, _LAST))
    return max(_LEAST_SECONDS, (last - first + 1) * _SECONDS_PER_MONTH)


def only_workspace(tags: Mapping[str, str]) -> str | None:
    """The workspace that a run refreshes, also of one from the UI, which names partitions; None for none or several."""
    if ANALYSIS_TAG in tags:
        return None
    if WORKSPACE_TAG in tags:
        return tags[WORKSPACE_TAG]
    keys = [tags[name] for name in (_PARTITION, _FIRST, _LAST) if "|" in tags.get(name, "")]
    slugs = {key.partition("|")[2] for key in keys}
    return slugs.pop() if len(slugs) == 1 else None


def queue_tags(tags: Mapping[str, str], now: float, ahead: Iterable[int]) -> dict[str, str]:
    """What to add to the tags of a run that is submitted now. A priority that somebody chose stays."""
    seconds, slug = expected_seconds(tags), only_workspace(tags)
    added = {PRIORITY_TAG: str(-place(now, seconds, ahead))}
    if slug is not None:
        added[WORKSPACE_TAG] = slug
    if seconds > LARGE_SECONDS:
        added[SIZE_TAG] = LARGE
    return {name: value for name, value in added.items() if name not in tags}


def tag_limits(most_runs: int) -> list[dict[str, Any]]:
    """Dagster's limits by tag: one run at a time on a workspace, and one place that large runs leave free."""
    return [
        {"key": WORKSPACE_TAG, "value": {"applyLimitPerUniqueValue": True}, "limit": 1},
        {"key": SIZE_TAG, "value": LARGE, "limit": max(1, most_runs - 1)},
    ]


class WorkspaceRunCoordinator(dg.QueuedRunCoordinator):
    """Dagster's queue, with places given to runs as they are submitted. Named in `dagster.yaml`."""

    def get_run_queue_config(self) -> Any:
        """Dagster's own configuration, with our limits."""
        config = super().get_run_queue_config()
        return config._replace(tag_concurrency_limits=tag_limits(config.max_concurrent_runs))

    def submit_run(self, context: dg.SubmitRunContext) -> dg.DagsterRun:
        """Put a run into the queue."""
        run = context.dagster_run
        if run.status == dg.DagsterRunStatus.NOT_STARTED:
            ahead = self._places_ahead(only_workspace(run.tags))
            self._instance.add_run_tags(run.run_id, queue_tags(run.tags, time.time(), ahead))
        return super().submit_run(context)

    def _places_ahead(self, slug: str | None) -> list[int]:
        if slug is None:
            return []
        of_workspace = dg.RunsFilter(statuses=[dg.DagsterRunStatus.QUEUED], tags={WORKSPACE_TAG: slug})
        return [-int(run.tags[PRIORITY_TAG]) for run in self._instance.get_runs(of_workspace)]


def _months(month: str) -> int:
    return int(month[:4]) * 12 + int(month[5:7])
