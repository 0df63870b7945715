"""The events of an analysis on demand: those of the selected cases of a release, as its classifier and lifecycle say.

From here on an analysis is made by the same stages as the standing one. Not here: what filters mean
(``mining.filters``).
"""

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

import duckdb

from orchestration import utc_offsets
from orchestration.mining import event_log, working_calendar, working_time
from orchestration.mining.event_log import log_sql
from orchestration.mining.filters import select_cases
from orchestration.mining.filters import sql as filter_sql
from orchestration.stages import event_contract
from orchestration.stages.events import EVENT_INDEX_SQL
from orchestration.stages.tree import Draft
from orchestration.stages.workbench import (
    SCHEMA_VERSION,
    AnalysisParameters,
    MonthOutcome,
    Workbench,
    audit,
    digest,
    outcomes,
    source_version,
    timed,
)

SELECTION_VERSION = source_version(
    sys.modules[__name__], event_log, filter_sql, working_calendar, working_time, utc_offsets
)


@dataclass(frozen=True)
class BaseFile:
    """A month file of the release that an analysis is asked of."""

    month: str
    url: str
    rows: int
    content_sha256: str


@dataclass(frozen=True)
class Base:
    """The release that an analysis is asked of: when it was made, for what rules, and its files by dataset."""

    provenance_id: str
    content_sha256: str
    as_of: datetime
    parameters: AnalysisParameters
    files: Mapping[str, Sequence[BaseFile]]

    def urls(self, dataset: str) -> str:
        """The dataset's files for DuckDB's ``read_parquet``."""
        return "[" + ", ".join(f"'{file.url}'" for file in self.files[dataset]) + "]"


class NothingSelected(Exception):
    """No case of the release passes the filters."""


def selection_fingerprint(parameters: AnalysisParameters, base: Base) -> str:
    """What the events of an analysis depend on."""
    return digest(
        [
            SELECTION_VERSION,
            SCHEMA_VERSION,
            parameters.model_dump(mode="json", exclude={"explanation", "comparison"}),
            base.content_sha256,
            base.as_of.isoformat(),
        ]
    )


def stage_selection(bench: Workbench, base: Base) -> list[MonthOutcome]:
    """Make the months of events that the selected cases have; carry them over where they are made already.

    Raises:
        NothingSelected: the filters leave no case.
        EventContractBroken: see ``stage_events``.
    """
    fingerprint = selection_fingerprint(bench.parameters, base)
    staged = bench.tree.files("events")
    if staged and all(file.fingerprint == fingerprint for file in staged.values()):
        return outcomes(bench.tree, "events", sorted(staged), ())
    with bench.session() as connection:
        _create_log(bench, connection, base)
        _select(bench, connection)
        made = []
        # The paired events of an activity lie in the month of its completion, so no other months are needed.
        for month in sorted(file.month for file in base.files["events"]):
            drafts = list(_make_month(bench, connection, base, month, fingerprint))
            bench.tree.put(drafts)
            made += [month] if drafts else []
    for dataset in ("events", "event_index"):
        bench.tree.forget(dataset, staged.keys() - set(made))
    return outcomes(bench.tree, "events", sorted(made), made)


def _create_log(bench: Workbench, connection: duckdb.DuckDBPyConnection, base: Base) -> None:
    """The relations that filters ask: ``log_events``, ``log_cases`` and ``log_variants``."""
    asked = bench.parameters
    connection.execute(f"create temp view base_events as select * from read_parquet({base.urls('events')})")
    as_released = asked.lifecycle == "all" and asked.classifier == ("activity",)
    # What is not as released is worked out once, not again for every filter and month.
    kind = "view" if as_released else "table"
    connection.execute(f"create temp {kind} log_events as {log_sql(asked.classifier, asked.lifecycle)}")
    bench.measure_durations(connection, [file.month for file in base.files["events"]])
    if as_released and asked.completion == base.parameters.completion:
        connection.execute(f"create temp view log_cases as {_released_cases(asked, base)}")
        connection.execute(
            f"""
            create temp table log_variants as
            select distinct variant_hash, activities from read_parquet({base.urls("variants")})
            """
        )
        return
    bench.progress("the log as this analysis sees it")
    connection.execute(_PATHS_SQL)
    connection.execute(
        "create temp table log_variants as select distinct variant_hash, activities from paths"
    )
    rule = asked.completion
    connection.execute(
        _CASES_SQL,
        {
            "end_activities": list(rule.end_activities),
            "silence_us": None if rule.silence_days is None else rule.silence_days * 86_400_000_000,
            "as_of": base.as_of.replace(tzinfo=None),
            "left_edge": None if rule.left_edge is None else rule.left_edge.replace(tzinfo=None),
        },
    )


