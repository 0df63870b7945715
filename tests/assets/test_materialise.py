"""The assets over the real services: months of two workspaces in one run, each partition with its own facts."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from typer.testing import CliRunner

from orchestration.assets import explainability
from orchestration.cli import app
from orchestration.definitions import build_definitions
from orchestration.lake.credentials import CredentialBroker
from orchestration.partitions import WORKSPACE_PARTITIONS_NAME
from orchestration.settings import Settings
from orchestration.stages.explainability import stage_explanations

ASSETS = ("raw_records", "events", "cases", "variants", "process_map", "explainability", "provenance")
FIRST, LAST = "2024-01", "2024-03"
HEADER = "case,activity,time,region\n"
# One case over all three months, one within the last.
ACME = """a,order,2024-01-10T10:00:00Z,north
a,ship,2024-02-02T10:00:00Z,north
a,pay,2024-03-01T10:00:00Z,north
b,order,2024-03-05T10:00:00Z,south
"""
# Nothing in February.
BETA = """x,call,2024-01-03T08:00:00Z,west
x,call,2024-01-03T09:00:00Z,west
y,call,2024-03-04T08:00:00Z,west
"""
LATE = "z,call,2024-03-09T08:00:00Z,west\n"
PARTITIONS = [
    f"{month}|{slug}" for month in ("2024-01", "2024-02", "2024-03") for slug in ("m-acme", "m-beta")
]


class Instance:
    """An instance in memory, and runs of all assets in it over the three months of both workspaces."""

    def __init__(self, dagster: dg.DagsterInstance) -> None:
        self.dagster = dagster
        self.dagster.add_dynamic_partitions(WORKSPACE_PARTITIONS_NAME, ["m-acme", "m-beta"])

    def refresh(self, job_name: str = "refresh_job", **options: Any) -> dg.ExecuteInProcessResult:
        job = build_definitions().resolve_job_def(job_name)
        return job.execute_in_process(
            instance=self.dagster,
            **options,
            tags={
                "dagster/asset_partition_range_start": f"{FIRST}|m-acme",
                "dagster/asset_partition_range_end": f"{LAST}|m-beta",
            },
        )

    def latest(self, run: dg.ExecuteInProcessResult, asset: str) -> dict[str, dict[str, Any]]:
        """Partition -> metadata of the run's materialisations of an asset."""
        made = [m for m in run.get_asset_materialization_events() if m.asset_key == dg.AssetKey(asset)]
        found = [(m.partition, m.step_materialization_data.materialization.metadata) for m in made]
        assert len(dict(found)) == len(found), "each partition is materialised once"
        return {str(key): {name: v.value for name, v in metadata.items()} for key, metadata in found}


@pytest.fixture(scope="module", autouse=True)
def _home(installation: Settings) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CASETRAIL_HOME", str(installation.home))
        yield


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("logs")


def upload(folder: Path, slug: str, text: str) -> None:
    path = folder / f"{slug}.csv"
    path.write_text(HEADER + text)
    ended = CliRunner().invoke(app, ["upload", slug, str(path)])
    assert ended.exit_code == 0, ended.output


@pytest.fixture(scope="module")
def workspace_ids(folder: Path) -> dict[str, str]:
    """Slug -> id of two workspaces with a log each."""
    ids = {}
    for slug, log in (("m-acme", ACME), ("m-beta", BETA)):
        made = CliRunner().invoke(
            app, ["workspace", "create", slug, "--slug", slug, "--owner", f"ada@{slug}.example", "--json"]
        )
        assert made.exit_code == 0, made.output
        ids[slug] = str(json.loads(made.stdout)["id"])
        upload(folder, slug, log)
    return ids


@pytest.fixture(scope="module")
def instance(workspace_ids: dict[str, str]) -> Iterator[Instance]:
    with dg.DagsterInstance.ephemeral() as dagster:
        yield Instance(dagster)


