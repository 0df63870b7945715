"""Real logs against figures that were found without casetrail (truth.json beside each log)."""

import json
from pathlib import Path
from typing import Any

import duckdb
import pytest

from orchestration.mining.dbt_build import build_process_models
from orchestration.mining.packing import GENERAL, Packing
from tests.mining.process_log import rows

# Case, activity, UTC time; a tie keeps the file's order. The times of receipt are those of a Dutch clock.
LOGS = {
    "receipt": (
        '"case:concept:name"',
        '"concept:name"',
        """timezone('UTC', timezone('Europe/Amsterdam', "time:timestamp"::timestamp))""",
    ),
    "traffic_fines": ("case_id", "activity", "timezone('UTC', \"timestamp\")"),
}


@pytest.mark.parametrize("packing", [None, GENERAL], ids=["fitting", "general"])
@pytest.mark.parametrize("log", LOGS)
def test_a_real_log_gives_the_known_figures(log: str, packing: Packing | None, shared_data: Path) -> None:
    folder = shared_data / log
    truth = json.loads((folder / "truth.json").read_text())["logs"][0]

    def prepare(connection: duckdb.DuckDBPyConnection) -> None:
        case, activity, time = LOGS[log]
        connection.execute("create schema input")
        connection.execute(
            f"""
            create table input.events as
            with given as (
                select md5({case})::uuid as global_case_id, {activity} as activity, {time} as "timestamp",
                    file_row_number
                from read_parquet('{folder / f"{log}.parquet"}', file_row_number = true)
            )
            select *, (row_number() over (
                partition by global_case_id, "timestamp" order by file_row_number
            ) - 1)::integer as tie_order
            from given
            """
        )
        connection.execute(
            "create table input.parameters as select uuid() as workspace_id, uuid() as analysis_id, "
            "'acme' as workspace_slug, []::varchar[] as end_activities, null::bigint as silence_us, "
            "timestamp '2020-01-01' as as_of, null::timestamp as left_edge, null::varchar[] as happy_path"
        )

    with build_process_models(prepare, packing=packing) as build:
        _check_cases(build.connection, truth)
        _check_variants(build.connection, truth)
        _check_map(build.connection, truth)


def _check_cases(connection: duckdb.DuckDBPyConnection, truth: dict[str, Any]) -> None:
    (totals,) = rows(
        connection,
        """
        select count(*) as n_cases, sum(event_count) as n_events,
            count(*) filter (where order_is_tied) as cases_with_timestamp_ties,
            avg(cycle_time_seconds) as mean, median(cycle_time_seconds) as median,
            min(cycle_time_seconds) as min, max(cycle_time_seconds) as max
        from main.cases
        """,
    )
    for figure in ("n_cases", "n_events", "cases_with_timestamp_ties"):
        assert totals[figure] == truth[figure], figure
    for figure, seconds in truth["cycle_time_s"].items():
        assert totals[figure] == pytest.approx(seconds, abs=1e-3), figure
    for side in ("start", "end"):
        by_activity = f"select {side}_activity, count(*) from main.cases group by all"
        counts = connection.execute(by_activity).fetchall()
        assert dict(counts) == truth[f"{side}_activities"]


def _check_variants(connection: duckdb.DuckDBPyConnection, truth: dict[str, Any]) -> None:
    total = "select activities, sum(frequency)::bigint as count from main.variants group by activities"
    found = connection.execute(f"{total} order by count desc").fetchall()
    assert len(found) == truth["n_variants"]
    assert [{"count": count, "variant": path} for path, count in found[:5]] == truth["top5_variants"]


def _check_map(connection: duckdb.DuckDBPyConnection, truth: dict[str, Any]) -> None:
    edges = connection.execute(
        "select source_activity, target_activity, sum(frequency)::bigint from main.process_map group by all"
    ).fetchall()
    assert len(edges) == truth["n_dfg_edges"]
    found = {(source, target): count for source, target, count in edges}
    for source, target, count in truth["top10_dfg"]:
        assert found[source, target] == count
