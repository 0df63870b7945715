"""A query for people: one SELECT over a workspace's released files, in a process of its own.

The child holds read-only credentials of that one workspace and nothing else of ours: no settings, no
environment, no connection to the control plane. What it may run is decided by ``query_gate``; who may ask,
and which files make up the release, by the control plane.
"""

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import orchestration
from orchestration.lake.credentials import ScopedCredentials
from orchestration.lake.query_gate import StatementRefused
from orchestration.lake.views import VIEWS, ViewSource

# -I: no PYTHON* variables, no user site, no working directory on the path; so our own root is handed over.
_START = (
    "import sys; sys.path.insert(0, sys.argv[1]); from orchestration.lake.query_child import main; main()"
)

__all__ = ["QueryFailed", "QueryLimits", "QueryResult", "QueryTooLarge", "StatementRefused", "run_query"]


class QueryFailed(RuntimeError):
    """The statement was run and ended in an error, which the message quotes."""


class QueryTooLarge(QueryFailed):
    """The statement needs more time, memory or result rows than the limits grant."""


@dataclass(frozen=True)
class QueryLimits:
    """What one query may use: ``memory`` as DuckDB writes it (``"1GB"``), ``seconds`` by the wall clock."""

    memory: str = "1GB"
    seconds: int = 60
    rows: int = 10_000
    result_bytes: int = 64_000_000
    threads: int = 2


@dataclass(frozen=True)
class QueryResult:
    """Rows as JSON values: UUIDs and times as text (ISO 8601, UTC with Z), decimals as numbers, NaN as null.

    ``columns`` are (name, DuckDB type); each row has one value per column.
    """

    columns: Sequence[tuple[str, str]]
    rows: Sequence[Sequence[Any]] = field(repr=False)


def run_query(
    credentials: ScopedCredentials,
    views: Mapping[str, ViewSource],
    sql: str,
    limits: QueryLimits | None = None,
) -> QueryResult:
    """Run one SELECT over ``events``, ``cases``, ``variants``, ``process_map`` and ``quarantine``.

    ``views`` names the objects behind each; one that is not given is empty.

    Raises:
        StatementRefused: the statement is not one SELECT over these relations with allowed functions.
        QueryTooLarge: a limit was reached; the message says which and what to do.
        QueryFailed: DuckDB's error, such as an unknown column.
        ValueError: the credentials could also write, or a view's name is unknown.
    """
    if not credentials.read_only:
        raise ValueError(
            "a query takes read-only credentials: CredentialBroker.for_workspace(..., read_only=True)"
        )
    if unknown := set(views) - set(VIEWS):
        raise ValueError(f"unknown views {sorted(unknown)}: there are {', '.join(VIEWS)}")
    limits = limits or QueryLimits()
    with tempfile.TemporaryDirectory(prefix="casetrail-query-") as scratch:
        job = {
            "credentials": {**asdict(credentials), "expires_at": credentials.expires_at.isoformat()},
            "views": {name: asdict(source) for name, source in views.items()},
            "sql": sql,
            "limits": asdict(limits),
            "scratch": scratch,
        }
        return _result(_run_child(job, limits), limits)


def _run_child(job: Mapping[str, Any], limits: QueryLimits) -> tuple[int, bytes]:
    """The child's return code and output. The job goes over stdin, which no other process can read."""
    root = Path(orchestration.__file__).parent.parent
    child = subprocess.Popen(
        [sys.executable, "-I", "-c", _START, str(root)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={"LANG": "C.UTF-8"},
        cwd=job["scratch"],
        start_new_session=True,
    )
    try:
        output, _ = child.communicate(json.dumps(job).encode(), timeout=limits.seconds)
    except subprocess.TimeoutExpired:
        raise QueryTooLarge(
            f"the query ran longer than {limits.seconds} s and was stopped: "
            "read fewer months or columns, or raise CASETRAIL_QUERY_SECONDS"
        ) from None
    finally:
        if child.poll() is None:
            os.killpg(child.pid, signal.SIGKILL)
            child.communicate()
    return child.returncode, output


def _result(answered: tuple[int, bytes], limits: QueryLimits) -> QueryResult:
    code, output = answered
    if code == -signal.SIGXCPU:
        raise QueryTooLarge(f"the query used more than {limits.seconds} s on every thread and was stopped")
    if code != 0:
        # Whatever ended it (memory above all), nothing of it ran here.
        raise QueryTooLarge(
            f"the query's process ended with code {code}, most likely for want of memory ({limits.memory}): "
            "read fewer rows at a time, or raise CASETRAIL_QUERY_MEMORY"
        )
    answer = json.loads(output)
    if "error" in answer:
        kinds = {"refused": StatementRefused, "too_large": QueryTooLarge, "failed": QueryFailed}
        raise kinds[answer["error"]](answer["message"])
    return QueryResult([(name, kind) for name, kind in answer["columns"]], answer["rows"])
