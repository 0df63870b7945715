"""Events: the raw rows of a month in canonical columns, each record once, in a total order, audited.

Also the month's ``event_index``: one row per case with a digest of its events, from which ``case_index`` learns which
home months a change touches.
"""

import sys
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime
from typing import Any

import duckdb

from orchestration.control_plane.staging import StagedFile
from orchestration.identity import case_rule
from orchestration.stages import case_places, event_contract
from orchestration.stages.case_places import CasePlaces, load_places
from orchestration.stages.tree import Draft, WorkingTree
from orchestration.stages.workbench import (
    SCHEMA_VERSION,
    MonthOutcome,
    RawPart,
    Workbench,
    audit,
    digest,
    outcomes,
    source_version,
    timed,
)

EVENTS_VERSION = source_version(sys.modules[__name__], event_contract, case_places, case_rule)

_MAPPED = ("case_id", "activity", "timestamp", "start_timestamp", "resource", "role", "org_unit", "lifecycle")


def stage_events(bench: Workbench, months: Iterable[str]) -> list[MonthOutcome]:
    """Make the events of every month whose raw files, mapping, cases or code changed; carry the others over.

    Raises:
        EventContractBroken: a month's rows do not keep the contract; nothing of that month is staged.
    """
    months = sorted(months)
    staged = bench.tree.files("events")
    with bench.session() as connection:
        _find_losers(connection, bench.raw_parts)
        places = load_places(connection, bench.tree)
        stale = []
        keyed = keyed_sources(bench.raw_parts)
        for month in months:
            parts = sorted((p for p in bench.raw_parts if p.month == month), key=lambda p: p.rank)
            sources = [events_sources(parts), _losers_of(connection, parts)]
            if parts and not _is_current(bench, connection, places, staged.get(month), sources):
                stale.append((month, parts, sources))

        def make(job: tuple[str, list[RawPart], list[Any]]) -> str:
            month, parts, sources = job
            bench.progress(f"events {month}: {sum(p.rows for p in parts):,} raw rows")
            with connection.cursor() as cursor:
                bench.tree.put(_make_month(bench, cursor, month, parts, sources, places))
            return month

        # A month's file is mostly one row group, which DuckDB reads with one thread: so several months at a time.
        with ThreadPoolExecutor(bench.threads) as pool:
            made = list(pool.map(make, stale))
    _note_judged(
        bench.tree, (p.month for p in bench.raw_parts if is_keyed(p) and p.month in months), "keyed", keyed
    )
    _note_judged(bench.tree, months, "places", places.state)
    left = {part.month for part in bench.raw_parts}
    # Months without raw files stay in the tree until the case index has let go of them (``stage_case_index``).
    return [
        outcome if outcome.month in left else MonthOutcome("events", outcome.month, "empty", 0)
        for outcome in outcomes(bench.tree, "events", months, made)
    ]


def _is_current(
    bench: Workbench,
    connection: duckdb.DuckDBPyConnection,
    places: CasePlaces,
    staged: StagedFile | None,
    sources: list[Any],
) -> bool:
    """Whether a staged month is what its sources and the identity of its records say."""
    if staged is None:
        return False
    of_records = staged.stats.get("of_records")
    if staged.stats.get("places") != places.state:
        of_records = places.digest_of(connection, f"read_parquet({_text(bench.tree.url(staged))})")
    return staged.fingerprint == _fingerprint(sources, of_records)


def _fingerprint(sources: list[Any], of_records: str | None) -> str:
    """Of a month of events. A workspace where nothing is joined has the fingerprints that it always had."""
    return digest([*sources, *([of_records] if of_records else [])])


def events_sources(parts: Iterable[RawPart]) -> str:
    """What the events of a month depend on as far as the ledger knows: raw files in upload order, mappings, code."""
    ranked = sorted(parts, key=lambda part: part.rank)
    sources = [[part.arrival_sha256, part.content_sha256, digest(part.mapping)] for part in ranked]
    return digest([EVENTS_VERSION, SCHEMA_VERSION, sources])


def is_keyed(part: RawPart) -> bool:
    """Whether the records of a raw file have a declared key."""
    return bool(part.mapping.get("record_key"))


