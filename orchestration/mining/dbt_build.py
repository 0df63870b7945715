"""Build the process models: dbt in this process, on a DuckDB of the build's own.

Holds how dbt is started and its results are read. What is computed is in `dbt_project/`, what a build
reads is made by the caller. Importing dbt takes seconds, so that it is imported where it is used.
"""

import hashlib
import inspect
import os
import shutil
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import duckdb
import yaml

from orchestration.mining import conformance
from orchestration.mining.interruption import interruption_behind
from orchestration.mining.packing import Packing

if TYPE_CHECKING:
    from dbt.artifacts.schemas.run import RunResult
    from dbt.cli.main import dbtRunner, dbtRunnerResult

    from orchestration.mining.dbt_plugin import Session

PROJECT = Path(__file__).resolve().parents[2] / "dbt_project"
PACKED_MANIFEST = "partial_parse.msgpack"

# dbt keeps its connection, flags and event manager per process.
_ONE_AT_A_TIME = threading.Lock()
_QUIET = ("--quiet", "--log-level", "none", "--log-level-file", "none", "--no-send-anonymous-usage-stats")


class ProcessBuildFailed(RuntimeError):
    """A model or a data test failed; the message holds what dbt said of each."""


@dataclass(frozen=True)
class DataTestResult:
    """Outcome of one dbt data test.

    Attributes:
        name: Name of the test in the dbt project.
        status: `pass`, `warn`, `fail`, `error` or `skipped`.
        failures: How many rows break the rule.
    """

    name: str
    status: str
    failures: int


@dataclass(frozen=True)
class ProcessBuild:
    """A finished build.

    Attributes:
        connection: Holds the tables main.cases, main.variants and main.process_map; rows in no order.
        packing: How the events were packed.
        tests: The data tests, all of which passed.
        model_seconds: Wall time per model.
        code_version: See `code_version`.
    """

    connection: duckdb.DuckDBPyConnection
    packing: Packing
    tests: tuple[DataTestResult, ...]
    model_seconds: dict[str, float]
    code_version: str


@contextmanager
def build_process_models(
    prepare: Callable[[duckdb.DuckDBPyConnection], None],
    *,
    threads: int = 2,
    memory_limit: str = "700MB",
    temp_directory: Path | None = None,
    packing: Packing | None = None,
    manifest_cache: Path | None = None,
) -> Iterator[ProcessBuild]:
    """Run the models and their data tests over the events that `prepare` provides.

    One build runs at a time in a process; a second one waits until the first is left.

    Args:
        prepare: Gets the empty database. Makes `input.events` and `input.parameters` (their columns stand
            in dbt_project/models/staging/_input.yml) and locks the connection if it is to be locked.
        threads: Threads of DuckDB.
        memory_limit: Limit of DuckDB, in its own notation.
        temp_directory: Where DuckDB spills; a folder of its own is made in it. None: the system's.
        packing: Forces a packing; None lets the data choose. The result is the same.
        manifest_cache: See `freeze_manifest`.

    Yields:
        The build. Its connection is closed when the context is left.

    Raises:
        UnusableEvents: The events break their contract.
        ProcessBuildFailed: A model or a data test failed.
        BaseException: Whatever `prepare` raises, and whatever interrupts this process.
    """
    frozen = freeze_manifest(manifest_cache)
    with _ONE_AT_A_TIME, tempfile.TemporaryDirectory(prefix="process-build-", dir=temp_directory) as scratch:
        from orchestration.mining.dbt_plugin import SESSIONS, Session

        token, session = uuid4().hex, Session(prepare, packing)
        SESSIONS[token] = session
        try:
            folder = Path(scratch)
            _write_profile(folder, token, threads, memory_limit)
            outcome = _runner(frozen).invoke(
                [
                    "build",
                    *_QUIET,
                    *("--exclude-resource-type", "unit_test"),
                    *_folders(folder, profiles=folder),
                    "--no-write-json",
                ]
            )
            yield _finished(session, outcome)
        finally:
            del SESSIONS[token]
            _close(session)


def code_version() -> str:
    """Give the sha256 of everything in the project that the content of the tables depends on.

    That is SQL, contracts, project configuration, and the code of the conformance. Descriptions, tests and models'
    prose are left out: a better sentence is no reason to compute all months again.
    """
    digest = hashlib.sha256()
    _feed(digest, PROJECT / "dbt_project.yml", (PROJECT / "dbt_project.yml").read_bytes())
    for folder in ("macros", "models"):
        for path in sorted((PROJECT / folder).rglob("*.sql")):
            _feed(digest, path, path.read_bytes())
    for path in sorted((PROJECT / "models").rglob("*.yml")):
        _feed(digest, path, repr(_contracts(path)).encode())
    # The models call it; what else they call, a working calendar alone decides about.
    digest.update(inspect.getsource(conformance).encode())
    return digest.hexdigest()


