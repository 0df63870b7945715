"""What the Dagster UI asks the webserver, over its GraphQL: backfills, runs, sensors."""

import json
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.request import Request, urlopen

from orchestration.settings import Settings

ASSETS = ("raw_records", "events", "cases", "variants", "process_map", "explainability", "provenance")
DEFINITIONS = "orchestration.definitions"
ENDED = ("SUCCESS", "FAILURE", "CANCELED")

_LAUNCH = """
mutation ($params: LaunchBackfillParams!) { launchPartitionBackfill(backfillParams: $params) {
  ... on LaunchBackfillSuccess { backfillId }
  ... on PythonError { message } ... on PartitionSetNotFoundError { message }
} }
"""
_RETRY = """
mutation ($id: String!) { reexecutePartitionBackfill(reexecutionParams: {parentRunId: $id, strategy: FROM_FAILURE}) {
  ... on LaunchBackfillSuccess { backfillId } ... on PythonError { message }
} }
"""
_BACKFILL = """
query ($id: String!) { partitionBackfillOrError(backfillId: $id) { ... on PartitionBackfill {
  status error { message } runs(limit: 50) { runId status tags { key value } }
} ... on PythonError { message } } }
"""
_MATERIALISED = """
query ($id: ID!) { runOrError(runId: $id) { ... on Run { assetMaterializations { assetKey { path } partition
  metadataEntries { label ... on TextMetadataEntry { text } ... on TableMetadataEntry { table { records } } } } } } }
"""
_MESSAGES = """
query ($id: ID!) { logsForRun(runId: $id) { ... on EventConnection { events { ... on MessageEvent { message } } } } }
"""
_FAILURES = """
query ($id: ID!) { logsForRun(runId: $id) { ... on EventConnection { events {
  ... on ExecutionStepFailureEvent { error { message } }
} } } }
"""
_SENSOR = """
mutation ($selector: SensorSelector!) { startSensor(sensorSelector: $selector) { __typename } }
"""
_SENSOR_STATE = """
query ($selector: SensorSelector!) { sensorOrError(sensorSelector: $selector) {
  ... on Sensor { sensorState { id } }
} }
"""
_STOP_SENSOR = """
mutation ($id: String!) { stopSensor(id: $id) { __typename } }
"""


_RUNS = """
query ($filter: RunsFilter!) { runsOrError(filter: $filter) { ... on Runs { results { runId status } } } }
"""
_LAUNCH_JOB = """
mutation ($params: ExecutionParams!) { launchRun(executionParams: $params) {
  ... on LaunchRunSuccess { run { runId } } ... on PythonError { message }
  ... on RunConfigValidationInvalid { errors { message } }
} }
"""
_RUN = """
query ($id: ID!) { runOrError(runId: $id) { ... on Run { status } } }
"""
_TERMINATE = """
mutation ($id: String!) { terminateRun(runId: $id) {
  ... on TerminateRunSuccess { run { runId } } ... on TerminateRunFailure { message } ... on PythonError { message }
} }
"""


@dataclass(frozen=True)
class Backfill:
    """A backfill that has ended: its status, and its runs with their tags."""

    id: str
    status: str
    runs: list[dict[str, Any]]