def keyed_sources(parts: Iterable[RawPart]) -> str:
    """What decides which versions of keyed records count: all raw files that declare a key, of whatever month."""
    ranked = sorted((part for part in parts if is_keyed(part)), key=lambda part: (part.rank, part.month))
    return digest([[p.arrival_sha256, p.month, p.content_sha256, digest(p.mapping)] for p in ranked])


def _note_judged(tree: WorkingTree, months: Iterable[str], beside: str, state: str | None) -> None:
    """Note beside what the months were judged, be they made or carried over: keyed records, or who is who.

    A run that dies before has not judged them, and they stay stale.
    """
    files = tree.files("events")
    judged = {m: {beside: state} for m in months if m in files and files[m].stats.get(beside) != state}
    tree.note("events", judged)


def _find_losers(connection: duckdb.DuckDBPyConnection, parts: Sequence[RawPart]) -> None:
    """Table ``losers``: rows that a newer version of their record (or an equal copy of it) replaces.

    The newest version has the greatest declared order value; without one, the latest upload wins.
    """
    connection.execute(
        "create or replace table losers (arrival_id varchar, month varchar, row_number bigint, kind varchar)"
    )
    keyed = [part for part in parts if is_keyed(part)]
    if not keyed:
        return
    rows = " union all ".join(
        f"""select {_text(part.arrival_id)} as arrival_id, {_text(part.month)} as month, {part.rank} as rank,
                   {_text(part.mapping["system"])} as system, _record_key, _row_number as row_number,
                   _order_key::varchar as order_text, try_cast(_order_key as bigint) as order_number,
                   {_row_content(part)} as content
            from read_parquet({_text(part.url)})"""
        for part in keyed
    )
    connection.execute(
        f"""
        insert into losers
        with versions as ({rows}),
        ranked as (
            select *, first_value(content) over newest as kept,
                   row_number() over newest as place
            from versions
            window newest as (
                partition by system, _record_key
                order by order_number desc nulls last, order_text desc nulls last, rank desc, row_number desc
            )
        )
        select arrival_id, month, row_number, if(content = kept, 'duplicate', 'superseded') from ranked where place > 1
        """
    )


def _row_content(part: RawPart) -> str:
    values = ", ".join(f"coalesce({_name(column)}, chr(1))" for column in sorted(part.columns))
    return f"md5(concat_ws(chr(0), {values}))"


def _losers_of(connection: duckdb.DuckDBPyConnection, parts: Sequence[RawPart]) -> list[Any]:
    if not parts:
        return []
    sha256 = {part.arrival_id: part.arrival_sha256 for part in parts}
    rows = connection.execute(
        "select arrival_id, row_number, kind from losers where month = ? order by all", [parts[0].month]
    ).fetchall()
    return sorted([sha256[arrival_id], row, kind] for arrival_id, row, kind in rows)


def _make_month(
    bench: Workbench,
    connection: duckdb.DuckDBPyConnection,
    month: str,
    parts: Sequence[RawPart],
    sources: list[Any],
    places: CasePlaces,
) -> list[Draft]:
    """The month's ``events`` and ``event_index`` as drafts."""
    with timed() as spent:
        connection.execute(
            f"create or replace temp table month_events as {_events_sql(bench, month, parts, places)}"
        )
        of_records = places.digest_of(connection, "month_events")
        fingerprint = _fingerprint(sources, of_records)
        inputs = [
            {
                "arrival_id": p.arrival_id,
                "object": p.object_key,
                "rows": p.rows,
                "content_sha256": p.content_sha256,
            }
            for p in parts
        ]
        stats = _month_stats(connection, month, parts)
        audits = _audits(bench, connection, month, parts, stats)
        events = bench.draft(
            "events",
            month,
            connection.execute(
                "select * from month_events order by global_case_id, timestamp, tie_order"
            ).to_arrow_reader(65_536),
            rows=stats["events"],
            fingerprint=fingerprint,
            code_version=EVENTS_VERSION,
            inputs=inputs,
            seconds=spent(),
        )
    event_contract.validate(events.path, month)
    audits.append(audit("contract", True, f"event contract version {SCHEMA_VERSION}"))
    identity = {"places": places.state, "of_records": of_records} if places.state else {}
    events = replace(events, audits=audits, stats=stats | identity)
    index = bench.draft(
        "event_index",
        month,
        connection.execute(EVENT_INDEX_SQL).to_arrow_reader(65_536),
        rows=stats["cases"],
        fingerprint=fingerprint,
        code_version=EVENTS_VERSION,
        inputs=[{"dataset": "events", "month": month, "content_sha256": events.content_sha256}],
    )
    return [events, index]