def freeze_manifest(cache: Path | None = None) -> Path:
    """Parse the dbt project, unless that was done for just these files, and give the folder of the result.

    It holds `manifest.json` (for Dagster) and dbt's own packed form. Its name is made from the content of
    the project and dbt's versions, so that it can never be stale; two processes may freeze at once.

    Args:
        cache: Where to keep it; None: `target` in the project. Must be writable unless it is frozen.

    Raises:
        ProcessBuildFailed: The project does not parse.
    """
    frozen = (cache or PROJECT / "target") / f"frozen-{_project_fingerprint()[:16]}"
    if (frozen / PACKED_MANIFEST).exists():
        return frozen
    frozen.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(prefix="freezing-", dir=frozen.parent))
    try:
        with _ONE_AT_A_TIME:
            outcome = _runner().invoke(["parse", *_QUIET, *_folders(partial, profiles=PROJECT)])
        if interruption := interruption_behind(outcome.exception):
            raise interruption
        if not outcome.success:
            raise ProcessBuildFailed(f"the dbt project does not parse: {outcome.exception}")
        partial.chmod(0o755)
        try:
            partial.rename(frozen)
        except OSError:  # another process was first, with the same content
            if not (frozen / PACKED_MANIFEST).exists():
                raise
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return frozen


def manifest_path(cache: Path | None = None) -> Path:
    """Give the frozen `manifest.json`, for `@dbt_assets(manifest=...)`."""
    return freeze_manifest(cache) / "manifest.json"


def _project_fingerprint() -> str:
    digest = hashlib.sha256()
    files = [PROJECT / "dbt_project.yml", PROJECT / "profiles.yml"]
    for folder in ("macros", "models", "tests"):
        files += sorted(path for path in (PROJECT / folder).rglob("*") if path.is_file())
    for path in files:
        _feed(digest, path, path.read_bytes())
    for package in ("dbt-core", "dbt-duckdb"):
        digest.update(f"{package}=={version(package)}\n".encode())
    # The packed manifest names the project's folder.
    digest.update(os.fsencode(PROJECT))
    return digest.hexdigest()


def _contracts(path: Path) -> list[tuple[str, str, Any, Any]]:
    # The C parser: the pure Python one takes a third of a second for these few files.
    models = yaml.load(path.read_text(encoding="utf-8"), yaml.CSafeLoader).get("models", [])
    return [
        (model["name"], column["name"], column.get("data_type"), column.get("constraints"))
        for model in models
        for column in model["columns"]
    ]


def _feed(digest: "hashlib._Hash", path: Path, content: bytes) -> None:
    digest.update(f"{path.relative_to(PROJECT).as_posix()}\n{len(content)}\n".encode())
    digest.update(content)


def _write_profile(folder: Path, token: str, threads: int, memory_limit: str) -> None:
    """Write the run's own profile; the token keeps dbt-duckdb from using the connection of another run."""
    options = {
        "threads": threads,
        "memory_limit": memory_limit,
        "temp_directory": str(folder / "spill"),
        "preserve_insertion_order": False,
    }
    output = {
        "type": "duckdb",
        "path": ":memory:",
        "threads": 1,
        "config_options": options,
        "plugins": [{"module": "orchestration.mining.dbt_plugin", "config": {"session": token}}],
    }
    profile = {"casetrail": {"target": "run", "outputs": {"run": output}}}
    (folder / "profiles.yml").write_text(yaml.safe_dump(profile), encoding="utf-8")


def _folders(target: Path, *, profiles: Path) -> tuple[str, ...]:
    return (
        *("--project-dir", str(PROJECT)),
        *("--profiles-dir", str(profiles)),
        *("--target-path", str(target)),
        *("--log-path", str(target)),
    )


def _runner(frozen: Path | None = None) -> "dbtRunner":
    from dbt.cli.main import dbtRunner
    from dbt.contracts.graph.manifest import Manifest

    if frozen is None:
        return dbtRunner()
    # A manifest read from manifest.json would lack the arguments of generic tests.
    return dbtRunner(manifest=Manifest.from_msgpack((frozen / PACKED_MANIFEST).read_bytes()))


def _finished(session: "Session", outcome: "dbtRunnerResult") -> ProcessBuild:
    from dbt.artifacts.resources.types import NodeType

    # dbt takes whatever ends it for its own error, an interruption of this process too.
    if interruption := interruption_behind(outcome.exception):
        raise interruption
    if session.error is not None:
        raise session.error
    results: list[RunResult] = list(getattr(outcome.result, "results", []))
    if not outcome.success or session.connection is None or session.packing is None:
        raise ProcessBuildFailed(_failure_message(outcome, results))
    models = [result for result in results if result.node.resource_type == NodeType.Model]
    tests = [result for result in results if result.node.resource_type == NodeType.Test]
    return ProcessBuild(
        connection=session.connection,
        packing=session.packing,
        tests=tuple(DataTestResult(test.node.name, str(test.status), test.failures or 0) for test in tests),
        model_seconds={model.node.name: model.execution_time for model in models},
        code_version=code_version(),
    )


def _failure_message(outcome: "dbtRunnerResult", results: "list[RunResult]") -> str:
    lines = [
        f"{result.node.resource_type} {result.node.name}: {' '.join((result.message or '').split())}"
        for result in results
        if result.status in {"error", "fail"}
    ]
    return "\n".join(["the process models were not built", *lines] if lines else [str(outcome.exception)])


def _close(session: "Session") -> None:
    from dbt.adapters.duckdb.connections import DuckDBConnectionManager

    DuckDBConnectionManager.close_all_connections()  # type: ignore[no-untyped-call]
    if session.connection is not None:
        session.connection.close()


if __name__ == "__main__":
    if sys.argv[1:] != ["freeze"]:
        sys.exit("usage: python -m orchestration.mining.dbt_build freeze")
    sys.stdout.write(f"{freeze_manifest()}\n")
