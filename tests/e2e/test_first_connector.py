"""``docs/first-connector.md`` as a newcomer follows it: its commands, in its order, with a made-up org for a live one.

The page's last section says what is different without an org; here those steps come first. What stands for the reader's
own (address, key and secret) is filled in, and the port, so that tests can run beside each other.
"""

import json
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import pytest

from orchestration.control_plane import database, jobs, workspaces
from tests.e2e.conftest import PROJECT, Casetrail, installed

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

PAGE = (PROJECT / "docs/first-connector.md").read_text(encoding="utf-8")
OWN_ORG, WITHOUT_ORG = PAGE.split("\n## Without an org\n")
SERVE = "casetrail demo serve salesforce"
PATIENCE_SECONDS = 400
"""For what takes seconds on a machine that does nothing else."""

LEADS = """
select native_case_id as id, attributes->>'LeadSource' as source, attributes->>'Company' as company
from events where activity = 'Lead created'
"""
RUNS = """
{ runsOrError(filter: {pipelineName: "sync_connector"}) { ... on Runs { results {
    status
    tags { key value }
    eventConnection { events { ... on ExecutionStepOutputEvent { metadataEntries {
      label ... on IntMetadataEntry { intValue }
    } } } }
} } } }
"""


def blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.DOTALL | re.MULTILINE)


def typed(text: str) -> list[str]:
    """What a reader types, in order."""
    return re.findall(r"^\$ (.+)$", "".join(blocks(text, "console")), re.MULTILINE)


@dataclass
class Reader:
    """Somebody who types the page's commands in a folder of their own."""

    casetrail: Casetrail
    folder: Path
    port: int

    def types(self, line: str) -> str:
        """Run a line as the shell would; what it printed."""
        ended = subprocess.run(
            ["bash", "-c", line.replace("127.0.0.1:8701", f"127.0.0.1:{self.port}")],
            cwd=self.folder,
            env=self.environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=PATIENCE_SECONDS,
        )
        assert ended.returncode == 0, f"{line}: {ended.stdout}\n{ended.stderr}"
        return ended.stdout + ended.stderr

    def environment(self) -> dict[str, str]:
        own = {"CASETRAIL_HOME": str(self.casetrail.home), "PYTHONPATH": str(PROJECT), "COLUMNS": "80"}
        scripts = str(Path(sys.executable).parent)
        path = f"{scripts}{os.pathsep}{os.environ['PATH']}"
        return {**os.environ, **self.casetrail.environment, **own, "PATH": path}

    @contextmanager
    def served(self) -> Iterator[dict[str, str]]:
        """The made-up org in another terminal; what it prints for its clients."""
        words = [*SERVE.split(), "--port", str(self.port), "--cases", "100"]
        environment = {**self.environment(), "PYTHONUNBUFFERED": "1"}
        with subprocess.Popen(words, stdout=subprocess.PIPE, text=True, env=environment) as process:
            try:
                assert process.stdout is not None
                printed = ""
                while "Ctrl-C" not in printed:
                    line = process.stdout.readline()
                    assert line, printed
                    printed += line
                yield dict(re.findall(r"^  (\w+ \w+) +(\S+)$", printed, re.MULTILINE))
            finally:
                process.terminate()

    def steer(self, what: str, document: dict[str, Any]) -> Any:
        """Do something to the org: its clock, or its records."""
        return post(f"http://127.0.0.1:{self.port}/_testkit/{what}", document)

    def connector(self) -> dict[str, Any]:
        (listed,) = self.casetrail.json("connector", "list", "acme")
        assert isinstance(listed, dict)
        return listed

    def release(self) -> str | None:
        """The current one; of the database, since a command for each look would take the machine from the daemon."""
        settings = self.casetrail.settings()
        with database.as_user(settings.app_dsn, settings.operator) as connection:
            workspace = workspaces.find_workspace(connection, "acme")
            return jobs.standing_job(connection, workspace.id).provenance_id


def post(url: str, document: Any) -> Any:
    body = json.dumps(document).encode()
    with urlopen(Request(url, body, {"Content-Type": "application/json"}), timeout=60) as answer:
        return json.load(answer)


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port: int = taken.getsockname()[1]
        return port


