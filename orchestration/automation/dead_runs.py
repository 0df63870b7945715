"""Runs whose process was killed: Dagster would call them started until their time limit, and their workspace busy."""

from collections.abc import Collection, Iterable, Mapping
from datetime import UTC, datetime, timedelta

import dagster as dg

from orchestration.control_plane import database
from orchestration.control_plane.liveness import alive_runs
from orchestration.settings import load_settings

ASSET_JOB = "__ASSET_JOB"
"""So begin the names of the jobs that Dagster makes for assets that are materialised from the UI."""

_MUST_HAVE_A_PROCESS = (dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.STARTED)
"""A process that is killed before its first event leaves its run starting; Dagster would wait three minutes."""

KILLED = "The process of the run was killed."
"""What is said of such a run, whoever finds it first."""

STARTING_TIME = timedelta(seconds=60)
"""A run has so long from its start to its first stage, where it proves itself alive."""


def find_dead(started: Mapping[str, datetime], alive: Iterable[str], now: datetime) -> list[str]:
    """The runs (id -> start, UTC) that had the time to prove themselves alive and do not."""
    alive = set(alive)
    return sorted(r for r, start in started.items() if r not in alive and now - start > STARTING_TIME)


def fail_dead_runs(
    instance: dg.DagsterInstance, records: Iterable[dg.RunRecord], names: Collection[str], now: datetime
) -> list[str]:
    """Report the dead ones among the launched runs of these jobs and of backfills as failed; returns their ids."""
    runs = {
        r.dagster_run.run_id: r
        for r in records
        if r.dagster_run.status in _MUST_HAVE_A_PROCESS
        and (r.dagster_run.job_name in names or r.dagster_run.job_name.startswith(ASSET_JOB))
    }
    if not runs:
        return []
    started = {run_id: _began(record) for run_id, record in runs.items()}
    with database.as_system(load_settings().system_dsn, None) as connection:
        dead = find_dead(started, alive_runs(connection, started), now)
    # A run that ended well since the records were read has no process either, and one may just have begun.
    dead = [run_id for run_id in dead if _is_as_read(instance, runs[run_id].dagster_run)]
    for run_id in dead:
        instance.report_run_failed(runs[run_id].dagster_run, KILLED)
    return dead


def _began(record: dg.RunRecord) -> datetime:
    """When its work began, or, of a run that is only starting, when it was launched; UTC."""
    if record.start_time:
        return datetime.fromtimestamp(record.start_time, UTC)
    return record.update_timestamp


def _is_as_read(instance: dg.DagsterInstance, read: dg.DagsterRun) -> bool:
    run = instance.get_run_by_id(read.run_id)
    return run is not None and run.status is read.status
