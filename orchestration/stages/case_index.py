"""The case index: each case's home month and the event months that it needs.

Made from all ``event_index`` files of the working tree. A home month's file lists its (case, event month, digest of the
case's events in that month); its content hash is therefore the fingerprint of the month's cases: a late or corrected
record changes it for exactly the home months whose cases it touches.
"""

import sys
from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Any

import duckdb

from orchestration.control_plane.staging import StagedFile
from orchestration.stages.tree import WorkingTree
from orchestration.stages.workbench import Workbench, digest, source_version

CASE_INDEX_VERSION = source_version(sys.modules[__name__])


def stage_case_index(bench: Workbench) -> list[str]:
    """Bring the case index up to date with the staged events; returns the home months that changed.

    Event months stay stale until this has ended: a run that dies before is found by the next.
    """
    left = {part.month for part in bench.raw_parts}
    sources = {month: file for month, file in bench.tree.files("event_index").items() if month in left}
    staged = bench.tree.files("case_index")
    with bench.session() as connection:
        load_case_months(connection, bench.tree, left)
        homes = _home_months(connection)
        changed = [
            h for h, home in homes.items() if h not in staged or staged[h].fingerprint != home.fingerprint
        ]
        drafts = []
        for month in changed:
            # Before the reader: another statement on the connection would end its stream.
            inputs = _inputs(connection, month, sources)
            draft = bench.draft(
                "case_index",
                month,
                connection.execute(_HOME_SQL, [month]).to_arrow_reader(65_536),
                rows=homes[month].rows,
                fingerprint=homes[month].fingerprint,
                code_version=CASE_INDEX_VERSION,
                inputs=inputs,
            )
            stats = {"cases": homes[month].cases, "events": homes[month].events}
            drafts.append(replace(draft, stats=stats))
        bench.tree.put(drafts)
    bench.tree.forget("case_index", [home for home in staged if home not in homes])
    _note_indexed(bench.tree, left)
    return changed


def _note_indexed(tree: WorkingTree, left: Collection[str]) -> None:
    """Note on the event months that the index knows them, and drop those without raw files."""
    events, indexes = tree.files("events"), tree.files("event_index")
    tree.forget("event_index", [month for month in indexes if month not in left])
    tree.forget("events", [month for month in events if month not in left])
    unknown = [m for m, file in events.items() if m in left and not file.stats.get("indexed")]
    tree.note("events", {month: {"indexed": True} for month in unknown})


_HOME_SQL = """
select global_case_id, home_month, event_month, event_count, digest_low, digest_high
from case_months where home_month = ? order by global_case_id, event_month
"""


def _inputs(
    connection: duckdb.DuckDBPyConnection, home: str, sources: dict[str, StagedFile]
) -> list[dict[str, Any]]:
    rows = connection.execute(
        "select distinct event_month from case_months where home_month = ? order by 1", [home]
    ).fetchall()
    return [
        {"dataset": "event_index", "month": month, "content_sha256": sources[month].content_sha256}
        for (month,) in rows
    ]


def load_case_months(
    connection: duckdb.DuckDBPyConnection, tree: WorkingTree, left: Collection[str] | None = None
) -> None:
    """Table ``case_months``: one row per case and event month, with the case's home month (that of its first event).

    Only the event months that are ``left``, if given.
    """
    sources = {m: file for m, file in tree.files("event_index").items() if left is None or m in left}
    rows = " union all ".join(
        f"select '{month}' as event_month, * from read_parquet('{tree.url(file)}')"
        for month, file in sources.items()
    )
    empty = (
        "select null::varchar as event_month, null::uuid as global_case_id, null::integer as event_count,"
        " null::ubigint as digest_low, null::ubigint as digest_high where false"
    )
    connection.execute(
        f"""
        create or replace temp table case_months as
        select *, min(event_month) over (partition by global_case_id) as home_month from ({rows or empty})
        """
    )


@dataclass(frozen=True)
class _Home:
    fingerprint: str
    rows: int
    cases: int
    events: int


def _home_months(connection: duckdb.DuckDBPyConnection) -> dict[str, _Home]:
    """Each home month with the digest of its (case, event month, digest) rows: distinct rows, so xor cannot cancel."""
    found = connection.execute(
        """
        with digested as (
            select home_month, global_case_id, event_count,
                   concat_ws(',', global_case_id, event_month, event_count, digest_low, digest_high) as content
            from case_months
        )
        select home_month, bit_xor(md5_number_lower(content)), bit_xor(md5_number_upper(content)),
               count(*), count(distinct global_case_id), sum(event_count)::bigint
        from digested group by home_month order by home_month
        """
    ).fetchall()
    return {
        home: _Home(digest([CASE_INDEX_VERSION, rows, low, high]), rows, cases, events)
        for home, low, high, rows, cases, events in found
    }
