"""Process map and variants of a month as the UI shows them: a picture laid out by Graphviz, and a table.

The labels of a log are drawn into the picture or stand in a table's cells, where the UI renders no markup.
"""

import base64
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import dagster as dg
import duckdb

from orchestration.control_plane.staging import StagedFile
from orchestration.mining.process_map import Drawer, Edge, Marker, NotDrawn, caption, dot_of, fold
from orchestration.stages.workbench import MonthOutcome, Workbench

Metadata = dict[str, dg.MetadataValue[Any]]

MOST_CARRIED_OVER = 3
"""A month that was not made is drawn only if there are no more of them; the run that made it has its picture."""

VARIANTS_SHOWN = 10

_EDGES_SQL = """
select source_activity, target_activity, frequency, total_us from read_parquet($process_map)
"""
_ACTIVITIES_SQL = """
select activity, sum(frequency)::bigint from (
    select unnest(activities) as activity, frequency from read_parquet($variants)
) group by activity
"""
_ENDS_SQL = """
select activities[1], activities[-1], sum(frequency)::bigint from read_parquet($variants) group by all
"""
_VARIANTS_SQL = f"""
select variant_id, activities, frequency, avg_cycle_time_seconds, is_happy_path from read_parquet($variants)
order by frequency desc, variant_hash limit {VARIANTS_SHOWN}
"""


def draw_months(bench: Workbench, outcomes: Iterable[MonthOutcome]) -> dict[tuple[str, str], Metadata]:
    """By dataset and month, the process map's picture and the variants' table of what was made."""
    months = _drawn(outcomes)
    if not months:
        return {}
    with _session(bench) as (connection, drawer):
        files = {dataset: bench.tree.files(dataset) for dataset in ("process_map", "variants")}
        return {
            (dataset, month): metadata
            for month in months
            for dataset, metadata in _draw(
                bench, connection, drawer, {dataset: files[dataset][month] for dataset in files}
            )
        }


def _drawn(outcomes: Iterable[MonthOutcome]) -> list[str]:
    states = {outcome.month: outcome.state for outcome in outcomes if outcome.dataset == "process_map"}
    made = [month for month, state in states.items() if state == "made"]
    kept = [month for month, state in states.items() if state == "carried over"]
    return sorted(made + (kept if len(kept) <= MOST_CARRIED_OVER else []))


@contextmanager
def _session(bench: Workbench) -> Iterator[tuple[duckdb.DuckDBPyConnection, Drawer]]:
    with bench.session() as connection, Drawer() as drawer:
        yield connection, drawer


def _draw(
    bench: Workbench, connection: duckdb.DuckDBPyConnection, drawer: Drawer, files: dict[str, StagedFile]
) -> Iterator[tuple[str, Metadata]]:
    urls = {dataset: bench.tree.url(file) for dataset, file in files.items()}
    variants = {"variants": urls["variants"]}
    edges = [
        Edge(*row) for row in connection.execute(_EDGES_SQL, {"process_map": urls["process_map"]}).fetchall()
    ]
    ends = connection.execute(_ENDS_SQL, variants).fetchall()
    edges += [Edge(Marker.START, first, count, 0) for first, _last, count in ends]
    edges += [Edge(last, Marker.END, count, 0) for _first, last, count in ends]
    events = dict(connection.execute(_ACTIVITIES_SQL, variants).fetchall())
    yield "process_map", {"process_map": _picture(drawer, events, edges)}
    yield "variants", {"most_frequent": _table(connection.execute(_VARIANTS_SQL, variants).fetchall())}


def _picture(drawer: Drawer, events: dict[str, int], edges: list[Edge]) -> dg.MetadataValue[Any]:
    folded = fold(events, edges)
    try:
        svg = drawer.svg(dot_of(folded))
    except NotDrawn as reason:
        return dg.MetadataValue.text(f"There is no picture: {reason}.")
    coded = base64.b64encode(svg.encode()).decode()
    return dg.MetadataValue.md(f"{caption(folded)}\n\n![process map](data:image/svg+xml;base64,{coded})")


def _table(rows: list[tuple[str, list[str], int, float | None, bool]]) -> dg.MetadataValue[Any]:
    return dg.MetadataValue.table(
        [
            dg.TableRecord(
                {
                    "variant": variant_id,
                    "path": " → ".join(activities),
                    "cases": cases,
                    "mean_days": None if seconds is None else round(seconds / 86_400, 3),
                    "happy_path": happy,
                }
            )
            for variant_id, activities, cases, seconds, happy in rows
        ],
        schema=dg.TableSchema(
            [
                dg.TableColumn("variant", "string"),
                dg.TableColumn("path", "string"),
                dg.TableColumn("cases", "int"),
                dg.TableColumn("mean_days", "float"),
                dg.TableColumn("happy_path", "bool"),
            ]
        ),
    )
