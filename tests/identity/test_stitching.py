"""Which records become one person, and what is left apart and reported."""

import random

import numpy as np
import pytest

from orchestration.identity import Caps, ContradictingLinks, Stitching, stitch
from orchestration.identity.components import components
from tests.identity.worlds import Key, Link, Record, keys_table, links_table, people, random_world

LEAD, CONTACT, MARKETO = ("crm", "lead"), ("crm", "contact"), ("mail", "7")
NO_CAPS = Caps(10**6, 10**6)


def stitched(links: list[Link], keys: list[Key], caps: Caps = NO_CAPS) -> Stitching:
    return stitch(links_table(links), keys_table(keys), caps)


def persons(stitching: Stitching) -> set[frozenset[Record]]:
    found: dict[int, set[Record]] = {}
    for person, record in zip(stitching.person.tolist(), stitching.records(), strict=True):
        found.setdefault(person, set()).add(record)
    return {frozenset(person) for person in found.values()}


def person_of(record: Record, stitching: Stitching) -> frozenset[Record]:
    return next(person for person in persons(stitching) if record in person)


def test_a_vendors_id_and_a_shared_key_join_records() -> None:
    found = stitched([(LEAD, CONTACT, "strong")], [(CONTACT, "hash"), (MARKETO, "hash")])
    assert persons(found) == {frozenset((LEAD, CONTACT, MARKETO))}
    assert found.refused == ()


def test_the_same_id_in_two_systems_is_two_records() -> None:
    found = stitched([(("crm", "1"), ("mail", "2"), "strong")], [(("mail", "1"), "hash")])
    assert persons(found) == {frozenset((("crm", "1"), ("mail", "2"))), frozenset((("mail", "1"),))}


def test_the_same_value_under_two_rules_is_two_keys() -> None:
    keys = keys_table([(LEAD, "x"), (CONTACT, "x")])
    keys = keys.set_column(2, "rule", [["email", "phone"]])
    assert len(persons(stitch(links_table([]), keys))) == 2


def test_a_key_that_too_many_persons_share_joins_nobody_and_is_reported() -> None:
    keys = [(("mail", str(number)), "family") for number in range(4)]
    found = stitched([], keys, Caps(persons_per_key=3))
    assert len(persons(found)) == 4
    (refused,) = found.refused
    assert (refused.reason, refused.rule, refused.key) == ("key_shared", "email", "family")
    assert (refused.persons, refused.records) == (4, 4)
    assert refused.examples[0] == ("mail", "0")


def test_duplicates_that_a_vendor_has_joined_count_as_one_person_of_a_key() -> None:
    duplicates: list[Link] = [(("mail", "0"), ("mail", str(number)), "strong") for number in range(1, 6)]
    keys = [(("mail", str(number)), "hash") for number in range(6)] + [(LEAD, "hash")]
    assert len(persons(stitched(duplicates, keys, Caps(persons_per_key=2)))) == 1


def test_a_person_that_keys_make_too_large_falls_back_to_what_vendors_say() -> None:
    links: list[Link] = [((s, "a"), (s, "b"), "strong") for s in ("crm", "mail", "shop")]
    keys = [((system, "a"), "hash") for system in ("crm", "mail", "shop")]
    found = stitched(links, keys, Caps(records_per_person=5))
    assert persons(found) == {frozenset(((s, "a"), (s, "b"))) for s in ("crm", "mail", "shop")}
    (refused,) = found.refused
    assert (refused.reason, refused.tier, refused.persons, refused.records) == ("too_large", "weak", 3, 6)


def test_a_person_that_vendors_make_too_large_is_not_joined_but_a_persons_word_counts() -> None:
    links: list[Link] = [(("crm", "default"), ("mail", str(number)), "strong") for number in range(6)]
    links.append((("mail", "0"), ("mail", "1"), "allow"))
    found = stitched(links, [], Caps(records_per_person=5))
    assert person_of(("mail", "0"), found) == {("mail", "0"), ("mail", "1")}
    assert len(persons(found)) == 6
    assert [(r.reason, r.tier, r.persons, r.records) for r in found.refused] == [
        ("too_large", "strong", 6, 7)
    ]


def test_people_may_join_more_than_links_may() -> None:
    links: list[Link] = [(("crm", "0"), ("crm", str(number)), "allow") for number in range(1, 9)]
    found = stitched(links, [], Caps(records_per_person=3))
    assert (len(persons(found)), found.refused) == (1, ())


def test_denying_a_vendors_link_cuts_that_link_alone() -> None:
    other = ("crm", "other")
    links: list[Link] = [(LEAD, CONTACT, "strong"), (CONTACT, MARKETO, "strong"), (CONTACT, other, "strong")]
    found = stitched([*links, (MARKETO, CONTACT, "deny")], [])
    assert persons(found) == {frozenset((LEAD, CONTACT, other)), frozenset((MARKETO,))}
    assert found.refused == ()


def test_a_denied_pair_that_others_connect_falls_back_and_is_reported() -> None:
    links: list[Link] = [(LEAD, CONTACT, "strong"), (LEAD, MARKETO, "deny")]
    found = stitched(links, [(CONTACT, "hash"), (MARKETO, "hash")])
    assert persons(found) == {frozenset((LEAD, CONTACT)), frozenset((MARKETO,))}
    assert [(r.reason, r.tier) for r in found.refused] == [("denied", "weak")]


def test_people_who_contradict_each_other_are_told() -> None:
    links: list[Link] = [(LEAD, CONTACT, "allow"), (CONTACT, MARKETO, "allow"), (LEAD, MARKETO, "deny")]
    with pytest.raises(ContradictingLinks, match=r"crm lead and mail 7 are one person.*Withdraw one"):
        stitched(links, [])


def test_without_links_there_is_nobody() -> None:
    assert persons(stitched([], [])) == set()


@pytest.mark.parametrize("seed", range(200))
def test_persons_are_those_of_the_plainest_code_in_whatever_order_links_come(seed: int) -> None:
    links, keys = random_world(seed)
    caps = Caps(persons_per_key=3, records_per_person=6)
    found = stitched(links, keys, caps)
    assert persons(found) == people(links, keys, caps)
    chance = random.Random(seed)
    chance.shuffle(links)
    chance.shuffle(keys)
    turned: list[Link] = [(b, a, s) if chance.random() < 0.5 else (a, b, s) for a, b, s in links]
    again = stitched(turned, keys, caps)
    assert (again.person.tolist(), again.refused) == (found.person.tolist(), found.refused)


def test_the_random_worlds_meet_every_cap() -> None:
    caps = Caps(persons_per_key=3, records_per_person=6)
    met = {(r.reason, r.tier) for seed in range(200) for r in stitched(*random_world(seed), caps).refused}
    assert met == {
        ("key_shared", "weak"), ("too_large", "strong"), ("too_large", "weak"), ("denied", "strong"),
        ("denied", "weak"),
    }  # fmt: skip


@pytest.mark.parametrize("shape", ["path", "star", "shuffled path", "ring of rings"])
def test_every_node_gets_the_smallest_of_its_component(shape: str) -> None:
    count = 2_000
    nodes = np.arange(count, dtype=np.int64)
    if shape == "shuffled path":
        nodes = np.random.default_rng(5).permutation(nodes)
    left, right = nodes[:-1], nodes[1:]
    if shape == "star":
        left, right = np.full(count - 1, count - 1), np.arange(count - 1)
    if shape == "ring of rings":
        left, right = nodes, (nodes // 10) * 10 + (nodes + 1) % 10
        assert components(count, left, right).tolist() == (nodes // 10 * 10).tolist()
        return
    assert not components(count, left, right).any()
