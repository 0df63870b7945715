"""Ids keep their meaning, whatever the order in which links come."""

import random
from itertools import pairwise

import pytest

from orchestration.identity import (
    KEYS,
    LINKS,
    Assignment,
    Caps,
    Merge,
    Move,
    Registry,
    Stitching,
    assign,
    born_id,
    evidence_of,
    stitch,
)
from tests.identity.worlds import (
    Key,
    Link,
    Record,
    arrivals,
    keys_table,
    links_table,
    partition,
    people,
    random_world,
)

A, B, C = ("crm", "a"), ("mail", "b"), ("shop", "c")
ID_A, ID_B, ID_C = (born_id(*record) for record in (A, B, C))
CAPS = Caps(persons_per_key=3, records_per_person=6)


def assigned(
    registry: Registry,
    links: list[Link],
    keys: list[Key] | None = None,
    seen: dict[Record, int] | None = None,
) -> Assignment:
    return assign(registry, stitch(links_table(links), keys_table(keys or []), CAPS), seen)


def resolved(registry: Registry, name: str) -> str:
    """The id that this one stands for now."""
    survivor = registry.ids[name].merged_into
    return name if survivor is None else resolved(registry, survivor)


def test_the_oldest_id_survives_and_the_other_is_its_alias() -> None:
    found = assigned(Registry(), [(A, B, "strong")], seen={A: 9, B: 4})
    assert found.registry.members == {A: ID_B, B: ID_B}
    assert found.merges == (Merge(ID_A, ID_B),)
    assert found.moves == (Move(A, ID_A, ID_B),)
    assert resolved(found.registry, ID_A) == ID_B


def test_a_record_that_only_a_link_names_is_the_youngest() -> None:
    assert assigned(Registry(), [(A, B, "strong")], seen={B: 4}).registry.members[A] == ID_B


def test_aliases_of_aliases_are_resolved() -> None:
    first = assigned(Registry(), [(B, C, "strong")], seen={A: 1, B: 2, C: 3}).registry
    second = assigned(first, [(B, C, "strong"), (A, B, "strong")], seen={A: 1, B: 2, C: 3}).registry
    assert second.ids[ID_C].merged_into == ID_B
    assert (resolved(second, ID_C), resolved(second, ID_B)) == (ID_A, ID_A)


def test_after_a_split_the_id_stays_with_its_record_and_an_alias_does_not_come_back() -> None:
    seen = {A: 1, B: 2, C: 3}
    one = assigned(Registry(), [(A, B, "strong"), (B, C, "strong")], seen=seen).registry
    apart = assigned(one, [(A, B, "strong"), (A, B, "deny"), (B, C, "strong")], seen=seen)
    new = born_id(*B, generation=1)
    assert apart.registry.members == {A: ID_A, B: new, C: new}
    assert new not in (ID_A, ID_B, ID_C)
    assert resolved(apart.registry, ID_B) == ID_A
    assert set(apart.moves) == {Move(B, ID_A, new), Move(C, ID_A, new)}
    # Together again, and apart again: yet another id, since the second is an alias now too.
    again = assigned(apart.registry, [(A, B, "strong"), (B, C, "strong")], seen=seen)
    assert again.merges == (Merge(new, ID_A),)
    last = assigned(again.registry, [(B, C, "strong")], seen=seen).registry
    assert last.members[B] == born_id(*B, generation=2)


def test_records_whose_links_are_gone_are_alone_again() -> None:
    one = assigned(Registry(), [(A, B, "strong")], seen={A: 1, B: 2}).registry
    alone = assigned(one, [])
    assert alone.registry.members == {A: ID_A, B: born_id(*B, generation=1)}


def test_the_survivor_is_older_than_an_id_given_after_a_split() -> None:
    seen = {A: 1, B: 2, C: 3}
    one = assigned(Registry(), [(A, B, "strong")], seen=seen).registry
    apart = assigned(one, [(A, B, "deny")], seen=seen).registry
    joined = assigned(apart, [(A, B, "deny"), (B, C, "strong")], seen=seen)
    assert joined.registry.members[B] == ID_C
    assert joined.merges == (Merge(born_id(*B, generation=1), ID_C),)


def require_meaning_kept(before: Registry, after: Registry) -> None:
    """What an id was given for stays; an alias stays one of the same; a living id names the person of its record."""
    for name, old in before.ids.items():
        new = after.ids[name]
        assert (new.record, new.generation, new.first_seen) == (old.record, old.generation, old.first_seen)
        if old.merged_into is not None:
            assert new.merged_into == old.merged_into
    living = {name: case_id for name, case_id in after.ids.items() if case_id.merged_into is None}
    assert set(living) == set(after.members.values())
    for name, case_id in living.items():
        assert after.members[case_id.record] == name
    assert all(resolved(after, name) in living for name in after.ids)


