import os
import subprocess
import time
from pathlib import Path
from typing import Any
from uuid import UUID

import duckdb
import pytest

from orchestration.lake import query as query_module
from orchestration.lake.content import write_parquet
from orchestration.lake.credentials import CredentialBroker, ScopedCredentials
from orchestration.lake.objects import WorkspaceStore
from orchestration.lake.query import QueryFailed, QueryLimits, QueryTooLarge, run_query
from orchestration.lake.query_gate import StatementRefused
from orchestration.lake.views import MONTH_FILES, ViewSource

CASE = UUID(int=7)


@pytest.fixture
def reader(broker: CredentialBroker, ours: ScopedCredentials) -> ScopedCredentials:
    return broker.for_workspace(ours.workspace_id, "EU", read_only=True)


@pytest.fixture
def views(store: WorkspaceStore, tmp_path: Path) -> dict[str, ViewSource]:
    """One month of events, and one arrival's quarantine."""
    connection = duckdb.connect(config={"arrow_lossless_conversion": True})
    values: dict[str, dict[str, str]] = {
        "events": {
            "global_case_id": f"'{CASE}'",
            "timestamp": "'2024-01-02 03:04:05.5'",
            "activity": "'pay'",
        },
        "quarantine": {"row_number": "3", "reason": "'missing_case_id'"},
    }
    sources = {}
    for dataset, given in values.items():
        columns = ", ".join(f"{given.get(n, 'null')}::{k} as {n}" for n, k in MONTH_FILES[dataset].items())
        write_parquet(connection.execute(f"select {columns}").to_arrow_reader(), tmp_path / dataset)
        key = f"{store.credentials.prefix}{dataset}.parquet"
        store.put_file(key, tmp_path / dataset)
        sources[dataset] = ViewSource([store.url(key)], {store.url(key): (str(CASE), "orders.csv")})
    return sources


def test_a_query_answers_in_json_values(reader: ScopedCredentials, views: dict[str, ViewSource]) -> None:
    result = run_query(reader, views, "select global_case_id, timestamp, activity, role from events")

    assert result.columns == [
        ("global_case_id", "UUID"),
        ("timestamp", "TIMESTAMP"),
        ("activity", "VARCHAR"),
        ("role", "VARCHAR"),
    ]
    assert result.rows == [[str(CASE), "2024-01-02T03:04:05.500000Z", "pay", None]]


def test_quarantine_names_the_arrival(reader: ScopedCredentials, views: dict[str, ViewSource]) -> None:
    result = run_query(reader, views, "select arrival_id, file_name, row_number, reason from quarantine")

    assert result.rows == [[str(CASE), "orders.csv", 3, "missing_case_id"]]


def test_a_relation_without_files_is_empty(reader: ScopedCredentials, views: dict[str, ViewSource]) -> None:
    result = run_query(reader, views, "select (select count(*) from cases), count(*) from variants")

    assert result.rows == [[0, 0]]


@pytest.mark.parametrize(
    ("sql", "value"),
    [
        ("1.50::decimal(10, 2)", 1.5),
        ("3.00::decimal(10, 2)", 3),
        ("170141183460469231731687303715884105727::hugeint", 2**127 - 1),
        ("'nan'::double", None),
        ("timestamptz '2024-01-01 01:00:00+01'", "2024-01-01T00:00:00Z"),
        ("date '2024-02-29'", "2024-02-29"),
        ("time '01:02:03'", "01:02:03"),
        ("interval 90 second", 90.0),
        ("'\\xFF'::blob", "ff"),
        ("[1, null]", [1, None]),
        ("[uuid '00000000-0000-0000-0000-000000000007']", [str(CASE)]),
        ("{'a': [date '2024-01-01'], 'b': map {'k': true}}", {"a": ["2024-01-01"], "b": {"k": True}}),
        ("'ü'", "ü"),
    ],
)
def test_values_become_json(sql: str, value: Any, reader: ScopedCredentials) -> None:
    assert run_query(reader, {}, f"select {sql}").rows == [[value]]


def test_a_query_that_takes_a_while_answers_with_nothing_but_its_answer(reader: ScopedCredentials) -> None:
    """DuckDB would draw a bar on stdout, which is where the answer is written, after two seconds."""
    limits = QueryLimits(threads=1)
    sql = "select count(*) as n from range(12_000) a, range(40_000) b where hash(a.range, b.range) % 7 = 8"
    began = time.monotonic()

    assert run_query(reader, {}, sql, limits).rows == [[0]]
    assert time.monotonic() - began > 2


