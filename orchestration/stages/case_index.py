"""The case index: each case's home month and the event months that it needs.

A home month's file lists its (case, event month, digest of the case's events in that month); its content hash is
therefore the fingerprint of the month's cases: a late or corrected record changes it for exactly the home months whose
cases it touches.

The files are kept up to date: only the event months that changed are read, and the home months that may hold one of
their cases. An index file's ``inputs`` always name the event months as they are in it, so they tell what changed.
"""

import sys
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import duckdb

from orchestration.control_plane.staging import StagedFile
from orchestration.stages import case_prefixes
from orchestration.stages.case_prefixes import FOOTER_KEY, homes_that_may_hold, packed, prefixes_of
from orchestration.stages.tree import Draft, WorkingTree
from orchestration.stages.workbench import Workbench, digest, source_version

CASE_INDEX_VERSION = source_version(sys.modules[__name__], case_prefixes)

Files = Mapping[str, StagedFile]


def stage_case_index(bench: Workbench) -> list[str]:
    """Bring the case index up to date with the staged events; returns the home months that changed.

    Event months stay stale until this has ended: a run that dies before is found by the next.
    """
    left = bench.event_months()
    sources = {month: file for month, file in bench.tree.files("event_index").items() if month in left}
    staged = bench.tree.files("case_index")
    changed = changed_event_months(sources, staged)
    remade = _remake(bench, changed, sources, staged) if changed else []
    _note_indexed(bench.tree, left)
    return remade


def _remake(bench: Workbench, changed: Collection[str], sources: Files, staged: Files) -> list[str]:
    """Make what the changed event months touch, all at once or not at all; the home months that are others now."""
    with bench.session() as connection:
        touched = _load_touched(connection, bench.tree, changed, sources, staged)
        homes, inputs = _home_months(connection), _inputs(connection, sources)
        remade = [
            h for h, home in homes.items() if h not in staged or staged[h].fingerprint != home.fingerprint
        ]
        bench.tree.put(
            [_draft(bench, connection, month, homes[month], inputs[month]) for month in remade],
            carried=[replace(staged[h], inputs=inputs[h]) for h in homes if h not in remade],
            gone=[("case_index", home) for home in touched if home not in homes],
        )
    return remade


def _note_indexed(tree: WorkingTree, left: Collection[str]) -> None:
    """Note on the event months that the index knows them, and drop those without raw files."""
    events, indexes = tree.files("events"), tree.files("event_index")
    tree.forget("event_index", [month for month in indexes if month not in left])
    tree.forget("events", [month for month in events if month not in left])
    unknown = [m for m, file in events.items() if m in left and not file.stats.get("indexed")]
    tree.note("events", {month: {"indexed": True} for month in unknown})


def changed_event_months(sources: Files, staged: Files) -> set[str]:
    """The event months that are not in the case index as they are now; all, where other code made the index."""
    now = {month: {file.content_sha256} for month, file in sources.items() if file.rows}
    if staged and not _usable(staged):
        return {*sources, *(entry["month"] for file in staged.values() for entry in file.inputs)}
    indexed: dict[str, set[str]] = {}
    for file in staged.values():
        for entry in file.inputs:
            indexed.setdefault(entry["month"], set()).add(entry["content_sha256"])
    return {month for month in now.keys() | indexed.keys() if now.get(month) != indexed.get(month)}


def load_home_cases(connection: duckdb.DuckDBPyConnection, tree: WorkingTree, homes: Collection[str]) -> None:
    """Table ``case_months``: one row per case and event month, for the cases with these home months."""
    staged = tree.files("case_index")
    connection.execute(
        f"create or replace temp table case_months as {_index_rows(tree, [staged[home] for home in homes])}"
    )