def wait_until(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < deadline, f"{what}: not within {PATIENCE_SECONDS} s"
        time.sleep(1)


@pytest.fixture
def reader(tmp_path: Path) -> Iterator[Reader]:
    """With an installation that is up, by the variables that the page sets."""
    exported = dict(re.findall(r"^\$ export (CASETRAIL_\w+)='(.+)'$", WITHOUT_ORG, re.MULTILINE))
    assert exported
    with installed(**exported) as casetrail:
        yield Reader(casetrail, tmp_path, free_port())


def steps() -> list[str]:
    """The page's commands but those that the test does in its own way."""
    lines = typed(OWN_ORG)
    assert lines[:2] == ["make install", "export PATH=$PWD/.venv/bin:$PATH"], "what tests are run with"
    exported, *again = typed(WITHOUT_ORG)
    assert exported.startswith("export CASETRAIL_")
    assert again[:2] == ["casetrail up", SERVE]
    return lines[2:]


def test_a_newcomer_gets_a_workspace_that_a_schedule_feeds(reader: Reader) -> None:
    with reader.served() as told:
        config, secrets = (json.loads(text) for text in blocks(OWN_ORG, "json"))
        assert {"url", "client_id"} < set(config)
        config |= {"url": f"http://127.0.0.1:{reader.port}", "client_id": told["consumer key"]}
        (reader.folder / "salesforce.json").write_text(json.dumps(config))
        (reader.folder / "secrets.json").write_text(
            json.dumps(dict.fromkeys(secrets, told["consumer secret"]))
        )
        printed = {line: reader.types(line) for line in steps()}
        assert told["consumer secret"] not in "".join(printed.values())
        check_releases(reader, printed)


def check_releases(reader: Reader, printed: dict[str, str]) -> None:
    """The first has what was pulled; what changes in the org then is in another, with nobody asking."""
    first, leads = reader.release(), reader.casetrail.query("acme", LEADS)
    assert first is not None
    assert len(leads) == 100
    changed, began = leads[0]["id"], datetime.now(UTC)
    reader.types(typed(WITHOUT_ORG)[-1])
    reader.steer(
        "changes", {"do": "update", "object": "Lead", "id": changed, "values": {"LeadSource": "fair"}}
    )
    # The org's next minute: younger records would wait, as they should, and this test with them.
    reader.steer("clock", {"advance": 90})
    # While the schedule takes its time:
    check_what_was_pulled(reader, first, printed)
    wait_until(lambda: reader.release() != first and came(reader, changed), "a release by the schedule")
    connector = reader.connector()
    assert (connector["status"], connector["message"]) == ("connected", None)
    assert connector["config"]["every_minutes"] == 1
    assert datetime.fromisoformat(connector["last_sync_at"]) > began
    wait_until(
        lambda: any(run["landed"] in (1, 2) for run in succeeded(reader, connector)), "the run in the UI"
    )


def check_what_was_pulled(reader: Reader, first: str, printed: dict[str, str]) -> None:
    """The first release has each record of the org that is an event, and what was printed says so."""
    pulled = reader.casetrail.json("connector", "pulls", "acme", "salesforce")[-1]
    (row,) = reader.casetrail.query("acme", "select count(*) as events from events", "--release", first)
    assert row["events"] == pulled["landed"] > 600
    (counted,) = (text for line, text in printed.items() if "group by activity" in line)
    assert "Opportunity: Quote sent" in counted


def came(reader: Reader, changed: str) -> bool:
    """Whether the new lead and the changed one are in the release."""
    found = reader.casetrail.query("acme", LEADS)
    sources = [row["source"] for row in found if row["id"] == changed]
    return (len(found), sources, [row["company"] for row in found].count("Acme")) == (101, ["fair"], 1)


def succeeded(reader: Reader, connector: dict[str, Any]) -> list[dict[str, int]]:
    """What each successful run of the connector's schedule tells in the UI, newest first."""
    settings = reader.casetrail.settings()
    url = f"http://{settings.webserver_host}:{settings.webserver_port}/graphql"
    runs = post(url, {"query": RUNS})["data"]["runsOrError"]["results"]
    tag = {"key": "casetrail/connector", "value": connector["id"]}
    return [
        {
            entry["label"]: entry.get("intValue")
            for event in events
            for entry in event.get("metadataEntries", ())
        }
        for run in runs
        if run["status"] == "SUCCESS" and tag in run["tags"]
        for events in [run["eventConnection"]["events"]]
    ]
