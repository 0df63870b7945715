import inspect
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import FrameType

import duckdb
import pytest
from dbt.adapters.duckdb.relation import DuckDBRelation
from dbt.cli.main import dbtRunner
from dbt.contracts.graph.manifest import Manifest

from orchestration.mining import dbt_build
from orchestration.mining.dbt_build import (
    ProcessBuildFailed,
    build_process_models,
    code_version,
    freeze_manifest,
    manifest_path,
)
from orchestration.mining.packing import UnusableEvents
from orchestration.mining.trace_features import FEATURE_NAMES
from tests.mining.process_log import Event, Parameters, built, preparation

ONE_CASE = [Event(1, 0, 0, "a"), Event(1, 5_000_000, 0, "b")]
OTHER_CASES = [Event(7, 0, 0, "x"), Event(8, 0, 0, "y")]


@pytest.fixture
def copied_project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    project = tmp_path / "dbt_project"
    shutil.copytree(dbt_build.PROJECT, project, ignore=shutil.ignore_patterns("target", "logs"))
    monkeypatch.setattr(dbt_build, "PROJECT", project)
    return project


def test_the_unit_tests_of_the_models_pass(tmp_path: Path) -> None:
    # As by hand: with the project's own profile, no service and an empty input.
    folders = ["--project-dir", dbt_build.PROJECT, "--profiles-dir", dbt_build.PROJECT]
    outputs = ["--target-path", tmp_path, "--log-path", tmp_path]
    manifest = Manifest.from_msgpack((freeze_manifest() / "partial_parse.msgpack").read_bytes())
    outcome = dbtRunner(manifest=manifest).invoke(["build", "--quiet", *map(str, folders + outputs)])
    assert outcome.success, outcome.exception
    passed = [r for r in outcome.result.results if r.node.resource_type == "unit_test" and r.status == "pass"]
    assert len(passed) == 10


def test_a_build_reports_its_tests_models_and_code(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with build_process_models(preparation(ONE_CASE, Parameters()), temp_directory=tmp_path) as build:
        assert {test.status for test in build.tests} == {"pass"}
        assert "every_event_is_in_a_case" in {test.name for test in build.tests}
        staging = {"stg_traces", "stg_path_counts", "stg_sequences", "stg_paths"}
        assert set(build.model_seconds) == {*staging, "cases", "variants", "process_map"}
        assert build.code_version == code_version()
        assert not build.packing.wide
        described = build.connection.execute("describe main.cases").fetchall()
        vector = build.connection.execute("select feature_vector from main.cases").fetchall()[0][0]
    assert dict(row[:2] for row in described)["feature_vector"] == "DOUBLE[]"
    assert dict(zip(FEATURE_NAMES, vector, strict=True))["event_count"] == 2
    assert list(tmp_path.iterdir()) == []
    assert capfd.readouterr() == ("", "")


def test_builds_in_one_process_do_not_mix() -> None:
    def cases(log: list[Event]) -> int:
        return len(built(log, Parameters())["cases"])

    assert [cases(ONE_CASE), cases(OTHER_CASES), cases(ONE_CASE)] == [1, 2, 1]
    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(cases, [ONE_CASE, OTHER_CASES] * 2)) == [1, 2, 1, 2]


def test_the_connection_is_closed_at_the_end() -> None:
    with build_process_models(preparation(ONE_CASE, Parameters())) as build:
        connection = build.connection
    with pytest.raises(duckdb.ConnectionException):
        connection.execute("select 1")


def test_the_session_is_locked_while_models_run() -> None:
    with (
        build_process_models(preparation(ONE_CASE, Parameters())) as build,
        pytest.raises(duckdb.InvalidInputException, match="locked"),
    ):
        build.connection.execute("set threads = 1")


def test_an_error_of_the_caller_comes_back_as_it_is() -> None:
    def prepare(connection: duckdb.DuckDBPyConnection) -> None:
        raise LookupError("no such release")

    with pytest.raises(LookupError, match="no such release"), build_process_models(prepare):
        pytest.fail("the body must not run")
    assert len(built(ONE_CASE, Parameters())["cases"]) == 1


class Interrupted(BaseException):
    """As Dagster's, when a run is cancelled: it comes wherever the main thread happens to be."""


