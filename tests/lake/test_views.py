import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import duckdb
import pytest

from orchestration.lake.session import text
from orchestration.lake.views import MONTH_FILES, VIEWS, ViewSource, view_sql

WORKSPACE = UUID(int=1)
ANALYSIS = UUID(int=2)
SECOND = 1_000_000


@pytest.fixture
def connection() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as connection:
        yield connection


def write(connection: duckdb.DuckDBPyConnection, dataset: str, path: Path, rows: list[dict[str, Any]]) -> str:
    """A month file of a dataset; columns that a row does not name are null."""
    connection.execute(
        f"create or replace table month ({', '.join(f'{n} {k}' for n, k in MONTH_FILES[dataset].items())})"
    )
    for row in rows:
        connection.execute(
            f"insert into month ({', '.join(row)}) values ({', '.join('?' for _ in row)})", list(row.values())
        )
    connection.execute(f"copy month to {text(str(path))} (format parquet)")
    return str(path)


def variant(name: str, frequency: int, completed: int, total_us: int, *, happy: bool) -> dict[str, Any]:
    return {
        "workspace_id": WORKSPACE,
        "analysis_id": ANALYSIS,
        "variant_id": name,
        "variant_hash": name * 2,
        "activities": ["start", name],
        "metadata": '{"length": 2}',
        "frequency": frequency,
        "completed_count": completed,
        "total_cycle_time_us": total_us,
        "is_happy_path": happy,
        "avg_cycle_time_seconds": total_us / completed / SECOND if completed else None,
    }


@pytest.mark.parametrize("view", VIEWS)
def test_a_view_without_files_is_empty_and_typed_alike(
    view: str, connection: duckdb.DuckDBPyConnection, tmp_path: Path
) -> None:
    url = write(connection, view, tmp_path / "x.parquet", [{next(iter(MONTH_FILES[view])): None}])
    filled = view_sql(view, ViewSource([url], {url: (str(ANALYSIS), "orders.csv")}))
    empty = view_sql(view, ViewSource())

    assert connection.execute(empty).fetchall() == []
    assert len(connection.execute(filled).fetchall()) == 1
    assert (
        connection.execute(f"describe {empty}").fetchall()
        == connection.execute(f"describe {filled}").fetchall()
    )


def test_variants_are_rolled_up_over_the_months(
    connection: duckdb.DuckDBPyConnection, tmp_path: Path
) -> None:
    months = [
        [variant("a", 6, 5, 50 * SECOND, happy=True), variant("b", 5, 4, 4 * SECOND, happy=False)],
        [variant("b", 5, 4, 8 * SECOND, happy=True), variant("c", 9, 0, 0, happy=False)],
    ]
    urls = [write(connection, "variants", tmp_path / f"{n}.parquet", rows) for n, rows in enumerate(months)]

    rows = connection.execute(
        f"select variant_id, activities, frequency, completed_count, avg_cycle_time_seconds, is_happy_path "
        f"from ({view_sql('variants', ViewSource(urls))}) order by variant_id"
    ).fetchall()

    assert rows == [
        ("a", ["start", "a"], 6, 5, 10.0, False),
        ("b", ["start", "b"], 10, 8, 1.5, True),
        ("c", ["start", "c"], 9, 0, None, False),
    ]


def test_the_happy_path_of_equally_frequent_variants_is_that_of_the_least_hash(
    connection: duckdb.DuckDBPyConnection, tmp_path: Path
) -> None:
    rows = [variant(name, 3, 3, 3, happy=False) for name in ("b", "a", "c")]
    for n, order in enumerate(itertools.permutations(rows)):
        url = write(connection, "variants", tmp_path / f"{n}.parquet", list(order))

        happy = connection.execute(
            f"select variant_id from ({view_sql('variants', ViewSource([url]))}) where is_happy_path"
        ).fetchall()

        assert happy == [("a",)]


def conforming(row: dict[str, object], happy_path: str, fitness: float) -> dict[str, object]:
    conformance = {"happy_path": happy_path, "fitness": fitness}
    return {**row, "metadata": json.dumps({"length": 2, "conformance": conformance})}


