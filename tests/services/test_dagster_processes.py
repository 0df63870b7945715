"""Dagster's processes, with a tiny code location in place of the project's."""

import json
import os
import re
import shutil
import signal
import socket
import tempfile
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import psutil
import psycopg
import pytest
from pydantic import SecretStr
from sqlalchemy import create_engine
from sqlalchemy.engine import make_url
from sqlalchemy.exc import OperationalError

from orchestration.services.dagster_processes import (
    DagsterFailed,
    choose_webserver_port,
    dagster_environment,
    sqlalchemy_url,
)
from orchestration.services.stack import ServiceStatus, Stack
from orchestration.settings import Installation, Settings, SettingsError, load_settings

DEFINITIONS = """
import os, shutil, time
import dagster as dg

@dg.op
def find_programs():
    assert shutil.which("dbt"), os.environ["PATH"]
    assert os.path.exists("pyproject.toml"), os.getcwd()

@dg.op
def wait_long():
    time.sleep(600)

@dg.op
def wait_a_moment():
    time.sleep(1)

@dg.op
def wait_a_while():
    time.sleep(8)

@dg.job(executor_def=dg.in_process_executor)
def medium():
    wait_a_while()

@dg.job(executor_def=dg.in_process_executor)
def short():
    wait_a_moment()

@dg.job(executor_def=dg.in_process_executor)
def quick():
    find_programs()

@dg.job(executor_def=dg.in_process_executor)
def long():
    wait_long()

defs = dg.Definitions(jobs=[quick, short, medium, long])
"""

LAUNCH = """
mutation ($job: String!, $tags: [ExecutionTag!]) {
  launchRun(executionParams: {
    mode: "default",
    executionMetadata: {tags: $tags},
    selector: {repositoryLocationName: "tiny", repositoryName: "__repository__", jobName: $job}
  }) { __typename ... on LaunchRunSuccess { run { runId } } ... on PythonError { message } }
}
"""
STATUS = "query ($run: ID!) { runOrError(runId: $run) { ... on Run { status startTime endTime } } }"


@pytest.fixture
def folder() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="casetrail-tests-"))
    folder.chmod(0o711)
    (folder / "tiny.py").write_text(DEFINITIONS)
    yield folder
    Stack(Installation(home=folder / "home")).down()
    shutil.rmtree(folder)


def up(folder: Path) -> dict[str, ServiceStatus]:
    stack = Stack(Installation(home=folder / "home"))
    return {service.name: service for service in stack.up(definitions=folder / "tiny.py")}


def ask(settings: Settings, query: str, **variables: Any) -> dict[str, Any]:
    url = f"http://{settings.webserver_host}:{settings.webserver_port}/graphql"
    body = json.dumps({"query": query, "variables": variables}).encode()
    with urlopen(Request(url, body, {"Content-Type": "application/json"}), timeout=20) as answer:
        data: dict[str, Any] = json.load(answer)["data"]
    return data


def launch(settings: Settings, job: str, **tags: str) -> str:
    pairs = [{"key": f"casetrail/{name}", "value": value} for name, value in tags.items()]
    answer = ask(settings, LAUNCH, job=job, tags=pairs)["launchRun"]
    assert answer["__typename"] == "LaunchRunSuccess", answer
    return str(answer["run"]["runId"])


def wait_for(settings: Settings, run: str, *wanted: str) -> None:
    status = None
    for _ in range(300):
        status = ask(settings, STATUS, run=run)["runOrError"]["status"]
        if status in wanted:
            return
        time.sleep(0.2)
    raise AssertionError(f"the run is {status}")


