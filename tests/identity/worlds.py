"""Made-up links, and the plainest code that says who is one person."""

import random
from collections.abc import Iterable, Iterator, Mapping, Sequence

import pyarrow as pa

from orchestration.identity import KEYS, LINKS, Caps

Record = tuple[str, str]
Link = tuple[Record, Record, str]
Key = tuple[Record, str]


def links_table(links: Iterable[Link]) -> pa.Table:
    rows = [
        dict(zip(LINKS.names, (*left, *right, strength, "id", f"{left[1]}~{right[1]}"), strict=True))
        for left, right, strength in links
    ]
    return pa.Table.from_pylist(rows, LINKS)


def keys_table(keys: Iterable[Key]) -> pa.Table:
    rows = [dict(zip(KEYS.names, (*record, "email", key, record[1]), strict=True)) for record, key in keys]
    return pa.Table.from_pylist(rows, KEYS)


def random_world(seed: int) -> tuple[list[Link], list[Key]]:
    """Some 40 records of three systems: strong links, keys of which some are shared by many, and a few denials."""
    chance = random.Random(seed)
    records = [(chance.choice(("crm", "mail", "shop")), str(number)) for number in range(40)]

    def pair(strength: str) -> Link:
        left, right = chance.sample(records, 2)
        return left, right, strength

    links = [pair("strong") for _ in range(chance.randint(5, 22))]
    links += [pair("deny") for _ in range(chance.randint(0, 3))]
    keys = [
        (chance.choice(records), f"key {min(chance.randrange(14), 9)}") for _ in range(chance.randint(5, 25))
    ]
    return links, keys


def arrivals(
    links: list[Link], keys: list[Key], chance: random.Random
) -> Iterator[tuple[list[Link], list[Key]]]:
    """The links in a random order and random portions: all that is known after each."""
    everything = [(link, None) for link in links] + [(None, key) for key in keys]
    chance.shuffle(everything)
    cuts = {chance.randrange(1, len(everything)) for _ in range(chance.randint(0, 8))} | {len(everything)}
    for cut in sorted(cuts):
        known = everything[:cut]
        yield [link for link, _ in known if link], [key for _, key in known if key]


def people(links: Sequence[Link], keys: Sequence[Key], caps: Caps) -> set[frozenset[Record]]:
    """The persons, by rewriting sets until nothing changes."""
    records = {record for left, right, _ in links for record in (left, right)} | {
        record for record, _ in keys
    }
    denied = {frozenset((left, right)) for left, right, strength in links if strength == "deny"}

    def joined(persons: set[frozenset[Record]], groups: Iterable[Iterable[Record]]) -> set[frozenset[Record]]:
        current = set(persons)
        for group in groups:
            touched = {person for person in current if person & set(group)}
            current = (current - touched) | {frozenset().union(*touched)}
        kept: set[frozenset[Record]] = set()
        for person in current:
            parts = {part for part in persons if part <= person}
            torn = any(pair <= person for pair in denied)
            kept |= parts if torn or (len(person) > caps.records_per_person and len(parts) > 1) else {person}
        return kept

    alone = {frozenset((record,)) for record in records}
    said = joined(alone, [(left, right) for left, right, strength in links if strength == "allow"])
    strong = joined(
        said,
        [
            (left, right)
            for left, right, s in links
            if s == "strong" and frozenset((left, right)) not in denied
        ],
    )
    sharing: dict[str, set[Record]] = {}
    for record, key in keys:
        sharing.setdefault(key, set()).add(record)
    usable = [
        group
        for group in sharing.values()
        if sum(1 for person in strong if person & group) <= caps.persons_per_key
    ]
    return joined(strong, usable)


def partition(members: Mapping[Record, str]) -> set[frozenset[Record]]:
    """Who is one person, without the names."""
    persons: dict[str, set[Record]] = {}
    for record, case in members.items():
        persons.setdefault(case, set()).add(record)
    return {frozenset(person) for person in persons.values()}