def test_an_interruption_is_no_failure_of_the_build() -> None:
    def interrupt(_signal: int, _frame: FrameType | None) -> None:
        raise Interrupted

    def prepare(connection: duckdb.DuckDBPyConnection) -> None:
        assert threading.current_thread() is not threading.main_thread(), (
            "it would not be dbt that is interrupted"
        )
        os.kill(os.getpid(), signal.SIGUSR1)
        preparation(ONE_CASE, Parameters())(connection)

    before = signal.signal(signal.SIGUSR1, interrupt)
    try:
        with pytest.raises(Interrupted), build_process_models(prepare):
            pytest.fail("the body must not run")
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert len(built(ONE_CASE, Parameters())["cases"]) == 1


def test_an_interruption_that_dbt_took_for_a_wrong_field_is_no_failure_either(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def create(*_: object, **_fields: object) -> None:
        # As the generated code that reads dbt's dataclasses.
        try:
            raise Interrupted
        except BaseException:
            raise ValueError("field 'path' has an invalid value")  # noqa: B904

    monkeypatch.setattr(DuckDBRelation, "create_from", create)
    with (
        pytest.raises(Interrupted),
        build_process_models(preparation(ONE_CASE, Parameters())),
    ):
        pytest.fail("the body must not run")


def test_events_that_break_their_contract_stop_the_build() -> None:
    with (
        pytest.raises(UnusableEvents, match="tie_order"),
        build_process_models(preparation([Event(1, 0, -1, "a")], Parameters())),
    ):
        pytest.fail("the body must not run")


def test_a_case_without_identity_stops_the_build() -> None:
    def prepare(connection: duckdb.DuckDBPyConnection) -> None:
        preparation(ONE_CASE, Parameters())(connection)
        connection.execute("update input.events set global_case_id = null")

    with (
        pytest.raises(ProcessBuildFailed, match=r"model cases: .*global_case_id"),
        build_process_models(prepare),
    ):
        pytest.fail("the body must not run")


def test_a_failing_data_test_stops_the_build(copied_project: Path) -> None:
    cases = copied_project / "models" / "marts" / "cases.sql"
    cases.write_text(cases.read_text() + "where measured.end_activity <> 'b'\n")
    with (
        pytest.raises(ProcessBuildFailed, match="test every_event_is_in_a_case: Got 1 result"),
        build_process_models(preparation(ONE_CASE + OTHER_CASES, Parameters())),
    ):
        pytest.fail("the body must not run")


def test_the_manifest_is_parsed_once_per_content(copied_project: Path) -> None:
    frozen = freeze_manifest()
    touched = (frozen / "manifest.json").stat().st_mtime_ns
    assert freeze_manifest() == frozen
    assert (frozen / "manifest.json").stat().st_mtime_ns == touched
    nodes = json.loads(manifest_path().read_text())["nodes"]
    assert "model.casetrail.cases" in nodes
    model = copied_project / "models" / "marts" / "cases.sql"
    model.write_text(model.read_text() + "-- changed\n")
    assert freeze_manifest() != frozen


@pytest.mark.slow
def test_processes_may_freeze_at_once(tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from orchestration.mining.dbt_build import freeze_manifest; "
        "print(freeze_manifest(Path(sys.argv[1])))"
    )
    running = [
        subprocess.Popen([sys.executable, "-c", program, str(tmp_path)], stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    answers = {process.communicate()[0].strip() for process in running}
    assert [process.returncode for process in running] == [0, 0]
    assert {Path(answer) for answer in answers} == set(tmp_path.iterdir())
    assert (tmp_path / os.listdir(tmp_path)[0] / "partial_parse.msgpack").exists()


def test_the_code_version_is_that_of_sql_and_contracts(copied_project: Path) -> None:
    before = code_version()
    contract = copied_project / "models" / "marts" / "cases.yml"
    described = contract.read_text().replace("description: Tenant.", "description: The tenant.")
    contract.write_text(described)
    assert code_version() == before
    contract.write_text(described.replace("data_type: integer", "data_type: bigint"))
    assert code_version() != before
    contract.write_text(described)
    macro = copied_project / "macros" / "traces.sql"
    macro.write_text(macro.read_text().replace("casetrail-variant-1", "casetrail-variant-2"))
    assert code_version() != before


def test_the_code_version_changes_with_the_conformance(monkeypatch: pytest.MonkeyPatch) -> None:
    before, read = code_version(), inspect.getsource
    monkeypatch.setattr(inspect, "getsource", lambda module: read(module) + "\n")
    assert code_version() != before


def test_importing_the_module_does_not_import_dbt() -> None:
    program = "import sys, orchestration.mining.dbt_build; sys.exit('dbt.cli.main' in sys.modules)"
    subprocess.run([sys.executable, "-c", program], check=True)
