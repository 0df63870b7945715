"""A run whose process was killed is found, and no other."""

import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta

import dagster as dg
import pytest

from orchestration.automation import dead_runs
from orchestration.automation.dead_runs import STARTING_TIME, fail_dead_runs, find_dead
from orchestration.control_plane import database
from orchestration.control_plane.liveness import alive_runs, prove_alive
from orchestration.settings import Settings

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)


def test_a_started_run_without_its_lock_is_dead_once_it_had_the_time_to_take_it() -> None:
    old, new = NOW - STARTING_TIME - timedelta(seconds=1), NOW - timedelta(seconds=5)
    assert find_dead({"killed": old, "working": old, "starting": new}, {"working"}, NOW) == ["killed"]


def test_a_killed_process_loses_its_proof_and_a_living_one_keeps_it(installation: Settings) -> None:
    script = (
        "import sys, time; from orchestration.control_plane.liveness import prove_alive;"
        "prove_alive(sys.stdin.readline().strip(), 'theirs'); print('held', flush=True); time.sleep(600)"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert child.stdin is not None
    assert child.stdout is not None
    child.stdin.write(installation.system_dsn.get_secret_value() + "\n")
    child.stdin.flush()
    assert child.stdout.readline() == "held\n"
    prove_alive(installation.system_dsn, "ours")
    assert _alive(installation) == {"ours", "theirs"}
    child.kill()
    child.wait()
    deadline = time.monotonic() + 10
    while "theirs" in _alive(installation) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert _alive(installation) == {"ours"}


def test_a_dead_run_of_a_backfill_is_failed_and_runs_of_others_are_left_alone(
    installation: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CASETRAIL_HOME", str(installation.home))
    with dg.DagsterInstance.ephemeral() as instance:
        records = []
        for number, job_name in enumerate(("__ASSET_JOB_0", "case_job", "their_job")):
            run = dg.DagsterRun(job_name=job_name, status=dg.DagsterRunStatus.STARTED)
            instance.add_run(run)
            began = NOW - STARTING_TIME - timedelta(seconds=1)
            records.append(dg.RunRecord(number, run, began, began, start_time=began.timestamp()))
        dead = fail_dead_runs(instance, records, {"case_job"}, NOW)
        assert set(dead) == {records[0].dagster_run.run_id, records[1].dagster_run.run_id}
        failed = instance.get_runs(dg.RunsFilter(statuses=[dg.DagsterRunStatus.FAILURE]))
        assert {run.run_id for run in failed} == set(dead)
        # In the words of those that Dagster finds first.
        told = {instance.all_logs(run_id)[-1].get_dagster_event().message for run_id in dead}
        assert told == {"The process of the run was killed."}


@dg.op
def _work() -> None: ...


@dg.job
def _short_job() -> None:
    _work()


@pytest.mark.parametrize("status_read", [dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.STARTED])
@pytest.mark.parametrize("ended_meanwhile", [True, False])
def test_a_run_that_ended_well_while_we_looked_is_not_failed(
    installation: Settings,
    monkeypatch: pytest.MonkeyPatch,
    ended_meanwhile: bool,
    status_read: dg.DagsterRunStatus,
) -> None:
    monkeypatch.setattr(dead_runs, "load_settings", lambda: installation)
    with dg.DagsterInstance.ephemeral() as instance:
        _short_job.execute_in_process(instance=instance)
        (record,) = instance.get_run_records()
        started = record.dagster_run.with_status(status_read)
        if not ended_meanwhile:
            monkeypatch.setattr(instance, "get_run_by_id", lambda _run_id: started)
        began = record.start_time if status_read is dg.DagsterRunStatus.STARTED else None
        seen = [record._replace(dagster_run=started, start_time=began)]
        later = datetime.now(UTC) + 2 * STARTING_TIME
        failed = fail_dead_runs(instance, seen, {"_short_job"}, later)
        status = instance.get_run_records()[0].dagster_run.status
    expected = dg.DagsterRunStatus.SUCCESS if ended_meanwhile else dg.DagsterRunStatus.FAILURE
    assert (bool(failed), status) == (not ended_meanwhile, expected)


def _alive(settings: Settings) -> set[str]:
    with database.as_system(settings.system_dsn, None) as connection:
        return alive_runs(connection, ["ours", "theirs", "never"])