def test_conformance_to_the_happy_path_of_a_month_is_not_that_of_the_analysis(
    connection: duckdb.DuckDBPyConnection, tmp_path: Path
) -> None:
    months = [
        [conforming(variant("a", 6, 6, SECOND, happy=True), "of the month", 1.0)],
        [
            conforming(variant("a", 1, 1, SECOND, happy=False), "of the month", 0.5),
            conforming(variant("b", 2, 2, SECOND, happy=True), "of the month", 1.0),
        ],
    ]
    urls = [write(connection, "variants", tmp_path / f"{n}.parquet", rows) for n, rows in enumerate(months)]

    rows = connection.execute(
        f"select variant_id, is_happy_path, metadata from ({view_sql('variants', ViewSource(urls))}) order by all"
    ).fetchall()

    assert rows == [("a", True, '{"length":2}'), ("b", False, '{"length":2}')]


def test_a_declared_happy_path_is_that_of_all_months(
    connection: duckdb.DuckDBPyConnection, tmp_path: Path
) -> None:
    months = [
        [conforming(variant("a", 6, 6, SECOND, happy=False), "declared", 0.5)],
        [
            conforming(variant("a", 1, 1, SECOND, happy=False), "declared", 0.5),
            conforming(variant("b", 2, 0, 0, happy=True), "declared", 1.0),
        ],
    ]
    urls = [write(connection, "variants", tmp_path / f"{n}.parquet", rows) for n, rows in enumerate(months)]

    rows = connection.execute(
        f"select variant_id, is_happy_path, metadata->'conformance'->'fitness' "
        f"from ({view_sql('variants', ViewSource(urls))}) order by all"
    ).fetchall()

    assert rows == [("a", False, "0.5"), ("b", True, "1.0")]


def test_without_completed_cases_there_is_no_happy_path(
    connection: duckdb.DuckDBPyConnection, tmp_path: Path
) -> None:
    url = write(connection, "variants", tmp_path / "x.parquet", [variant("a", 3, 0, 0, happy=False)])

    sql = view_sql("variants", ViewSource([url]))

    assert connection.execute(f"select is_happy_path from ({sql})").fetchall() == [(False,)]


def test_the_process_map_adds_up_over_the_months(
    connection: duckdb.DuckDBPyConnection, tmp_path: Path
) -> None:
    def edge(source: str, target: str, frequency: int, seconds: float) -> dict[str, Any]:
        return {
            "source_activity": source,
            "target_activity": target,
            "frequency": frequency,
            "total_us": int(seconds * SECOND),
        }

    urls = [
        write(connection, "process_map", tmp_path / "1", [edge("a", "b", 2, 1.5), edge("b", "a", 1, 4)]),
        write(connection, "process_map", tmp_path / "2", [edge("a", "b", 3, 2)]),
    ]

    rows = connection.execute(f"{view_sql('process_map', ViewSource(urls))} order by 1").fetchall()

    assert rows == [("a", "b", 5, 3.5), ("b", "a", 1, 4.0)]


def test_a_rejected_row_names_its_arrival(connection: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    def rejected(number: int) -> dict[str, Any]:
        return {"row_number": number, "reason": "missing_case_id"}

    urls = [
        write(connection, "quarantine", tmp_path / "it's one.parquet", [rejected(1), rejected(2)]),
        write(connection, "quarantine", tmp_path / "two.parquet", [rejected(9)]),
    ]
    arrivals = {url: (str(UUID(int=n)), f"orders '{n}'.csv") for n, url in enumerate(urls)}
    sql = view_sql("quarantine", ViewSource(urls, arrivals))

    rows = connection.execute(
        f"select arrival_id, file_name, row_number from ({sql}) order by all"
    ).fetchall()
    counted = connection.execute(f"select count(*), min(file_name) from ({sql})").fetchall()

    assert rows == [
        (UUID(int=0), "orders '0'.csv", 1),
        (UUID(int=0), "orders '0'.csv", 2),
        (UUID(int=1), "orders '1'.csv", 9),
    ]
    assert counted == [(3, "orders '0'.csv")]