@pytest.mark.parametrize("seed", range(12))
def test_over_100_orders_and_portions_of_arrival_cases_are_the_same_up_to_renaming(seed: int) -> None:
    links, keys = random_world(seed)
    truth = people(links, keys, CAPS)
    for order in range(100):
        chance, registry = random.Random(1000 * seed + order), Registry()
        for known_links, known_keys in arrivals(links, keys, chance):
            seen = {record: chance.randint(1, 9) for record in {r for r, _ in known_keys}}
            found = assigned(registry, known_links, known_keys, seen)
            require_meaning_kept(registry, found.registry)
            assert partition(found.registry.members) == people(known_links, known_keys, CAPS)
            registry = found.registry
        assert partition(registry.members) == truth


@pytest.mark.parametrize("seed", range(30))
def test_a_full_rebuild_from_the_kept_registry_changes_nothing(seed: int) -> None:
    links, keys = random_world(seed)
    registry = Registry()
    for known_links, known_keys in arrivals(links, keys, random.Random(seed)):
        registry = assigned(registry, known_links, known_keys).registry
    rebuilt = assigned(registry, links, keys)
    assert (rebuilt.minted, rebuilt.merges, rebuilt.moves) == ((), (), ())
    assert rebuilt.registry == registry


@pytest.mark.parametrize("seed", range(60))
def test_every_merge_has_the_links_that_made_it_as_evidence(seed: int) -> None:
    links, keys = random_world(seed)
    stitching = stitch(links_table(links), keys_table(keys), CAPS)
    found = assign(Registry(), stitching)
    stated = {frozenset((left, right)) for left, right, strength in links if strength == "strong"}
    proven = list(evidence_of(found.merges, found.registry, stitching))
    assert {merge for merge, _ in proven} == set(found.merges)
    for merge, path in proven:
        ends = found.registry.ids[merge.survivor].record, found.registry.ids[merge.merged].record
        assert (path[0].left, path[-1].right) == ends
        assert all(one.right == other.left for one, other in pairwise(path))
        assert sum(2 if step.key else 1 for step in path) == distance(stitching, *ends)
        for step in path:
            assert found.registry.members[step.left] == merge.survivor
            if step.key is None:
                assert frozenset((step.left, step.right)) in stated
                assert set(step.evidence[0].split("~")) == {step.left[1], step.right[1]}
            else:
                assert {(step.left, step.key), (step.right, step.key)} <= set(keys)
                assert step.evidence == (step.left[1], step.right[1])


def test_evidence_does_not_lead_through_a_person_that_was_not_joined() -> None:
    chain = [("crm", str(number)) for number in range(6)]
    other = [("mail", "x"), ("mail", "y")]
    links: list[Link] = [(one, next_one, "strong") for one, next_one in pairwise(chain)]
    links.append((*other, "strong"))
    # Over the other's keys the ends are nearer, but eight records are too many for one person.
    keys = [(chain[0], "k"), (other[0], "k"), (other[0], "l"), (chain[-1], "l")]
    stitching = stitch(links_table(links), keys_table(keys), CAPS)
    found = assign(Registry(), stitching)
    paths = {merge.merged: path for merge, path in evidence_of(found.merges, found.registry, stitching)}
    assert [step.right for step in paths[born_id(*chain[-1])]] == chain[1:]


def distance(stitching: Stitching, start: Record, end: Record) -> int:
    """Links between two records of one person, by widening circles; over a key it is one to the key and one back."""
    person = dict(zip(stitching.records(), stitching.person.tolist(), strict=True))
    pairs = [
        {(row["left_system"], row["left_id"]), (row["right_system"], row["right_id"])}
        for row, usable in zip(stitching.links.to_pylist(), stitching.usable_links, strict=True)
        if usable
    ]
    pairs += [
        {(row["system"], row["native_id"]), ("a key", row["key"])}
        for row, usable in zip(stitching.keys.to_pylist(), stitching.usable_keys, strict=True)
        if usable
    ]
    circle, length = {start}, 0
    while end not in circle:
        reached = {thing for pair in pairs if pair & circle for thing in pair}
        circle |= {thing for thing in reached if person.get(thing, person[start]) == person[start]}
        length += 1
    return length


@pytest.mark.parametrize("seed", range(20))
def test_evidence_is_the_same_in_whatever_order_links_come(seed: int) -> None:
    links, keys = random_world(seed)
    tables = [
        (links_table(links), keys_table(keys)),
        (links_table(reversed(links)), keys_table(reversed(keys))),
    ]
    proven = []
    for some_links, some_keys in tables:
        assert (some_links.schema, some_keys.schema) == (LINKS, KEYS)
        stitching = stitch(some_links, some_keys, CAPS)
        found = assign(Registry(), stitching)
        proven.append(list(evidence_of(found.merges, found.registry, stitching)))
    assert proven[0] == proven[1]
