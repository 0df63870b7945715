"""Case ids that keep their meaning: every record is born with an id of its own, and ids merge.

The id that a record is born with is the one that its events have as long as nothing links it, so a workspace without
links needs no registry. Where records become one person, the oldest of their ids survives and the others are its
aliases for ever. Where a person falls apart, the id stays with the record that it was born with, and the rest gets a
new one: an alias never comes back to life.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import NamedTuple

from orchestration.identity.evidence import Path, shortest_paths
from orchestration.identity.stitching import Stitching

Record = tuple[str, str]
"""(system, native id)."""


class CaseId(NamedTuple):
    """A ``global_case_id`` and what it means.

    Attributes:
        global_case_id: UUID as text.
        record: The record that it was born with. It means the person of that record.
        generation: 0 for the id that the record has by itself, more for one given after a split.
        first_seen: The rank of the arrival that brought the record; None if only a link has named it.
        merged_into: The id that it has been an alias of since they became one.
    """

    global_case_id: str
    record: Record
    generation: int = 0
    first_seen: int | None = None
    merged_into: str | None = None


@dataclass(frozen=True)
class Registry:
    """All ids that were ever given, and the id that each record has now.

    Attributes:
        ids: By ``global_case_id``.
        members: The id of each record that was ever linked.
    """

    ids: Mapping[str, CaseId] = field(default_factory=dict)
    members: Mapping[Record, str] = field(default_factory=dict)


class Merge(NamedTuple):
    """``merged`` has become an alias of ``survivor``."""

    merged: str
    survivor: str


class Move(NamedTuple):
    """The events of a record go under another id than before."""

    record: Record
    before: str
    after: str


@dataclass(frozen=True)
class Assignment:
    """A new state of the registry, and what is new in it.

    Attributes:
        registry: The new state.
        minted: Ids that are in the registry for the first time, as they were born.
        merges: Ids that have become aliases.
        moves: Records whose id is another one now; a record that is new to the registry had the id of its own.
    """

    registry: Registry
    minted: tuple[CaseId, ...]
    merges: tuple[Merge, ...]
    moves: tuple[Move, ...]


def born_id(system: str, native_case_id: str, generation: int = 0) -> str:
    """The id that a record is born with; later generations are those given after splits.

    Generation 0 is what the events of an unlinked case carry: a UUID made from the sha256 of the length-prefixed
    system and native case id.
    """
    parts = (system.encode(), native_case_id.encode())
    content = b"casetrail-case-1" + b"".join(b"%d:%b" % (len(part), part) for part in parts)
    if generation:
        content += b"#%d" % generation
    h = sha256(content).hexdigest()
    return f"{h[:8]}-{h[8:12]}-8{h[13:16]}-8{h[17:20]}-{h[20:32]}"


def assign(
    registry: Registry, stitching: Stitching, first_seen: Mapping[Record, int] | None = None
) -> Assignment:
    """Give each person its id.

    Args:
        registry: The state after the last assignment; empty at first. A rebuild starts from the kept one.
        stitching: All persons as all links give them now.
        first_seen: The rank of the arrival that brought each record, as far as known.
    """
    records, seen = stitching.records(), first_seen or {}
    newborn = {
        record: CaseId(born_id(*record), record, first_seen=seen.get(record))
        for record in records
        if record not in registry.members
    }
    ids = {**registry.ids, **{case_id.global_case_id: case_id for case_id in newborn.values()}}
    living = {case_id.record: case_id for case_id in ids.values() if case_id.merged_into is None}
    members, minted = dict(registry.members), list(newborn.values())
    merges, moves = list[Merge](), list[Move]()
    for person in _persons(registry, stitching, records):
        candidates = [living[record] for record in person if record in living]
        if not candidates:
            candidates = [_after_split(ids, person)]
            minted += candidates
        survivor, *others = sorted(candidates, key=_age) if len(candidates) > 1 else candidates
        ids[survivor.global_case_id] = survivor
        for other in others:
            ids[other.global_case_id] = other._replace(merged_into=survivor.global_case_id)
            merges.append(Merge(other.global_case_id, survivor.global_case_id))
        for record in person:
            before = newborn[record].global_case_id if record in newborn else members[record]
            if before != survivor.global_case_id:
                moves.append(Move(record, before, survivor.global_case_id))
            members[record] = survivor.global_case_id
    return Assignment(Registry(ids, members), tuple(minted), tuple(merges), tuple(moves))


def evidence_of(
    merges: Iterable[Merge], registry: Registry, stitching: Stitching
) -> Iterator[tuple[Merge, Path]]:
    """Each merge that ``assign`` made, with the path of links from the survivor's record to that of the merged id."""
    place = {record: number for number, record in enumerate(stitching.records())}
    by_survivor: dict[str, list[Merge]] = {}
    for merge in merges:
        by_survivor.setdefault(merge.survivor, []).append(merge)
    wanted = (
        (place[registry.ids[survivor].record], [place[registry.ids[merge.merged].record] for merge in merged])
        for survivor, merged in by_survivor.items()
    )
    for merged, paths in zip(by_survivor.values(), shortest_paths(stitching, wanted), strict=True):
        yield from zip(merged, paths, strict=True)


def _age(case_id: CaseId) -> tuple[int, bool, int, Record]:
    """Sorts the oldest first."""
    return case_id.generation, case_id.first_seen is None, case_id.first_seen or 0, case_id.record


def _after_split(ids: Mapping[str, CaseId], person: Sequence[Record]) -> CaseId:
    """A new id for records that left the person whose id they had, born with the oldest of them."""
    oldest = min((ids[born_id(*record)] for record in person), key=_age)
    generation = 1
    while (new := born_id(*oldest.record, generation)) in ids:
        generation += 1
    return CaseId(new, oldest.record, generation, oldest.first_seen)


def _persons(registry: Registry, stitching: Stitching, records: Sequence[Record]) -> Iterator[list[Record]]:
    """The records of each person; one whose links have all gone is alone again."""
    groups: dict[int, list[Record]] = {}
    for person, record in zip(stitching.person.tolist(), records, strict=True):
        groups.setdefault(person, []).append(record)
    yield from groups.values()
    linked = set(records) if registry.members else set()
    yield from ([record] for record in registry.members if record not in linked)
