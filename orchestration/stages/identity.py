"""Identity: who is who in a workspace, from what its pulled records and its people say, as files for the events stage.

The registry in PostgreSQL keeps what an id means for ever; what is staged here is its state as of a refresh, so that a
release names exactly what its events were made by, and a replay needs no registry.
"""

import sys
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import duckdb
import pyarrow as pa

from orchestration.control_plane.staging import StagedFile
from orchestration.identity import (
    CASE_OBJECTS,
    Assignment,
    born_id,
    case_rule,
    registry,
    stitching,
)
from orchestration.stages import link_statements
from orchestration.stages.case_places import MEMBERS, OBJECTS
from orchestration.stages.link_statements import Statements, read_statements
from orchestration.stages.tree import WHOLE_ANALYSIS
from orchestration.stages.workbench import Workbench, digest, source_version, timed

IDENTITY_VERSION = source_version(sys.modules[__name__], link_statements, case_rule, registry, stitching)

CASE_MEMBERS = pa.schema([("system", pa.string()), ("native_case_id", pa.string()), ("entity_id", pa.uuid())])
"""The entity (a person or a thing) of each record that has another id than the one that it was born with."""


def identity_fingerprint(speakers: Sequence[Any], words: int) -> str | None:
    """What the identity of a workspace depends on; None where nothing says anything.

    Args:
        speakers: For each connector that says who is who: its id, what its streams say, and its newest pull that did.
        words: How often people have said something of two records.
    """
    return digest([IDENTITY_VERSION, speakers, words]) if speakers or words else None


def is_identity_stale(staged: StagedFile | None, wanted: str | None) -> bool:
    """Whether the staged members are not those of ``wanted``. When nothing speaks any more, what was joined stays."""
    return wanted is not None and (staged is None or staged.fingerprint != wanted)


def stage_identity(bench: Workbench) -> bool:
    """Bring the staged identity up to date; whether it was made anew.

    Raises:
        ContradictingLinks: people have said that two records are one person and that they are not.
    """
    sources, staged = bench.identity, bench.tree.files(MEMBERS).get(WHOLE_ANALYSIS)
    if sources is None or not is_identity_stale(staged, sources.fingerprint):
        return False
    parts = sources.parts()
    bench.progress(f"identity: {len(parts)} originals say who is who")
    with timed() as spent, bench.session() as connection:
        said = read_statements(connection, parts)
        found = sources.stitch(said.links, said.keys, said.first_seen)
        members = _members(found)
        objects = _objects(connection, said, found)
        seconds = spent()
    stats = {
        "links": said.links.num_rows,
        "keys": said.keys.num_rows,
        "joined_records": members.num_rows,
        "objects": said.objects.num_rows,
    }
    drafts = [
        bench.draft(
            dataset,
            WHOLE_ANALYSIS,
            table.to_reader(),
            rows=table.num_rows,
            fingerprint=sources.fingerprint,
            code_version=IDENTITY_VERSION,
            seconds=spent_on,
        )
        for dataset, table, spent_on in ((MEMBERS, members, seconds), (OBJECTS, objects, 0.0))
    ]
    bench.tree.put([replace(drafts[0], stats=stats), drafts[1]])
    return True


def _members(found: Assignment) -> pa.Table:
    """``CASE_MEMBERS``, by system and native id."""
    others = sorted(
        (system, native_id, entity)
        for (system, native_id), entity in found.registry.members.items()
        if entity != born_id(system, native_id)
    )
    systems, native_ids, entities = zip(*others, strict=True) if others else ((), (), ())
    return pa.table(
        [pa.array(systems, pa.string()), pa.array(native_ids, pa.string()), _uuids(entities)], CASE_MEMBERS
    )


def _objects(connection: duckdb.DuckDBPyConnection, said: Statements, found: Assignment) -> pa.Table:
    """``CASE_OBJECTS``: who belongs to which object, by entity. An entity that is an object itself is no person."""

    def entities(table: pa.Table, name: str) -> pa.Array:
        records = zip(table["system"].to_pylist(), table[name].to_pylist(), strict=True)
        return pa.array([found.registry.members.get(r) or born_id(*r) for r in records], pa.string())

    # As columns, not by joins: nearly all records are of one system, and DuckDB 1.5.5 would join by that first.
    objects = said.objects.append_column("case_id", entities(said.objects, "native_id"))
    related = pa.table(
        {
            "entity_id": entities(said.persons, "person_id"),
            "case_id": entities(said.persons, "object_id"),
        }
    )
    connection.register("said_objects", objects)
    connection.register("said_related", related)
    return connection.execute(_OBJECTS).to_arrow_table().cast(CASE_OBJECTS)


_OBJECTS = """
with times as (
    select case_id, min(opened_at) as opened_at,
           if(bool_or(closed_at is null), null, max(closed_at)) as closed_at,
           max(before_days) as before_days, max(after_days) as after_days
    from said_objects group by case_id
)
select entity_id::uuid as entity_id, case_id::uuid as case_id, opened_at, closed_at,
       opened_at - to_days(before_days) as since, closed_at + to_days(after_days) as until
from (select distinct entity_id, case_id from said_related) join times using (case_id)
where entity_id not in (select case_id from times)
order by entity_id, case_id
"""


def _uuids(texts: Sequence[str]) -> pa.Array:
    storage = pa.array([bytes.fromhex(text.replace("-", "")) for text in texts], pa.binary(16))
    return pa.ExtensionArray.from_storage(pa.uuid(), storage)
