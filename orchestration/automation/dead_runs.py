"""Runs whose process was killed: Dagster would call them started until their time limit, and their workspace busy."""

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta

import dagster as dg

from orchestration.control_plane import database
from orchestration.control_plane.liveness import alive_runs
from orchestration.settings import load_settings

STARTING_TIME = timedelta(seconds=60)
"""A run has so long from its start to its first stage, where it proves itself alive."""


def find_dead(started: Mapping[str, datetime], alive: Iterable[str], now: datetime) -> list[str]:
    """The runs (id -> start, UTC) that had the time to prove themselves alive and do not."""
    alive = set(alive)
    return sorted(r for r, start in started.items() if r not in alive and now - start > STARTING_TIME)


def fail_dead_runs(instance: dg.DagsterInstance, names: Iterable[str], now: datetime) -> list[str]:
    """Report the dead runs of these jobs as failed; returns their ids."""
    names = set(names)
    records = instance.get_run_records(dg.RunsFilter(statuses=[dg.DagsterRunStatus.STARTED]))
    runs = {r.dagster_run.run_id: r for r in records if r.dagster_run.job_name in names and r.start_time}
    started = {run_id: datetime.fromtimestamp(r.start_time or 0, now.tzinfo) for run_id, r in runs.items()}
    if not started:
        return []
    with database.as_system(load_settings().system_dsn, None) as connection:
        dead = find_dead(started, alive_runs(connection, started), now)
    for run_id in dead:
        instance.report_run_failed(
            runs[run_id].dagster_run, "The process of this run is gone: it was killed."
        )
    return dead