EVENT_INDEX_SQL = """
with digested as (
    select
        global_case_id,
        concat_ws(
            chr(0), activity, epoch_us(timestamp), tie_order, coalesce(resource_id, chr(1)), coalesce(role, chr(1)),
            coalesce(org_unit, chr(1)), coalesce(lifecycle, chr(1)),
            coalesce(epoch_us(start_timestamp)::varchar, chr(1)), attributes
        ) as content
    from month_events
)
select
    global_case_id,
    count(*)::integer as event_count,
    (bit_xor(md5_number(content)) & 18446744073709551615)::ubigint as digest_low,
    (bit_xor(md5_number(content)) >> 64)::ubigint as digest_high
from digested
group by global_case_id
order by global_case_id
"""
# Rows of one case differ in (timestamp, tie_order), so no two of them cancel out under xor.


def _events_sql(bench: Workbench, month: str, parts: Sequence[RawPart], places: CasePlaces) -> str:
    """The month's canonical events, unordered, without the rows that lost to another version of their record."""
    mapped = "\nunion all by name\n".join(_part_sql(part) for part in parts)
    return f"""
    with mapped as ({mapped}),
    kept as (
        select * from mapped anti join losers
        on mapped.arrival_id = losers.arrival_id and mapped.row_number = losers.row_number
    )
    select
        {_text(bench.workspace_id)}::uuid as workspace_id,
        {_text(bench.analysis_id)}::uuid as analysis_id,
        global_case_id,
        system, native_case_id, activity, timestamp, resource_id, role, org_unit,
        {SCHEMA_VERSION}::integer as schema_version,
        {_text(bench.partition_id(month))} as partition_id,
        attributes, start_timestamp, lifecycle,
        (row_number() over (
            partition by global_case_id, timestamp
            order by system, order_number, order_text, upload_rank, upload_row, event_id
        ) - 1)::integer as tie_order,
        event_id,
        coalesce(order_text, printf('%d:%d', upload_rank, upload_row)) as source_sequence,
        arrival_id::uuid as arrival_id
    from ({places.placed("kept")})
    """


def _part_sql(part: RawPart) -> str:
    """One raw file in canonical columns. Without a declared order its place in the uploads orders equal timestamps."""
    ordered = bool(part.mapping.get("order"))
    system = _text(part.mapping["system"])
    if is_keyed(part):
        event_id = f"sha256('casetrail-record-1' || strlen({system}) || ':' || {system} || _record_key)"
    else:
        event_id = f"sha256('casetrail-row-1{part.arrival_sha256}:' || _row_number)"
    return f"""
    select
        {system} as system, _case_id as native_case_id, _activity as activity, _timestamp as timestamp,
        _start_timestamp as start_timestamp, _resource_id as resource_id, _role as role, _org_unit as org_unit,
        _lifecycle as lifecycle, {_attributes(part)} as attributes, {event_id} as event_id,
        {"try_cast(_order_key as bigint)" if ordered else "null::bigint"} as order_number,
        {"_order_key::varchar" if ordered else "null::varchar"} as order_text,
        {"null::bigint" if ordered else f"{part.rank}::bigint"} as upload_rank,
        {"null::bigint" if ordered else "_row_number"} as upload_row,
        {_text(part.arrival_id)} as arrival_id, _row_number as row_number
    from read_parquet({_text(part.url)})
    """


def attribute_columns(columns: Iterable[str], mapping: Mapping[str, Any]) -> list[str]:
    """The columns of a raw file that become attributes of its events: those without a part in the mapping, by name."""
    mapped = {mapping.get(name) for name in _MAPPED}
    return sorted(column for column in columns if column not in mapped)


def _attributes(part: RawPart) -> str:
    """The attributes as JSON text, nulls left out."""
    columns = attribute_columns(part.columns, part.mapping)
    pairs = ", ".join(f"{_text(column)}, {_name(column)}" for column in columns)
    return f"json_merge_patch('{{}}', json_object({pairs}))::varchar" if pairs else "'{}'"