class DagsterUi:
    """The webserver of an installation."""

    def __init__(self, settings: Settings, definitions: str = DEFINITIONS) -> None:
        self._location = {"repositoryName": "__repository__", "repositoryLocationName": definitions}
        self._url = f"http://{settings.webserver_host}:{settings.webserver_port}/graphql"

    def ask(self, query: str, **variables: Any) -> Any:
        """The data of an answer without errors."""
        body = json.dumps({"query": query, "variables": variables}).encode()
        with urlopen(Request(self._url, body, {"Content-Type": "application/json"}), timeout=60) as answer:
            found = json.load(answer)
        assert "errors" not in found, found["errors"]
        return found["data"]

    def backfill(self, partitions: Iterable[str] | None, assets: Sequence[str] = ASSETS) -> str:
        """Launch a backfill of these partitions (None: of all); returns its id."""
        chosen: dict[str, Any] = {"assetSelection": [{"path": [asset]} for asset in assets]}
        chosen |= {"allPartitions": True} if partitions is None else {"partitionNames": list(partitions)}
        return self._launched(self.ask(_LAUNCH, params=chosen)["launchPartitionBackfill"])

    def retry_failed(self, backfill_id: str) -> str:
        """Launch a backfill of what failed in another; returns its id."""
        return self._launched(self.ask(_RETRY, id=backfill_id)["reexecutePartitionBackfill"])

    def _launched(self, answer: dict[str, Any]) -> str:
        assert "backfillId" in answer, answer
        return str(answer["backfillId"])

    def look_at(self, backfill_id: str) -> Backfill:
        """A backfill as it is now."""
        found = self.ask(_BACKFILL, id=backfill_id)["partitionBackfillOrError"]
        return Backfill(backfill_id, found["status"], found["runs"])

    def ended(self, backfill_id: str, seconds: float = 300) -> Backfill:
        """Wait for the end of a backfill and of its runs."""
        deadline = time.monotonic() + seconds
        while True:
            found = self.look_at(backfill_id)
            if found.status.startswith("COMPLETED") or found.status in ("FAILED", "CANCELED"):
                return found
            assert time.monotonic() < deadline, f"{found} has not ended after {seconds} s"
            time.sleep(1)

    def materialised(self, run_id: str) -> dict[tuple[str, str], dict[str, str]]:
        """(Asset, partition) -> texts of the metadata, for every materialisation of a run."""
        return {
            (m["assetKey"]["path"][-1], m["partition"]): {
                entry["label"]: entry["text"] for entry in m["metadataEntries"] if "text" in entry
            }
            for m in self._materialisations(run_id)
        }

    def tables(self, run_id: str) -> dict[str, dict[str, list[dict[str, Any]]]]:
        """Asset -> name -> rows of the tables in the metadata, of a run that materialised each asset once."""
        return {
            m["assetKey"]["path"][-1]: {
                entry["label"]: [json.loads(record) for record in entry["table"]["records"]]
                for entry in m["metadataEntries"]
                if "table" in entry
            }
            for m in self._materialisations(run_id)
        }

    def _materialisations(self, run_id: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.ask(_MATERIALISED, id=run_id)["runOrError"][
            "assetMaterializations"
        ]
        return found

    def messages(self, run_id: str) -> list[str]:
        """What the log of a run says."""
        events = self.ask(_MESSAGES, id=run_id)["logsForRun"]["events"]
        return [event["message"] for event in events if "message" in event]

    def runs(self, tag: str, value: str) -> list[dict[str, Any]]:
        """The runs (runId, status) with a tag, newest first."""
        filter_ = {"tags": [{"key": tag, "value": value}]}
        found: list[dict[str, Any]] = self.ask(_RUNS, filter=filter_)["runsOrError"]["results"]
        return found

    def launch(self, job: str, config: dict[str, Any]) -> str:
        """Launch a job from the launchpad; returns the id of its run."""
        selector = {**self._location, "pipelineName": job}
        params = {"selector": selector, "runConfigData": config, "mode": "default"}
        answer = self.ask(_LAUNCH_JOB, params=params)["launchRun"]
        assert "run" in answer, answer
        return str(answer["run"]["runId"])

    def status(self, run_id: str) -> str:
        """The status of a run."""
        return str(self.ask(_RUN, id=run_id)["runOrError"]["status"])

    def terminate(self, run_id: str) -> bool:
        """End a run as the button does; False if it has ended already."""
        return "run" in self.ask(_TERMINATE, id=run_id)["terminateRun"]

    def failures(self, run_id: str) -> list[str]:
        """The errors of the failed steps of a run."""
        events = self.ask(_FAILURES, id=run_id)["logsForRun"]["events"]
        return [event["error"]["message"] for event in events if event.get("error")]

    def start_sensor(self, name: str) -> None:
        """Switch a sensor on."""
        self.ask(_SENSOR, selector=self._location | {"sensorName": name})

    def stop_sensor(self, name: str) -> None:
        """Switch a sensor off."""
        found = self.ask(_SENSOR_STATE, selector=self._location | {"sensorName": name})
        self.ask(_STOP_SENSOR, id=found["sensorOrError"]["sensorState"]["id"])
