"""The runs under way, read once a tick, and the workspaces that they work on."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

import dagster as dg

from orchestration.automation.tags import ANALYSIS_TAG, WORKSPACE_TAG
from orchestration.partitions import WORKSPACE_PARTITIONS_NAME, months_by_workspace

_IN_PROGRESS = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]

_KEY_TAGS = (
    "dagster/partition",
    "dagster/asset_partition_range_start",
    "dagster/asset_partition_range_end",
)


def runs_in_progress(instance: dg.DagsterInstance) -> Sequence[dg.RunRecord]:
    """Every run that is queued or works, in one query."""
    return instance.get_run_records(dg.RunsFilter(statuses=_IN_PROGRESS))


def busy_workspaces(instance: dg.DagsterInstance, records: Iterable[dg.RunRecord]) -> set[str]:
    """The slugs of the workspaces that these runs work on.

    Runs of ours name theirs in a tag. Those of a backfill from the UI name partitions: one, or a range, which may span
    workspaces.
    """
    found = [workspaces_named(record.dagster_run.tags) for record in records]
    slugs = {ends[0] for ends in found if ends and ends[0] == ends[1]}
    if spans := [ends for ends in found if ends and ends[0] != ends[1]]:
        order = list(instance.get_dynamic_partitions(WORKSPACE_PARTITIONS_NAME))
        for first, last in spans:
            slugs |= set(between(order, first, last))
    return slugs


def failed_since(instance: dg.DagsterInstance, since: datetime) -> set[str]:
    """The workspaces of which a run failed or was cancelled after this moment (UTC); not those of spanning runs."""
    ended = instance.get_run_records(
        dg.RunsFilter(
            statuses=[dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED], updated_after=since
        )
    )
    # A run is updated after its end too, such as by a retry.
    named = [only_workspace(r.dagster_run) for r in ended if r.end_time and r.end_time > since.timestamp()]
    return {slug for slug in named if slug is not None}


def only_workspace(run: dg.DagsterRun) -> str | None:
    """The workspace of a run; None for a backfill over several, each of which is planned for afterwards."""
    named = workspaces_named(run.tags)
    return named[0] if named and named[0] == named[1] else None


def workspaces_named(tags: Mapping[str, str]) -> tuple[str, str] | None:
    """The first and the last workspace that a run refreshes, by its tags; None if it refreshes none."""
    if ANALYSIS_TAG in tags:
        return None
    if slug := tags.get(WORKSPACE_TAG):
        return slug, slug
    keys = [tags[tag] for tag in _KEY_TAGS if "|" in tags.get(tag, "")]
    slugs = [next(iter(months_by_workspace([key]))) for key in keys]
    return (slugs[0], slugs[-1]) if slugs else None


def between(order: Sequence[str], first: str, last: str) -> Sequence[str]:
    """The workspaces from ``first`` to ``last`` in Dagster's order; those two alone if it does not know them."""
    if first not in order or last not in order:
        return [first, last]
    return order[order.index(first) : order.index(last) + 1]
