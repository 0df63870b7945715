"""Dropped files through the real daemon: what the UI shows of their delivery, and a delivery that is killed."""

import json
import os
import re
import signal
import time
from collections.abc import Callable
from typing import Any
from urllib.request import Request, urlopen

import psycopg
import pytest

from orchestration.control_plane import connectors, database, workspaces
from orchestration.lake import layout
from orchestration.lake.credentials import CredentialBroker
from orchestration.lake.objects import WorkspaceStore
from tests.e2e.conftest import Casetrail

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]

WAIT_SECONDS = 240
ASSETS = {"raw_records", "events", "cases", "variants", "process_map", "explainability", "provenance"}

RUNS = """
query ($slug: String!) {
  runsOrError(filter: {tags: [{key: "casetrail/workspace", value: $slug}]}) { ... on Runs { results {
    jobName status assets { key { path } }
  } } }
}
"""
NODES = """
{ assetNodes {
  assetKey { path }
  assetPartitionStatuses { ... on MultiPartitionStatuses { primaryDimensionName ranges {
    primaryDimStartKey primaryDimEndKey
    secondaryDim { ... on TimePartitionStatuses { ranges { startKey endKey status } }
                   ... on DefaultPartitionStatuses { materializedPartitions } }
  } } }
  assetChecksOrError { ... on AssetChecks { checks { name executionForLatestMaterialization { status runId } } } }
} }
"""


class Inbox:
    """The inbox of a new workspace."""

    def __init__(self, casetrail: Casetrail, slug: str) -> None:
        casetrail.json("workspace", "create", slug, "--slug", slug, "--owner", f"ada@{slug}.example")
        self._casetrail, self.slug, self.settings = casetrail, slug, casetrail.settings()
        with database.as_user(self.settings.app_dsn, self.settings.operator) as connection:
            workspace = workspaces.find_workspace(connection, slug)
            owner = connectors.ensure_connector(connection, workspace.id, "csv_upload", "nightly", {})
        self._prefix = layout.inbox_prefix(workspace.id, owner.id)
        self._store = WorkspaceStore(CredentialBroker(self.settings).for_workspace(workspace.id, "EU"))

    def drop(self, name: str, lines: list[str]) -> None:
        text = "\n".join(["case,activity,time", *lines]) + "\n"
        self._store.put_bytes(f"{self._prefix}{name}", text.encode())

    def events(self) -> int:
        if self._casetrail.json("workspace", "show", self.slug)["standing_analysis"]["provenance_id"] is None:
            return 0
        (row,) = self._casetrail.query(self.slug, "select count(*) as n from events")
        return int(row["n"])

    def ask(self, query: str, **variables: str) -> Any:
        url = f"http://{self.settings.webserver_host}:{self.settings.webserver_port}/graphql"
        body = json.dumps({"query": query, "variables": variables}).encode()
        with urlopen(Request(url, body, {"Content-Type": "application/json"}), timeout=60) as answer:
            return json.load(answer)["data"]

    def runs(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.ask(RUNS, slug=self.slug)["runsOrError"]["results"]
        return found


def wait_until(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + WAIT_SECONDS
    while not condition():
        assert time.monotonic() < deadline, f"{what}: not within {WAIT_SECONDS} s"
        time.sleep(0.5)


def lines(months: list[str], cases: int) -> list[str]:
    return [
        f"{month}/{case},{activity},{month}-{day:02}T{case % 24:02}:00:00Z"
        for month in months
        for case in range(cases)
        for activity, day in (("order", 3), ("ship", 5), ("pay", 9))
    ]


def test_one_run_releases_a_dropped_file_and_the_ui_shows_its_assets(casetrail: Casetrail) -> None:
    inbox = Inbox(casetrail, "shown")
    inbox.drop("log.csv", lines(["2024-02", "2024-03"], 8))
    wait_until(lambda: inbox.events() == 48, "a release of the dropped file")
    wait_until(lambda: [run["status"] for run in inbox.runs()] == ["SUCCESS"], "the end of the only run")
    (run,) = inbox.runs()
    assert run["jobName"] == "delivery_job"
    assert {asset["key"]["path"][-1] for asset in run["assets"]} == ASSETS
    nodes = {node["assetKey"]["path"][-1]: node for node in inbox.ask(NODES)["assetNodes"]}
    for name in ASSETS:
        assert materialised(nodes[name], "shown") == {"2024-02", "2024-03"}, name
        checks = nodes[name]["assetChecksOrError"].get("checks", ())
        assert all(check["executionForLatestMaterialization"]["status"] == "SUCCEEDED" for check in checks)


def materialised(node: dict[str, Any], slug: str) -> set[str]:
    """The months of a workspace that the UI draws as materialised."""
    statuses, months = node["assetPartitionStatuses"], set()
    for entry in statuses["ranges"]:
        second = entry["secondaryDim"]
        if statuses["primaryDimensionName"] == "workspace":
            if entry["primaryDimStartKey"] <= slug <= entry["primaryDimEndKey"]:
                months |= {m for r in second["ranges"] for m in (r["startKey"], r["endKey"])}
        elif slug in second["materializedPartitions"]:
            months |= {entry["primaryDimStartKey"], entry["primaryDimEndKey"]}
    return months


def test_a_killed_delivery_is_noticed_and_what_it_left_is_released(casetrail: Casetrail) -> None:
    inbox = Inbox(casetrail, "killed")
    inbox.drop("log.csv", lines([f"2023-{month:02}" for month in range(1, 13)], 1_500))
    wait_until(lambda: process_of_the_run(inbox) is not None, "the start of the delivery")
    process = process_of_the_run(inbox)
    assert process is not None
    os.kill(process, signal.SIGKILL)
    wait_until(lambda: inbox.events() == 12 * 1_500 * 3, "a release of the dropped file")
    wait_until(lambda: {run["status"] for run in inbox.runs()} == {"SUCCESS", "FAILURE"}, "both runs' ends")


def process_of_the_run(inbox: Inbox) -> int | None:
    """The process of the workspace's first run, once it works on its step."""
    with psycopg.connect(inbox.settings.dagster_dsn.get_secret_value()) as connection:
        rows = connection.execute(
            """
            select event from event_logs
            where run_id in (select run_id from run_tags where key = 'casetrail/workspace' and value = %s)
                and dagster_event_type in ('ENGINE_EVENT', 'STEP_START')
            order by id
            """,
            (inbox.slug,),
        ).fetchall()
    found = [re.search(r"Started process for run \(pid: (\d+)\)", row[0]) for row in rows]
    started = any("STEP_START" in row[0] for row in rows)
    return next((int(match[1]) for match in found if match), None) if started else None