def process_of(settings: Settings, run: str) -> int:
    with psycopg.connect(settings.dagster_dsn.get_secret_value()) as connection:
        rows = connection.execute("select event from event_logs where run_id = %s", (run,)).fetchall()
    (process,) = re.findall(r"Started process for run \(pid: (\d+)\)", " ".join(row[0] for row in rows))[:1]
    return int(process)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_runs_happen_repairs_work_and_nothing_is_left_behind(folder: Path) -> None:
    first = up(folder)
    settings = load_settings(folder / "home")
    wait_for(settings, launch(settings, "quick"), "SUCCESS")

    works = launch(settings, "medium")
    wait_for(settings, works, "STARTED")
    for killed in (["code-server"], ["webserver", "daemon"]):
        before = up(folder)
        for name in killed:
            process = psutil.Process(before[name].pid)
            process.kill()
            process.wait(10)
        second = up(folder)
        assert {second[name].state for name in second} == {"running"}
        assert all(second[name].pid != before[name].pid for name in killed)
    assert second["postgres"] == first["postgres"], "what runs is not touched"
    wait_for(settings, launch(settings, "quick"), "SUCCESS")

    wait_for(settings, works, "SUCCESS")

    killed_run = launch(settings, "long")
    wait_for(settings, killed_run, "STARTED")
    os.kill(process_of(settings, killed_run), signal.SIGKILL)
    wait_for(settings, killed_run, "FAILURE")

    interrupted = launch(settings, "long")
    wait_for(settings, interrupted, "STARTED")
    states = {service.state for service in Stack(Installation(home=folder / "home")).down()}
    assert states == {"stopped"}
    marker = str(folder)
    left = [process for process in psutil.process_iter(["cmdline"]) if marker in str(process.info["cmdline"])]
    assert left == []

    up(folder)
    wait_for(settings, interrupted, "FAILURE")


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_the_queue_is_fair_between_workspaces_and_runs_one_at_a_time_in_each(folder: Path) -> None:
    up(folder)
    settings = load_settings(folder / "home")
    runs = {f"big {n}": launch(settings, "short", workspace="big") for n in range(6)}
    runs["other"] = launch(settings, "short", workspace="other")
    for run in runs.values():
        wait_for(settings, run, "SUCCESS")
    times = {name: ask(settings, STATUS, run=run)["runOrError"] for name, run in runs.items()}
    assert times["other"]["startTime"] < times["big 2"]["startTime"]
    ours = [times[f"big {n}"] for n in range(6)]
    for earlier, later in pairwise(ours):
        assert earlier["endTime"] <= later["startTime"]


@pytest.mark.slow
def test_broken_definitions_are_reported_by_up(folder: Path) -> None:
    (folder / "tiny.py").write_text("raise ValueError('no such luck')")
    with pytest.raises(DagsterFailed, match=r"(?s)cannot load tiny.*no such luck"):
        up(folder)
    (folder / "tiny.py").write_text(DEFINITIONS)
    Stack(Installation(home=folder / "home")).down()
    assert up(folder)["webserver"].state == "running"


def test_dagster_gets_the_url_of_the_driver_that_works() -> None:
    dsn = SecretStr("postgresql://dagster:p%40ss%2Fword@127.0.0.1:1234/dagster?sslmode=require")
    url = make_url(sqlalchemy_url(dsn))
    assert url.drivername == "postgresql+psycopg2"
    assert (url.username, url.password, url.host, url.port) == ("dagster", "p@ss/word", "127.0.0.1", 1234)
    assert (url.database, url.query["sslmode"]) == ("dagster", "require")
    assert make_url(sqlalchemy_url(SecretStr("host=h user=u"))).database == "u"


def test_dagster_gives_up_a_server_that_does_not_answer() -> None:
    """Else its sensor waits for ever, and never ticks again."""
    assert make_url(sqlalchemy_url(SecretStr("host=h user=u"))).query["connect_timeout"] == "10"
    with socket.create_server(("127.0.0.1", 0)) as silent:
        dsn = f"host=127.0.0.1 port={silent.getsockname()[1]} user=u connect_timeout=2"
        began = time.monotonic()
        with pytest.raises(OperationalError, match="timeout"):
            create_engine(sqlalchemy_url(SecretStr(dsn))).connect()
        assert time.monotonic() - began < 10


def test_the_environment_names_the_installation_s_instance(installation: Settings) -> None:
    environment = dagster_environment(installation)
    assert environment["DAGSTER_HOME"] == str(installation.home / "dagster")
    assert environment["CASETRAIL_HOME"] == str(installation.home)
    assert make_url(environment["CASETRAIL_DAGSTER_URL"]).database == "dagster"


def test_the_webserver_s_port_is_kept_else_the_usual_else_a_free_one() -> None:
    usual = Installation()
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_server(("127.0.0.1", 0)) as other:
        taken, kept = server.getsockname()[1], other.getsockname()[1]
        other.close()
        assert choose_webserver_port(usual, kept, is_running=False) == kept
        assert choose_webserver_port(usual, taken, is_running=True) == taken
        assert choose_webserver_port(usual, taken, is_running=False) != taken
        with pytest.raises(SettingsError, match=f"port {taken} is taken"):
            choose_webserver_port(Installation(webserver_port=taken), None, is_running=False)