def _load_touched(
    connection: duckdb.DuckDBPyConnection,
    tree: WorkingTree,
    changed: Collection[str],
    sources: Files,
    staged: Files,
) -> set[str]:
    """Table ``case_months`` with every home month that a change can touch, whole; returns those that were there."""
    usable = _usable(staged)
    touched = {home for home, file in usable.items() if _names_any(file, changed)}
    connection.execute(
        f"create or replace temp table fresh as {_event_rows(tree, [sources[m] for m in changed if m in sources])}"
    )
    ids = connection.execute("select distinct global_case_id from fresh").to_arrow_table()
    others = {home: tree.url(file) for home, file in usable.items() if home not in touched}
    touched |= homes_that_may_hold(connection, others, prefixes_of(ids))
    kept = _index_rows(tree, [staged[home] for home in touched])
    connection.execute(
        f"""
        create or replace temp table case_months as
        select * exclude (home_month), min(event_month) over (partition by global_case_id) as home_month
        from (
            select * from ({kept}) where event_month not in (select unnest($changed::varchar[]))
            union all by name
            select *, null::varchar as home_month from fresh
        )
        """,
        {"changed": list(changed)},
    )
    # A case that lost its first events moves to a later home month, where nothing else has changed.
    moved = connection.execute("select distinct home_month from case_months").fetchall()
    joined = {home for (home,) in moved if home in usable and home not in touched}
    if joined:
        connection.execute(
            f"insert into case_months by name {_index_rows(tree, [staged[home] for home in joined])}"
        )
    return touched | joined if usable else set(staged)


def _usable(staged: Files) -> Files:
    """The index, if this code made it."""
    return staged if all(file.code_version == CASE_INDEX_VERSION for file in staged.values()) else {}


def _names_any(file: StagedFile, months: Collection[str]) -> bool:
    return any(entry["month"] in months for entry in file.inputs)


def _event_rows(tree: WorkingTree, files: Sequence[StagedFile]) -> str:
    rows = " union all ".join(
        f"select '{file.month}' as event_month, * from read_parquet('{tree.url(file)}')" for file in files
    )
    return rows or f"select * exclude (home_month) from ({_NO_ROWS})"


def _index_rows(tree: WorkingTree, files: Sequence[StagedFile]) -> str:
    urls = ", ".join(f"'{tree.url(file)}'" for file in files)
    return f"select * from read_parquet([{urls}])" if urls else _NO_ROWS


_NO_ROWS = (
    "select null::uuid as global_case_id, null::varchar as home_month, null::varchar as event_month,"
    " null::integer as event_count, null::ubigint as digest_low, null::ubigint as digest_high where false"
)


def _draft(
    bench: Workbench,
    connection: duckdb.DuckDBPyConnection,
    month: str,
    home: "_Home",
    inputs: list[dict[str, Any]],
) -> Draft:
    ids = connection.execute(
        "select distinct global_case_id from case_months where home_month = ?", [month]
    ).to_arrow_table()
    draft = bench.draft(
        "case_index",
        month,
        connection.execute(_HOME_SQL, [month]).to_arrow_reader(65_536),
        rows=home.rows,
        fingerprint=home.fingerprint,
        code_version=CASE_INDEX_VERSION,
        inputs=inputs,
        footer={FOOTER_KEY: packed(prefixes_of(ids))},
    )
    return replace(draft, stats={"cases": home.cases, "events": home.events})


_HOME_SQL = """
select global_case_id, home_month, event_month, event_count, digest_low, digest_high
from case_months where home_month = ? order by global_case_id, event_month
"""


def _inputs(connection: duckdb.DuckDBPyConnection, sources: Files) -> dict[str, list[dict[str, Any]]]:
    """The event months of each home month in ``case_months``, in order, as an index file's ``inputs``."""
    rows = connection.execute(
        "select distinct home_month, event_month from case_months order by all"
    ).fetchall()
    inputs: dict[str, list[dict[str, Any]]] = {}
    for home, month in rows:
        entry = {
            "dataset": "event_index",
            "month": month,
            "content_sha256": sources[month].content_sha256,
        }
        inputs.setdefault(home, []).append(entry)
    return inputs


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