_CONTENT = """
global_case_id, activity, timestamp, coalesce(resource_id, chr(1)) as resource_id,
coalesce(lifecycle, chr(1)) as lifecycle, attributes
"""

_SHARED_SQL = f"""
create or replace temp table shared as
select {_CONTENT} from month_events group by all having min(arrival_id) <> max(arrival_id)
"""

_OVERLAP_SQL = f"""
select arrival_id::varchar, count(*) from (select arrival_id, {_CONTENT} from month_events)
semi join shared using (global_case_id, activity, timestamp, resource_id, lifecycle, attributes)
group by arrival_id order by arrival_id
"""


def _overlap(connection: duckdb.DuckDBPyConnection) -> tuple[int, list[tuple[str, int]]]:
    """How many rows came with more than one upload, and for each upload how many of its rows are such."""
    connection.execute(_SHARED_SQL)
    (shared,) = connection.execute("select count(*) from shared").fetchall()[0]
    return shared, connection.execute(_OVERLAP_SQL).fetchall() if shared else []


def _month_stats(
    connection: duckdb.DuckDBPyConnection, month: str, parts: Sequence[RawPart]
) -> dict[str, Any]:
    """Facts about the month: rows, cases, activities, first and last time, lost records per upload, overlap."""
    uploads = len({part.arrival_id for part in parts})
    rows, cases, activities, first, last, max_tie, whole = connection.execute(
        """
        select count(*), count(distinct global_case_id), count(distinct activity), min(timestamp), max(timestamp),
               max(tie_order), coalesce(bool_and(epoch_us(timestamp) % 1000000 = 0), true)
        from month_events
        """
    ).fetchall()[0]
    lost = connection.execute(
        "select arrival_id, kind, count(*) from losers where month = ? group by all order by all", [month]
    ).fetchall()
    shared, overlap = _overlap(connection) if uploads > 1 else (0, [])
    top = connection.execute(
        "select activity, count(*) from month_events group by activity order by count(*) desc, activity limit 5"
    ).fetchall()
    return {
        "events": rows,
        "cases": cases,
        "activities": activities,
        "first_timestamp": _iso(first),
        "last_timestamp": _iso(last),
        "max_tie_order": max_tie,
        "whole_seconds": whole,
        "lost": [{"arrival_id": a, "kind": k, "rows": n} for a, k, n in lost],
        "equal_rows_in_two_uploads": shared,
        "overlap": [{"arrival_id": a, "rows": n} for a, n in overlap],
        "top": [list(entry) for entry in top],
        "sources": events_sources(parts),
    }


def _audits(
    bench: Workbench,
    connection: duckdb.DuckDBPyConnection,
    month: str,
    parts: Sequence[RawPart],
    stats: dict[str, Any],
) -> list[dict[str, Any]]:
    raw_rows, lost = sum(part.rows for part in parts), sum(entry["rows"] for entry in stats["lost"])
    tied = connection.execute(
        """
        select count(*) from (
            select 1 from month_events group by global_case_id, timestamp, tie_order having count(*) > 1
        )
        """
    ).fetchall()[0][0]
    foreign = connection.execute(
        "select count(*) from month_events where workspace_id != ?::uuid or analysis_id != ?::uuid",
        [bench.workspace_id, bench.analysis_id],
    ).fetchall()[0][0]
    prefix = f"{bench.workspace_id}/"
    strangers = [part.object_key for part in parts if not part.object_key.startswith(prefix)]
    return [
        audit(
            "conservation",
            raw_rows == stats["events"] + lost,
            f"{raw_rows} raw rows = {stats['events']} events + {lost} superseded or duplicate",
        ),
        audit("total_order", tied == 0, f"{tied} places in a case are held by more than one event"),
        audit(
            "isolation",
            not foreign and not strangers,
            f"{foreign} foreign rows, {len(strangers)} foreign files",
        ),
    ]


def _iso(value: datetime | None) -> str | None:
    return None if value is None else value.isoformat() + "Z"


def _text(value: str) -> str:
    """A SQL string literal."""
    return "'" + value.replace("'", "''") + "'"


def _name(value: str) -> str:
    """A SQL identifier."""
    return '"' + value.replace('"', '""') + '"'