def _released_cases(asked: AnalysisParameters, base: Base) -> str:
    cases = f"read_parquet({base.urls('cases')})"
    if asked.calendar == base.parameters.calendar:
        return f"select * from {cases}"
    return f"select * replace ({_CYCLE_TIME_US} as cycle_time_us) from {cases}"


_CYCLE_TIME_US = "working_us(epoch_us(end_ts)) - working_us(epoch_us(start_ts))"

_PATHS_SQL = """
create temp table paths as
select *, sha256('casetrail-variant-1' || array_to_string(
    list_transform(activities, lambda label: strlen(label) || ':' || label), ''
)) as variant_hash
from (
    select global_case_id, min(timestamp) as start_ts, max(timestamp) as end_ts, count(*) as event_count,
           list(activity order by timestamp, tie_order) as activities
    from log_events group by global_case_id
)
"""

_CASES_SQL = f"""
create temp table log_cases as
select * exclude (activities), {_CYCLE_TIME_US} as cycle_time_us,
    case
        when len($end_activities::varchar[]) = 0 and $silence_us::bigint is null then 'completed'
        when start_ts <= $left_edge::timestamp then 'left_cut'
        when list_contains($end_activities::varchar[], activities[-1]) then 'completed'
        when epoch_us($as_of::timestamp) - epoch_us(end_ts) >= $silence_us::bigint then 'completed'
        else 'open'
    end as state
from paths
"""
"""As the dbt model ``cases`` has it; a test compares the two."""


def _select(bench: Workbench, connection: duckdb.DuckDBPyConnection) -> None:
    """Table ``selected`` of the ids of the cases that pass the filters."""
    query = select_cases(bench.parameters.filters)
    connection.execute(f"create temp table selected as {query.sql}", query.parameters)
    selected, all_cases = connection.execute(
        "select (select count(*) from selected), (select count(*) from log_cases)"
    ).fetchall()[0]
    bench.progress(f"{selected:,} of {all_cases:,} cases are selected")
    if not selected:
        raise NothingSelected(
            f"None of the {all_cases:,} cases passes the filters. Widen them: `casetrail analysis show` lists them."
        )


def _make_month(
    bench: Workbench, connection: duckdb.DuckDBPyConnection, base: Base, month: str, fingerprint: str
) -> Iterator[Draft]:
    """The month's ``events`` and ``event_index``; nothing where no selected case has an event."""
    with timed() as spent:
        connection.execute(_month_sql(bench, base, month))
        events, cases = connection.execute(
            "select count(*), count(distinct global_case_id) from month_events"
        ).fetchall()[0]
        if not events:
            return
        bench.progress(f"events {month}: {events:,} of {cases:,} cases")
        top = connection.execute(
            "select activity, count(*) from month_events group by activity order by count(*) desc, activity limit 5"
        ).fetchall()
        source = next(file for file in base.files["events"] if file.month == month)
        draft = bench.draft(
            "events",
            month,
            connection.execute(
                "select * from month_events order by global_case_id, timestamp, tie_order"
            ).to_arrow_reader(65_536),
            rows=events,
            fingerprint=fingerprint,
            code_version=SELECTION_VERSION,
            inputs=[{"dataset": "events", "month": month, "content_sha256": source.content_sha256}],
            seconds=spent(),
        )
    event_contract.validate(draft.path, month)
    audits = [audit("contract", True, f"event contract version {SCHEMA_VERSION}")]
    yield replace(
        draft, audits=audits, stats={"events": events, "cases": cases, "top": [list(t) for t in top]}
    )
    yield bench.draft(
        "event_index",
        month,
        connection.execute(EVENT_INDEX_SQL).to_arrow_reader(65_536),
        rows=cases,
        fingerprint=fingerprint,
        code_version=SELECTION_VERSION,
        inputs=[{"dataset": "events", "month": month, "content_sha256": draft.content_sha256}],
    )


def _month_sql(bench: Workbench, base: Base, month: str) -> str:
    derived = bench.parameters.lifecycle != "all" or bench.parameters.classifier != ("activity",)
    file = next(file for file in base.files["events"] if file.month == month)
    source = (
        f"(select * from log_events where strftime(timestamp, '%Y-%m') = '{month}')"
        if derived
        else f"read_parquet('{file.url}')"
    )
    return f"""
    create or replace temp table month_events as
    select * replace ('{bench.analysis_id}'::uuid as analysis_id)
    from {source} semi join selected using (global_case_id)
    """
