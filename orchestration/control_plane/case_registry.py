"""The registry of case ids: what each was born with, which are aliases, and who is under which id now.

Not here: who is one person and which id survives (``identity``); this module keeps what it is given, and refuses to
change what an id once meant.
"""

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, NamedTuple, TypeVar

from psycopg.types.json import Jsonb

from orchestration.control_plane.database import Connection, columns, fetch_all, lock_key
from orchestration.control_plane.errors import ControlPlaneError, InvalidInput

Verdict = Literal["allow", "deny", "withdrawn"]
Item = TypeVar("Item")

_AT_A_TIME = 20_000


class CaseIdRow(NamedTuple):
    """A row of ``case_ids`` as far as ids are given by it. ``merged_into`` is None while the id is no alias."""

    global_case_id: str
    system: str
    native_case_id: str
    generation: int
    first_seen: int | None
    merged_into: str | None


@dataclass(frozen=True, slots=True)
class ManualLink:
    """A row of ``manual_links``: what someone says of two records, each (system, native id)."""

    left_system: str
    left_id: str
    right_system: str
    right_id: str
    verdict: Verdict
    reason: str
    created_by: str
    created_at: datetime


@dataclass(frozen=True, slots=True)
class CaseMerge:
    """An id that has become an alias, for ever.

    Attributes:
        merged_into: What it became an alias of. That one may have been merged later itself.
        evidence: The links that lead from the survivor's record to this one's, each left, right, rule, evidence, key.
    """

    global_case_id: str
    merged_into: str
    merged_at: datetime
    evidence: list[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Entity:
    """Who is under an id now: a person or a thing.

    Attributes:
        records: Each (system, native id).
        merges: The ids that are its aliases.
    """

    global_case_id: str
    records: list[tuple[str, str]]
    merges: list[CaseMerge]


class UnknownRecord(ControlPlaneError):
    """No link has ever named the record, or a record of the case."""


class RegistryChanged(ControlPlaneError):
    """An id that was to be merged is an alias already. Nothing was changed."""


def lock_registry(connection: Connection, workspace_id: str) -> None:
    """Let no one else change the workspace's registry until the transaction ends."""
    connection.execute("select pg_advisory_xact_lock(%s)", (lock_key(f"case registry {workspace_id}"),))


def case_ids(connection: Connection, workspace_id: str) -> list[CaseIdRow]:
    """Every id that was ever given."""
    rows = connection.execute(
        f"select {', '.join(CaseIdRow._fields)} from case_ids where workspace_id = %s", (workspace_id,)
    )
    return [CaseIdRow(**row) for row in rows]


def case_members(connection: Connection, workspace_id: str) -> dict[tuple[str, str], str]:
    """The id of each record, (system, native id), that was ever linked."""
    rows = connection.execute(
        "select system, native_case_id, global_case_id from case_members where workspace_id = %s",
        (workspace_id,),
    )
    return {(row["system"], row["native_case_id"]): row["global_case_id"] for row in rows}


def mint(connection: Connection, workspace_id: str, rows: Iterable[CaseIdRow]) -> None:
    """Enter new ids, as they were born."""
    for some in _portions(rows):
        connection.execute(
            """
            insert into case_ids (workspace_id, global_case_id, system, native_case_id, generation, first_seen)
            select %s, *
            from unnest(%s::uuid[], %s::text[], %s::text[], %s::integer[], %s::bigint[])
            """,
            (workspace_id, *(list(column) for column in zip(*(row[:5] for row in some), strict=True))),
        )


def merge(
    connection: Connection, workspace_id: str, merges: Iterable[tuple[str, str, Sequence[Mapping[str, Any]]]]
) -> None:
    """Make ids aliases for ever: (merged, survivor, evidence) for each.

    Raises:
        RegistryChanged: one of them is an alias already, or unknown.
    """
    for some in _portions(merges):
        merged, survivors, evidence = zip(*some, strict=True)
        changed = connection.execute(
            """
            update case_ids set merged_into = given.survivor, evidence = given.evidence, merged_at = now()
            from unnest(%s::uuid[], %s::uuid[], %s::jsonb[]) as given (merged, survivor, evidence)
            where workspace_id = %s and global_case_id = given.merged and merged_into is null
            """,
            (list(merged), list(survivors), [Jsonb(list(path)) for path in evidence], workspace_id),
        ).rowcount
        if changed != len(some):
            raise RegistryChanged(
                f"{len(some) - changed} of {len(some)} case ids that were to be merged are aliases already or "
                "unknown: stitch again, starting from the registry as it is now."
            )


def place(connection: Connection, workspace_id: str, members: Iterable[tuple[str, str, str]]) -> None:
    """Put records under ids: (system, native id, global_case_id) for each."""
    for some in _portions(members):
        connection.execute(
            """
            insert into case_members (workspace_id, system, native_case_id, global_case_id)
            select %s, * from unnest(%s::text[], %s::text[], %s::uuid[])
            on conflict (workspace_id, system, native_case_id)
            do update set global_case_id = excluded.global_case_id
            """,
            (workspace_id, *(list(column) for column in zip(*some, strict=True))),
        )


def merges_from(connection: Connection, workspace_id: str, ids: Iterable[str]) -> dict[str, list[CaseMerge]]:
    """By alias the merges from it to the id that it stands for now, in that order. Only aliases are in the answer."""
    rows = connection.execute(
        f"""
        with recursive followed as (
            select global_case_id as asked, 1 as step, case_ids.* from case_ids
            where workspace_id = %(workspace_id)s and global_case_id = any(%(ids)s::uuid[])
            union all
            select asked, step + 1, case_ids.* from case_ids
            join followed on case_ids.global_case_id = followed.merged_into
            where case_ids.workspace_id = %(workspace_id)s
        )
        select asked, {columns(CaseMerge)} from followed where merged_into is not null order by asked, step
        """,
        {"workspace_id": workspace_id, "ids": list(ids)},
    )
    found: dict[str, list[CaseMerge]] = {}
    for row in rows:
        found.setdefault(row.pop("asked"), []).append(CaseMerge(**row))
    return found


def say(
    connection: Connection,
    workspace_id: str,
    pair: tuple[tuple[str, str], tuple[str, str]],
    verdict: Verdict,
    reason: str,
) -> None:
    """Note what the acting user says of two records; the last word on a pair counts.

    Raises:
        InvalidInput: the two are one record, or there is no reason.
        NotAllowed: the acting user may not.
    """
    left, right = sorted(pair)
    if left == right:
        raise InvalidInput(f"{' '.join(left)} is one record: name two.")
    if not reason.strip():
        raise InvalidInput("Give a reason: others will ask why.")
    connection.execute(
        """
        insert into manual_links
        (workspace_id, left_system, left_id, right_system, right_id, verdict, reason, created_by)
        values (%s, %s, %s, %s, %s, %s, %s, current_user_id())
        """,
        (workspace_id, *left, *right, verdict, reason.strip()),
    )


def manual_links(connection: Connection, workspace_id: str) -> list[ManualLink]:
    """The last word on each pair, save those withdrawn, by pair."""
    return fetch_all(
        connection,
        ManualLink,
        f"""
        select {columns(ManualLink)} from (
            select distinct on (left_system, left_id, right_system, right_id) *
            from manual_links where workspace_id = %s
            order by left_system, left_id, right_system, right_id, id desc
        ) as last_words
        where verdict <> 'withdrawn' order by left_system, left_id, right_system, right_id
        """,
        (workspace_id,),
    )


def case_of(connection: Connection, workspace_id: str, system: str, native_case_id: str) -> str:
    """The id that a record is under now.

    Raises:
        UnknownRecord: no link has ever named it: its events are a case of their own.
    """
    row = connection.execute(
        """
        select global_case_id from case_members
        where workspace_id = %s and system = %s and native_case_id = %s
        """,
        (workspace_id, system, native_case_id),
    ).fetchone()
    if row is None:
        raise UnknownRecord(
            f"No link names {system}:{native_case_id}: its events are a case of their own. "
            "Is the system named as its events name it?"
        )
    return str(row["global_case_id"])


def entity_of(connection: Connection, workspace_id: str, global_case_id: str) -> Entity:
    """The entity that is under an id.

    Args:
        connection: As somebody who may read the workspace.
        workspace_id: The workspace.
        global_case_id: No alias: follow ``merges_from`` first.

    Raises:
        UnknownRecord: no link has ever named a record of it.
    """
    records = connection.execute(
        """
        select system, native_case_id from case_members where workspace_id = %s and global_case_id = %s
        order by system, native_case_id
        """,
        (workspace_id, global_case_id),
    ).fetchall()
    if not records:
        raise UnknownRecord(
            f"No link names a record of case {global_case_id}: if this workspace has the case, it is of one record."
        )
    merges = fetch_all(
        connection,
        CaseMerge,
        f"""
        with recursive merged as (
            select case_ids.* from case_ids
            where workspace_id = %(workspace_id)s and merged_into = %(survivor)s
            union all
            select case_ids.* from case_ids join merged on case_ids.merged_into = merged.global_case_id
            where case_ids.workspace_id = %(workspace_id)s
        )
        select {columns(CaseMerge)} from merged order by merged_at, global_case_id
        """,
        {"workspace_id": workspace_id, "survivor": global_case_id},
    )
    return Entity(global_case_id, [(row["system"], row["native_case_id"]) for row in records], merges)


def refused_joins(connection: Connection, workspace_id: str) -> list[dict[str, Any]]:
    """What the last stitching did not join, the largest first."""
    return connection.execute(
        """
        select reason, tier, rule, key, persons, records, examples, found_at from refused_joins
        where workspace_id = %s order by records desc, reason, rule, key
        """,
        (workspace_id,),
    ).fetchall()


def words_said(connection: Connection, workspace_ids: Sequence[str]) -> dict[str, int]:
    """By workspace how often people have said, or taken back, something of two records."""
    rows = connection.execute(
        """
        select workspace_id::text, count(*) as words from manual_links where workspace_id = any(%s::uuid[])
        group by workspace_id
        """,
        (list(workspace_ids),),
    )
    return {row["workspace_id"]: row["words"] for row in rows}


def report_refused(connection: Connection, workspace_id: str, refused: Iterable[Mapping[str, Any]]) -> None:
    """Replace what the last stitching did not join: reason, tier, rule, key, persons, records, examples of each."""
    connection.execute("delete from refused_joins where workspace_id = %s", (workspace_id,))
    with connection.cursor() as cursor:
        cursor.executemany(
            """
            insert into refused_joins (workspace_id, reason, tier, rule, key, persons, records, examples)
            values (%(workspace_id)s, %(reason)s, %(tier)s, %(rule)s, %(key)s, %(persons)s, %(records)s, %(examples)s)
            """,
            [{**row, "workspace_id": workspace_id, "examples": Jsonb(row["examples"])} for row in refused],
        )


def _portions(rows: Iterable[Item]) -> Iterator[list[Item]]:
    remaining = iter(rows)
    while some := list(itertools.islice(remaining, _AT_A_TIME)):
        yield some