def test_an_error_in_the_statement_is_told(reader: ScopedCredentials) -> None:
    with pytest.raises(QueryFailed, match='"no_such_column" not found'):
        run_query(reader, {}, "select no_such_column from events")


def test_a_statement_that_is_not_allowed_is_refused(reader: ScopedCredentials) -> None:
    with pytest.raises(StatementRefused, match="function read_text is not allowed"):
        run_query(reader, {}, "select * from read_text('/etc/passwd')")


def test_another_workspaces_objects_cannot_be_a_view(
    reader: ScopedCredentials, neighbour: WorkspaceStore
) -> None:
    url = neighbour.url(f"{neighbour.credentials.prefix}secret.csv")

    with pytest.raises(QueryFailed, match="Permission Error"):
        run_query(reader, {"events": ViewSource([url])}, "select * from events")


def test_a_query_holds_no_key_that_writes(ours: ScopedCredentials) -> None:
    with pytest.raises(ValueError, match="read-only credentials"):
        run_query(ours, {}, "select 1")


def test_an_unknown_view_is_an_error(reader: ScopedCredentials) -> None:
    with pytest.raises(ValueError, match=r"unknown views \['orders'\]"):
        run_query(reader, {"orders": ViewSource()}, "select 1")


def test_too_many_rows_are_an_error(reader: ScopedCredentials) -> None:
    limits = QueryLimits(rows=100)

    assert len(run_query(reader, {}, "select * from range(100)", limits).rows) == 100
    with pytest.raises(QueryTooLarge, match="more than 100 rows: add a LIMIT"):
        run_query(reader, {}, "select * from range(101)", limits)


def test_too_many_bytes_are_an_error(reader: ScopedCredentials) -> None:
    with pytest.raises(QueryTooLarge, match="more than 1,000 bytes"):
        run_query(reader, {}, "select repeat('x', 2000)", QueryLimits(result_bytes=1000))


def test_a_long_query_is_stopped(reader: ScopedCredentials) -> None:
    sql = "select sum(a.range * b.range) from range(10_000_000) a, range(10_000_000) b"
    before = _children()
    began = time.monotonic()

    with pytest.raises(QueryTooLarge, match=r"longer than 2 s.*CASETRAIL_QUERY_SECONDS"):
        run_query(reader, {}, sql, QueryLimits(seconds=2))

    assert time.monotonic() - began < 5
    assert _children() == before


@pytest.mark.parametrize(
    "sql",
    [
        "select list(range::varchar) from range(100_000_000)",
        "select length(repeat('x', 4_000_000_000))",
        "select list_sum(list_transform(range(500_000_000), lambda x: x))",
    ],
)
def test_a_query_that_wants_too_much_memory_is_stopped(sql: str, reader: ScopedCredentials) -> None:
    with pytest.raises(QueryTooLarge, match="memory"):
        run_query(reader, {}, sql, QueryLimits(memory="150MB"))


def test_a_statement_that_kills_the_process_harms_nobody(
    reader: ScopedCredentials, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(query_module, "_START", "import os, signal; os.kill(os.getpid(), signal.SIGSEGV)")

    with pytest.raises(QueryTooLarge, match="ended with code -11"):
        run_query(reader, {}, "select 1")


def test_the_child_is_told_its_job_in_secret(
    reader: ScopedCredentials, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: dict[str, Any] = {}

    class Recorded(subprocess.Popen):  # type: ignore[type-arg]
        def __init__(self, arguments: list[str], **options: Any) -> None:
            started.update(arguments=arguments, env=options["env"])
            super().__init__(arguments, **options)

    monkeypatch.setattr(query_module.subprocess, "Popen", Recorded)
    monkeypatch.setenv("CASETRAIL_OWNER_DSN", "postgresql://owner:hidden@localhost/x")

    run_query(reader, {}, "select 1")

    assert started["env"] == {"LANG": "C.UTF-8"}
    assert reader.session_token not in str(started)
    assert reader.secret_access_key not in str(started)


def test_nothing_is_left_behind(
    reader: ScopedCredentials, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(query_module.tempfile, "tempdir", str(tmp_path))

    run_query(reader, {}, "select 1")
    with pytest.raises(QueryFailed):
        run_query(reader, {}, "select nothing")

    assert not list(tmp_path.iterdir())


def _children() -> set[str]:
    """The processes that this one has started."""
    return set(Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children").read_text().split())
