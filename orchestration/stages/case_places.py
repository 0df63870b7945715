"""Where events go: the case of each event by the staged identity, and what of it the events of a month depend on.

The staged identity is two files for the whole analysis: ``case_members`` (the entity of each record that is joined to
others, a person or a thing) and ``case_objects`` (in which time a person's events go to which object). Without them
each record's events are a case of its own, by the id that the record is born with.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import duckdb

from orchestration.control_plane.staging import StagedFile
from orchestration.identity import picked_cases
from orchestration.stages.tree import WHOLE_ANALYSIS, WorkingTree
from orchestration.stages.workbench import digest

MEMBERS, OBJECTS = "case_members", "case_objects"
IDENTITY_DATASETS = (MEMBERS, OBJECTS)


def places_state(files: Callable[[str], Mapping[str, StagedFile]]) -> str | None:
    """A digest of the staged identity; None where there is none. ``files`` gives those of a dataset by month."""
    staged = [files(dataset).get(WHOLE_ANALYSIS) for dataset in IDENTITY_DATASETS]
    contents = [file.content_sha256 for file in staged if file is not None]
    return digest(contents) if contents else None


def with_born_ids(records: str) -> str:
    """SQL of a relation with ``born_id``, the id that each record is born with: that of ``identity.born_id``."""
    return f"""
    select * exclude (h), cast(h[1:12] || '8' || h[14:16] || '8' || h[18:32] as uuid) as born_id
    from (
        select *, sha256(
            'casetrail-case-1' || strlen(system) || ':' || system || strlen(native_case_id) || ':' || native_case_id
        ) as h
        from {records}
    )
    """


@dataclass(frozen=True)
class CasePlaces:
    """The staged identity, loaded into a session as the tables ``case_members`` and ``case_objects``."""

    state: str | None

    def placed(self, events: str) -> str:
        """SQL of a relation of events with the ``global_case_id`` of each.

        Args:
            events: A relation with system, native_case_id, timestamp, arrival_id and row_number.
        """
        if self.state is None:
            return f"select * rename (born_id as global_case_id) from ({with_born_ids(events)})"
        return f"""
        with entities as (
            select born.*, coalesce(member.entity_id, born_id) as entity_id
            from ({with_born_ids(events)}) as born left join {MEMBERS} as member using (system, native_case_id)
        ),
        picked as ({picked_cases("entities", OBJECTS, "arrival_id, row_number")})
        select entities.* exclude (born_id, entity_id), coalesce(picked.case_id, entity_id) as global_case_id
        from entities left join picked using (arrival_id, row_number)
        """

    def digest_of(self, connection: duckdb.DuckDBPyConnection, events: str) -> str | None:
        """A digest of all that the identity says of the records of some events; None where it says nothing.

        Args:
            connection: With the identity loaded.
            events: A relation with system and native_case_id.
        """
        if self.state is None:
            return None
        count, *bits = connection.execute(_DIGEST.format(events=events)).fetchall()[0]
        return digest([count, *bits]) if count else None


def load_places(connection: duckdb.DuckDBPyConnection, tree: WorkingTree) -> CasePlaces:
    """Load the staged identity into a session."""
    state = places_state(tree.files)
    if state is not None:
        for dataset in IDENTITY_DATASETS:
            url = tree.url(tree.files(dataset)[WHOLE_ANALYSIS])
            connection.execute(f"create or replace table {dataset} as from read_parquet('{url}')")
    return CasePlaces(state)


_DIGEST = f"""
with records as ({with_born_ids("(select distinct system, native_case_id from {events})")}),
times as (
    select entity_id, string_agg(concat_ws(',', case_id, opened_at, closed_at, since, until), ';' order by case_id)
           as objects
    from {OBJECTS} group by entity_id
),
told as (
    select concat_ws(
        chr(0), system, native_case_id, coalesce(member.entity_id, born_id), coalesce(objects, '')
    ) as content
    from records left join {MEMBERS} as member using (system, native_case_id)
    left join times on times.entity_id = coalesce(member.entity_id, born_id)
    where member.entity_id is not null or objects is not null
)
select count(*), bit_xor(md5_number_lower(content)), bit_xor(md5_number_upper(content)) from told
"""
