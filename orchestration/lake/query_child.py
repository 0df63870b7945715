"""The process that runs one query: a job on stdin, an answer on stdout, both JSON; started by ``query`` only.

It imports as little as it can: whatever is here is within reach of a statement that breaks out of DuckDB.
"""

import json
import math
import resource
import sys
from collections.abc import Mapping
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import duckdb

from orchestration.lake.credentials import ScopedCredentials
from orchestration.lake.query_gate import StatementRefused, check
from orchestration.lake.session import lock, prepare, text
from orchestration.lake.views import VIEWS, ViewSource, view_sql

_ROWS_AT_A_TIME = 1000
# What Python, DuckDB's code and its threads' stacks map beside the memory that DuckDB counts.
_MEMORY_BESIDES = 2 * 1024**3
_OPEN_FILES = 256


class ResultTooLarge(ValueError):
    """The result has more rows or bytes than the caller takes."""


def main() -> None:
    """Read the job, run it, write ``{"columns", "rows"}`` or ``{"error", "message"}``."""
    try:
        answer = _run(json.load(sys.stdin))
    except StatementRefused as error:
        answer = _failure("refused", str(error))
    except ResultTooLarge as error:
        answer = _failure("too_large", str(error))
    except (duckdb.OutOfMemoryException, MemoryError):
        answer = _failure(
            "too_large",
            "the query needs more memory than it may use: read fewer rows at a time, or aggregate earlier",
        )
    except Exception as error:
        answer = _failure("failed", str(error))
    sys.stdout.write(answer)


def _failure(kind: str, message: str) -> str:
    return json.dumps({"error": kind, "message": message})


def _run(job: Mapping[str, Any]) -> str:
    limits = job["limits"]
    with duckdb.connect() as connection:
        _limit_process(connection, limits)
        # The statement is judged before the connection can reach anything.
        names = check(connection, job["sql"], VIEWS)
        _open(connection, job, names)
        result = connection.execute(job["sql"])
        columns = json.dumps([[name, str(kind)] for name, kind, *_ in result.description])
        return f'{{"columns": {columns}, "rows": [{_rows(result, limits)}]}}'


def _limit_process(connection: duckdb.DuckDBPyConnection, limits: Mapping[str, Any]) -> None:
    memory = connection.execute("select parse_formatted_bytes(?)", [limits["memory"]]).fetchall()[0][0]
    cpu_seconds = limits["seconds"] * limits["threads"]
    for kind, soft, hard in (
        (resource.RLIMIT_AS, int(memory) + _MEMORY_BESIDES, int(memory) + _MEMORY_BESIDES),
        # The parent watches the clock; this ends the query where the parent itself was killed.
        (resource.RLIMIT_CPU, cpu_seconds, cpu_seconds + 1),
        (resource.RLIMIT_NOFILE, _OPEN_FILES, _OPEN_FILES),
        (resource.RLIMIT_CORE, 0, 0),
    ):
        resource.setrlimit(kind, (soft, hard))


def _open(connection: duckdb.DuckDBPyConnection, job: Mapping[str, Any], names: frozenset[str]) -> None:
    """Lock the connection to the workspace and make the views that the statement reads."""
    limits = job["limits"]
    expires_at = datetime.fromisoformat(job["credentials"]["expires_at"])
    credentials = ScopedCredentials(**{**job["credentials"], "expires_at": expires_at})
    prepare(
        connection,
        credentials,
        threads=limits["threads"],
        memory_limit=limits["memory"],
        temp_directory=Path(job["scratch"]),
    )
    connection.execute(f"set max_temp_directory_size = {text(limits['memory'])}")
    lock(connection, credentials)
    for name in sorted(names):
        source = ViewSource(**job["views"].get(name, {}))
        connection.execute(f"create view {name} as {view_sql(name, source)}")


def _rows(result: duckdb.DuckDBPyConnection, limits: Mapping[str, Any]) -> str:
    """The rows as JSON arrays, separated by commas."""
    rows: list[str] = []
    size = 0
    while batch := result.fetchmany(_ROWS_AT_A_TIME):
        rows += [json.dumps([_json_value(value) for value in row], allow_nan=False) for row in batch]
        size += sum(map(len, rows[-len(batch) :]))
        if len(rows) > limits["rows"]:
            raise ResultTooLarge(
                f"the result has more than {limits['rows']:,} rows: add a LIMIT, or aggregate"
            )
        if size > limits["result_bytes"]:
            raise ResultTooLarge(
                f"the result has more than {limits['result_bytes']:,} bytes: read fewer columns or rows"
            )
    return ", ".join(rows)


def _json_value(value: Any) -> Any:
    """A DuckDB value as JSON: a time without a zone is UTC, as everywhere in the lake."""
    match value:
        case None | bool() | int() | str():
            return value
        case float():
            return value if math.isfinite(value) else None
        case Decimal():
            return int(value) if value == value.to_integral_value() else float(value)
        case datetime():
            utc = value.astimezone(UTC).replace(tzinfo=None) if value.tzinfo else value
            return f"{utc.isoformat()}Z"
        case date() | time():
            return value.isoformat()
        case timedelta():
            return value.total_seconds()
        case UUID():
            return str(value)
        case bytes():
            return value.hex()
    return _nested_json_value(value)


def _nested_json_value(value: Any) -> Any:
    match value:
        case list() | tuple():
            return [_json_value(item) for item in value]
        case dict():
            return {str(key): _json_value(item) for key, item in value.items()}
    return str(value)
