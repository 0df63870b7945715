"""Cases, variants and process map of home months, built by dbt from exactly the events that they need."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import duckdb

from orchestration.control_plane.staging import StagedFile
from orchestration.mining.dbt_build import ProcessBuild, build_process_models
from orchestration.stages.case_index import load_home_cases
from orchestration.stages.case_places import places_state
from orchestration.stages.clock import measure_holds
from orchestration.stages.staleness import cases_fingerprint, stale_case_months
from orchestration.stages.tree import Draft
from orchestration.stages.workbench import MonthOutcome, Workbench, audit, outcomes, timed

PROCESS_DATASETS = ("cases", "variants", "process_map")

EVENTS_PER_BUILD = 12_000_000
"""Home months are built together up to this many events, which bounds the memory of a build (1 GB in the benchmark)."""

_ORDER = {
    "cases": "global_case_id",
    "variants": "variant_hash",
    "process_map": "source_activity, target_activity",
}


def stage_process(bench: Workbench, months: Iterable[str]) -> list[MonthOutcome]:
    """Build the stale home months among ``months``; carry the others over. Months without cases go, asked for or not.

    Raises:
        ProcessBuildFailed: a dbt model or one of its tests failed; nothing of that batch is staged.
    """
    months = sorted(months)
    case_index = bench.tree.files("case_index")
    stale = stale_case_months(case_index, bench.tree.files("cases"), bench.parameters, bench.as_of)
    for dataset in reversed(PROCESS_DATASETS):  # cases last: a month is stale as long as it has some
        bench.tree.forget(dataset, [m for m in stale if m not in case_index])
    wanted = [m for m in stale if m in months and m in case_index]
    for batch in _batches(wanted, {m: int(case_index[m].stats["events"]) for m in wanted}):
        bench.progress(f"cases: {len(batch)} home month(s), {batch[0]} to {batch[-1]}")
        with build_process_models(
            lambda connection, batch=batch: _prepare(bench, connection, batch),  # type: ignore[misc]
            threads=bench.threads,
            memory_limit=bench.memory_limit,
            temp_directory=bench.scratch,
        ) as build:
            bench.tree.put(list(_drafts(bench, build, batch)))
    return [o for dataset in PROCESS_DATASETS for o in outcomes(bench.tree, dataset, months, wanted)]


def _batches(months: Sequence[str], events: dict[str, int]) -> Iterator[list[str]]:
    batch: list[str] = []
    for month in months:
        if batch and sum(events[m] for m in [*batch, month]) > EVENTS_PER_BUILD:
            yield batch
            batch = []
        batch.append(month)
    if batch:
        yield batch


def _prepare(bench: Workbench, connection: duckdb.DuckDBPyConnection, homes: Sequence[str]) -> None:
    """Give dbt's session its inputs: the events of the cases with these home months, and the run's parameters."""
    bench.secure(connection)
    load_home_cases(connection, bench.tree, homes)
    files = bench.tree.files("events")
    needed = connection.execute("select distinct event_month from case_months order by 1").fetchall()
    urls = ", ".join(f"'{bench.tree.url(files[month])}'" for (month,) in needed)
    connection.execute("create table wanted_cases as select distinct global_case_id from case_months")
    ours = connection.execute("select sum(event_count) from case_months").fetchall()[0][0]
    others = sum(files[month].rows for (month,) in needed) - ours
    connection.execute("drop table case_months")
    connection.execute("create schema input")
    # The semi join costs a pass over the ids; a full build needs all cases of its files and goes without.
    semi_join = "semi join wanted_cases using (global_case_id)" if others else ""
    connection.execute(
        f"""
        create view input.events as
        select global_case_id, timestamp, tie_order, activity, system from read_parquet([{urls}]) {semi_join}
        """
    )
    _create_parameters(bench, connection)
    bench.measure_durations(connection, [month for (month,) in needed])
    bench.lock(connection)


def _create_parameters(bench: Workbench, connection: duckdb.DuckDBPyConnection) -> None:
    rule = bench.parameters.completion
    connection.execute(
        """
        create table input.parameters as
        select ?::uuid as workspace_id, ?::uuid as analysis_id, ?::varchar as workspace_slug,
               ?::varchar[] as end_activities, ?::bigint as silence_us, ?::timestamp as as_of,
               ?::timestamp as left_edge, ?::varchar[] as happy_path
        """,
        [
            bench.workspace_id,
            bench.analysis_id,
            bench.workspace_slug,
            list(rule.end_activities),
            None if rule.silence_days is None else rule.silence_days * 86_400_000_000,
            bench.as_of.replace(tzinfo=None),
            None if rule.left_edge is None else rule.left_edge.replace(tzinfo=None),
            None if bench.parameters.happy_path is None else list(bench.parameters.happy_path),
        ],
    )


def _drafts(bench: Workbench, build: ProcessBuild, homes: Sequence[str]) -> Iterator[Draft]:
    """The built tables, one file per home month, each in its total order."""
    case_index, events = bench.tree.files("case_index"), bench.tree.files("events")
    tests = [
        audit(test.name, test.status == "pass", f"{test.failures} rows break it") for test in build.tests
    ]
    across = _across_systems(build.connection) if places_state(bench.tree.files) else None
    for dataset in PROCESS_DATASETS:
        share = build.model_seconds.get(dataset, 0.0) / len(homes)
        for home in homes:
            index = case_index[home]
            stats = _stats(build.connection, dataset, home)
            if dataset == "cases" and across is not None:
                stats["across_systems"] = across.get(home, 0)
            with timed() as spent:
                reader = build.connection.execute(
                    f"select * exclude (home_month) from main.{dataset} where home_month = ?"
                    f" order by {_ORDER[dataset]}",
                    [home],
                ).to_arrow_reader(65_536)
                draft = bench.draft(
                    dataset,
                    home,
                    reader,
                    rows=stats["rows"],
                    fingerprint=cases_fingerprint(index, bench.parameters),
                    code_version=build.code_version,
                    inputs=[
                        _input("case_index", index),
                        *(_input("events", events[entry["month"]]) for entry in index.inputs),
                    ],
                    seconds=share + spent(),
                )
            yield replace(draft, audits=tests, stats=stats)


def _across_systems(connection: duckdb.DuckDBPyConnection) -> dict[str, int]:
    """By home month how many cases have events of more than one system."""
    found = connection.execute(
        """
        select home_month, count(*) from main.cases semi join (
            select global_case_id from input.events group by global_case_id having min(system) <> max(system)
        ) using (global_case_id)
        group by home_month
        """
    ).fetchall()
    return dict(found)


def _input(dataset: str, file: StagedFile) -> dict[str, Any]:
    return {"dataset": dataset, "month": file.month, "content_sha256": file.content_sha256}


_STATS = {
    "cases": """
        select count(*) as rows, sum(event_count)::bigint as events, count(*) filter (state = 'completed') as completed,
               count(*) filter (state = 'open') as open, count(*) filter (state = 'left_cut') as left_cut,
               count(*) filter (order_is_tied) as tied, max(end_ts)::varchar as last_end,
               (sum(cycle_time_us) filter (state = 'completed'))::bigint as total_cycle_time_us
        from main.cases where home_month = ?""",
    "variants": "select count(*) as rows, max(frequency) as top_frequency from main.variants where home_month = ?",
    "process_map": """
        select count(*) as rows, sum(frequency)::bigint as transitions, sum(total_us)::bigint as total_us
        from main.process_map where home_month = ?""",
}


_TOP = {
    "cases": """
        select days || ' days', count(*) from (
            select case when cycle_time_seconds < 86400 then '< 1' when cycle_time_seconds < 604800 then '1-7'
                        when cycle_time_seconds < 2592000 then '7-30' else '> 30' end as days
            from main.cases where home_month = ?) group by days order by count(*) desc, days""",
    "variants": """
        select variant_id || ' (' || len(activities) || ' events)', frequency from main.variants
        where home_month = ? order by frequency desc, variant_hash limit 5""",
    "process_map": """
        select source_activity || ' > ' || target_activity, frequency from main.process_map
        where home_month = ? order by frequency desc, source_activity, target_activity limit 5""",
}


def _stats(connection: duckdb.DuckDBPyConnection, dataset: str, home: str) -> dict[str, Any]:
    facts = connection.execute(_STATS[dataset], [home])
    names = [column[0] for column in facts.description or ()]
    stats = dict(zip(names, facts.fetchall()[0], strict=True))
    top = connection.execute(_TOP[dataset], [home]).fetchall()
    if dataset == "cases":
        stats |= measure_holds(connection, home)
    clock = connection.execute("select clock_name()").fetchall()[0][0]
    if clock != "elapsed":
        stats["clock"] = clock
    return stats | {"top": [list(entry) for entry in top]}
