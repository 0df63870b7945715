"""Undo and redo through the real daemon: from the command line and from the UI's launchpad, down to equal releases."""

import time
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.e2e.conftest import Casetrail

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

HEADER = "case,activity,time,who,agent\n"
FIRST = [
    f"{case},{activity},2024-0{month}-{day:02}T08:00:00Z,Ann,x{case % 2}"
    for case in range(1, 9)
    for activity, month, day in (("order", 1, case), ("ship", 2, case + 3), ("pay", 3, 1))
]
SECOND = [f"{case},return,2024-03-{case + 2:02}T08:00:00Z,Bob,y" for case in range(1, 5)]
WAIT_SECONDS = 240

LAUNCH = """
mutation ($job: String!, $location: String!, $repository: String!, $config: RunConfigData!) {
  launchRun(executionParams: {
    selector: {jobName: $job, repositoryLocationName: $location, repositoryName: $repository},
    runConfigData: $config
  }) { __typename ... on LaunchRunSuccess { run { runId } } ... on PythonError { message } }
}
"""
LOCATION = "{ repositoriesOrError { ... on RepositoryConnection { nodes { name location { name } } } } }"
STATUS = "query ($id: ID!) { runOrError(runId: $id) { ... on Run { status } } }"


def write(path: Path, lines: list[str]) -> str:
    path.write_text(HEADER + "\n".join(lines) + "\n")
    return str(path)


def ask(address: str, query: str, **variables: Any) -> Any:
    answer = httpx.post(
        f"{address}/graphql", json={"query": query, "variables": variables}, timeout=60
    ).json()
    assert "errors" not in answer, answer
    return answer["data"]


def launch(casetrail: Casetrail, job: str, config: dict[str, Any]) -> str:
    """Run a job from the launchpad; its status at the end."""
    settings = casetrail.settings()
    address = f"http://{settings.webserver_host}:{settings.webserver_port}"
    (node,) = ask(address, LOCATION)["repositoriesOrError"]["nodes"]
    names = {"location": node["location"]["name"], "repository": node["name"]}
    launched = ask(address, LAUNCH, job=job, config=config, **names)["launchRun"]
    assert launched["__typename"] == "LaunchRunSuccess", launched
    deadline = time.monotonic() + WAIT_SECONDS
    while True:
        status = str(ask(address, STATUS, id=launched["run"]["runId"])["runOrError"]["status"])
        if status in ("SUCCESS", "FAILURE", "CANCELED") or time.monotonic() > deadline:
            return status
        time.sleep(1)


def released(casetrail: Casetrail, slug: str) -> tuple[str, set[str]]:
    """The content of the release, and the files that it holds."""
    record = casetrail.json("provenance", "show", slug)
    return record["content_sha256"], {a["file_name"] for a in record["etl_steps"][0]["arrivals"]}


def wait_for(casetrail: Casetrail, slug: str, files: set[str]) -> None:
    deadline = time.monotonic() + WAIT_SECONDS
    while released(casetrail, slug)[1] != files:
        assert time.monotonic() < deadline, f"no release of {files} within {WAIT_SECONDS} s"
        time.sleep(1)


def test_a_corrected_workspace_releases_what_the_right_uploads_would_have(
    casetrail: Casetrail, tmp_path: Path
) -> None:
    for slug in ("undone", "clean"):
        casetrail.json("workspace", "create", slug, "--slug", slug, "--owner", f"ada@{slug}.example")
    right, second = write(tmp_path / "right.csv", FIRST), write(tmp_path / "second.csv", SECOND)
    roles = ("--case-id", "case", "--resource")
    wrong = casetrail.json("upload", "undone", write(tmp_path / "wrong.csv", FIRST[:-3]), *roles, "who")
    casetrail.json("upload", "undone", second, *roles, "who")
    junk = casetrail.json(
        "upload", "undone", write(tmp_path / "junk.csv", ["9,test,2024-05-01T00:00:00Z,,"]), "--wait"
    )
    assert released(casetrail, "undone")[1] == {"wrong.csv", "second.csv", "junk.csv"}

    told = {"workspace": "undone", "arrival": junk["id"][:13], "reason": "test data"}
    assert launch(casetrail, "retract_arrival", {"ops": {"retract": {"config": told}}}) == "SUCCESS"
    wait_for(casetrail, "undone", {"wrong.csv", "second.csv"})
    casetrail.json("arrivals", "replace", "undone", wrong["id"], right, "--wait")
    assert released(casetrail, "undone")[1] == {"right.csv", "second.csv"}
    remapped = casetrail.json("connector", "remap", "undone", "uploads", "--set", "resource=agent", "--wait")
    assert len(remapped["remapped"]) == 2

    casetrail.json("upload", "clean", right, *roles, "agent")
    casetrail.json("upload", "clean", second, *roles, "agent", "--wait")
    assert released(casetrail, "undone") == released(casetrail, "clean")
    assert casetrail.json("provenance", "verify", "undone")["agrees"] is True
    (count,) = casetrail.query("undone", "select count(*) as n from events where resource_id like 'x%'")
    assert count["n"] == len(FIRST)
    kinds = [
        change["kind"]
        for arrival in casetrail.json("arrivals", "list", "undone")
        for change in casetrail.json("arrivals", "show", "undone", arrival["id"])["changes"]
        if change["arrival_id"] == arrival["id"]
    ]
    assert sorted(kinds) == ["remapped", "remapped", "replaced", "retracted"]
    asked = casetrail.json("refresh", "undone", "--wait")
    assert asked["status"] == "succeeded"