@pytest.fixture(scope="module")
def credentials_made() -> Iterator[list[str]]:
    """The workspaces for which credentials were made, in order."""
    made: list[str] = []
    real = CredentialBroker.for_workspace

    def counted(self: CredentialBroker, workspace_id: str, *arguments: Any) -> Any:
        made.append(workspace_id)
        return real(self, workspace_id, *arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(CredentialBroker, "for_workspace", counted)
        yield made


@pytest.fixture(scope="module")
def first(instance: Instance, credentials_made: list[str]) -> dg.ExecuteInProcessResult:
    return instance.refresh()


def test_one_run_materialises_every_month_of_both_workspaces(
    instance: Instance, first: dg.ExecuteInProcessResult
) -> None:
    assert first.success
    for asset in ASSETS:
        assert sorted(instance.latest(first, asset)) == PARTITIONS, asset


def test_each_partition_carries_its_own_facts(instance: Instance, first: dg.ExecuteInProcessResult) -> None:
    def rows(asset: str) -> list[int]:
        found = instance.latest(first, asset)
        return [found[key]["dagster/row_count"] for key in PARTITIONS]

    # January of acme and beta, February, March.
    assert rows("raw_records") == [1, 2, 1, 0, 2, 1]
    assert rows("events") == [1, 2, 1, 0, 2, 1]
    assert rows("cases") == [1, 1, 0, 0, 1, 1]
    assert rows("variants") == [1, 1, 0, 0, 1, 1]
    assert rows("process_map") == [2, 1, 0, 0, 0, 0]
    events = instance.latest(first, "events")
    assert events["2024-01|m-beta"]["activities"] == 1
    assert events["2024-02|m-beta"] == {
        "text": "Nothing in 2024-02.",
        "dagster/row_count": 0,
        "state": "empty",
    }
    cases = instance.latest(first, "cases")
    # a: from 10 January to 1 March, 51 days.
    assert cases["2024-01|m-acme"]["mean_cycle_time_days"] == 51.0
    assert cases["2024-01|m-beta"]["mean_cycle_time_days"] == pytest.approx(1 / 24, abs=1e-3)
    assert {m["state"] for m in cases.values()} == {"made", "empty"}


def test_each_file_lies_under_the_prefix_of_its_workspace(
    instance: Instance, first: dg.ExecuteInProcessResult, workspace_ids: dict[str, str]
) -> None:
    for asset in ASSETS[1:-1]:
        for key, metadata in instance.latest(first, asset).items():
            if metadata["state"] == "empty":
                continue
            assert metadata["object"].startswith(f"{workspace_ids[key.split('|')[1]]}/analyses/")
            assert metadata["content_sha256"][:16] in metadata["object"]


def test_each_workspace_is_worked_on_with_credentials_of_its_own(
    first: dg.ExecuteInProcessResult, credentials_made: list[str], workspace_ids: dict[str, str]
) -> None:
    """Once in each of the five steps, in the order of the slugs: never one session for two workspaces."""
    acme, beta = workspace_ids["m-acme"], workspace_ids["m-beta"]
    assert credentials_made[:10] == [acme, beta] * 5


def test_every_check_is_recorded_and_has_passed(first: dg.ExecuteInProcessResult) -> None:
    found = {(e.asset_key.to_user_string(), e.check_name): e for e in first.get_asset_check_evaluations()}
    graph = build_definitions().resolve_asset_graph()
    assert set(found) == {(k.asset_key.to_user_string(), k.name) for k in graph.asset_check_keys}
    assert [key for key, evaluation in found.items() if not evaluation.passed] == []
    # Five of the six months hold events; a release is looked at from each of its months.
    assert found["events", "conservation"].metadata["months_checked"].value == 5
    assert found["provenance", "cases_conserved"].metadata["months_checked"].value == 6


def test_each_workspace_has_a_release_of_its_own(
    instance: Instance, first: dg.ExecuteInProcessResult
) -> None:
    released: dict[str, set[str]] = {"m-acme": set(), "m-beta": set()}
    for key, metadata in instance.latest(first, "provenance").items():
        assert metadata["state"].startswith("released as ")
        released[key.split("|")[1]].add(metadata["state"])
    acme, beta = released.values()
    assert len(acme) == len(beta) == 1
    assert acme != beta


def test_a_second_run_carries_over_what_is_unchanged_and_says_so(
    instance: Instance, first: dg.ExecuteInProcessResult, folder: Path
) -> None:
    upload(folder, "m-beta", LATE)
    second = instance.refresh()
    assert second.success

    def states(asset: str) -> dict[str, str]:
        return {key: metadata["state"] for key, metadata in instance.latest(second, asset).items()}

    unchanged = {"2024-01|m-acme", "2024-02|m-acme", "2024-03|m-acme", "2024-01|m-beta"}
    events = states("events")
    assert {key for key, state in events.items() if state == "carried over"} == unchanged
    assert {key for key, state in events.items() if state == "made"} == {"2024-03|m-beta"}
    cases = states("cases")
    assert {key for key, state in cases.items() if state == "made"} == {"2024-03|m-beta"}
    told = instance.latest(second, "events")["2024-01|m-acme"]
    before = instance.latest(first, "events")["2024-01|m-acme"]
    assert told["text"] == "**1** events in 2024-01, carried over: the inputs are unchanged."
    assert told | {"text": 0, "state": 0} == before | {"text": 0, "state": 0}
    released = states("provenance")
    assert {k.split("|")[1] for k, s in released.items() if s.startswith("unchanged since ")} == {"m-acme"}
    assert {k.split("|")[1] for k, s in released.items() if s.startswith("released as ")} == {"m-beta"}


def test_a_run_that_new_data_overtakes_succeeds_and_leaves_the_release_to_the_next(
    instance: Instance, first: dg.ExecuteInProcessResult, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def explain(bench: Any, months: Any) -> Any:
        made = stage_explanations(bench, months)
        if bench.workspace_slug == "m-beta":
            upload(folder, "m-beta", "w,call,2024-02-09T08:00:00Z,west\n")
        return made

    with monkeypatch.context() as patch:
        patch.setattr(explainability, "stage_explanations", explain)
        overtaken = instance.refresh()
    assert overtaken.success
    told = instance.latest(overtaken, "provenance")
    assert told["2024-02|m-beta"]["state"].startswith("not released: new data came")
    assert told["2024-02|m-acme"]["state"].startswith("unchanged since")
    assert standing_job("m-beta")["status"] == "running", "the next run ends it"
    following = instance.refresh()
    assert instance.latest(following, "provenance")["2024-02|m-beta"]["state"].startswith("released as")
    assert standing_job("m-beta")["status"] == "succeeded"


def test_a_release_of_stale_months_that_nothing_overtook_fails(
    instance: Instance, first: dg.ExecuteInProcessResult, folder: Path
) -> None:
    upload(folder, "m-beta", "v,call,2024-02-10T08:00:00Z,west\n")
    before = standing_job("m-beta")["provenance_id"]
    failed = instance.refresh("case_job", raise_on_error=False)
    assert not failed.success
    assert standing_job("m-beta")["provenance_id"] == before


def standing_job(slug: str) -> dict[str, Any]:
    shown = CliRunner().invoke(app, ["workspace", "show", slug, "--json"])
    job: dict[str, Any] = json.loads(shown.stdout)["standing_analysis"]
    return job
