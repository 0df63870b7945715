"""The case index: each case's home month and the event months that it needs.

Made from all ``event_index`` files of the working tree. A home month's file lists its (case, event month, digest of the
case's events in that month); its content hash is therefore the fingerprint of the month's cases: a late or corrected
record changes it for exactly the home months whose cases it touches.
"""

import sys
from dataclasses import dataclass, replace
from typing import Any

import duckdb

from orchestration.control_plane.staging import StagedFile
from orchestration.stages.tree import WorkingTree
from orchestration.stages.workbench import Workbench, digest, source_version

CASE_INDEX_VERSION = source_version(sys.modules[__name__])


def stage_case_index(bench: Workbench) -> list[str]:
    """Bring the case index up to date with the staged events; returns the home months that changed."""
    sources = bench.tree.files("event_index")
    staged = bench.tree.files("case_index")
    with bench.session() as connection:
        load_case_months(connection, bench.tree)
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
    return changed


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


def load_case_months(connection: duckdb.DuckDBPyConnection, tree: WorkingTree) -> None:
    """Table ``case_months``: one row per case and event month, with the case's home month (that of its first event)."""
    sources = tree.files("event_index")
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
