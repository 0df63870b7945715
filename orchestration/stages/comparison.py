"""Carrying out a comparison: the cases of its two sides, selected among those of the analysis by the same filters.

Not here: what is told of them (``mining.explain``).
"""

import duckdb

from orchestration.mining.explain import Comparison, Explanation, compare, read_side
from orchestration.mining.filters import Filters, select_cases
from orchestration.stages.workbench import Workbench


def compare_sides(bench: Workbench) -> list[Explanation]:
    """The rows of the analysis's comparison; none if it has none.

    Filters see the analysis as its own files have it: its classifier, its completion rule and its cases only.
    """
    asked = bench.parameters.comparison
    if asked is None:
        return []
    bench.progress(f"comparison: {asked.reference.label} and {asked.compared.label}")
    with bench.session() as connection:
        _create_log(bench, connection)
        return _compare(bench, connection, asked)


def _create_log(bench: Workbench, connection: duckdb.DuckDBPyConnection) -> None:
    """The relations that filters ask."""
    for dataset, relation in (("events", "log_events"), ("cases", "log_cases"), ("variants", "log_variants")):
        urls = ", ".join(f"'{bench.tree.url(file)}'" for file in bench.tree.files(dataset).values())
        columns = "distinct variant_hash, activities" if dataset == "variants" else "*"
        connection.execute(f"create temp view {relation} as select {columns} from read_parquet([{urls}])")
    connection.execute("create temp view events as select * from log_events")
    bench.measure_durations(connection, bench.event_months())


def _compare(bench: Workbench, connection: duckdb.DuckDBPyConnection, asked: Comparison) -> list[Explanation]:
    config = bench.parameters.explanation.config()
    read = []
    for table, side in (("reference_ids", asked.reference), ("compared_ids", asked.compared)):
        _select(connection, table, side.conditions)
        connection.execute(
            f"""
            create or replace temp view cases as
            select global_case_id, split_part(partition_id, '|', 1) as home_month, start_ts, end_ts, cycle_time_us,
                state
            from log_cases semi join {table} using (global_case_id)
            """
        )
        read.append(read_side(connection, side.label, config))
    (shared,) = connection.execute(
        "select count(*) from reference_ids semi join compared_ids using (global_case_id)"
    ).fetchall()[0]
    target = bench.parameters.explanation.target
    return compare(target, read[0], read[1], shared, config, bench.narrator())


def _select(connection: duckdb.DuckDBPyConnection, table: str, filters: Filters) -> None:
    query = select_cases(filters)
    connection.execute(f"create temp table {table} as {query.sql}", query.parameters)
