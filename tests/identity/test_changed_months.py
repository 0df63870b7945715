"""A change of ids re-runs exactly the months that it changes."""

import random

import pytest

from orchestration.identity import Caps, Move, Registry, assign, born_id, changed_months, stitch
from tests.identity.worlds import Record, arrivals, keys_table, links_table, random_world

CAPS = Caps(persons_per_key=3, records_per_person=6)
A, B, C = ("crm", "a"), ("mail", "b"), ("shop", "c")

Homes = dict[str, set[tuple[str, Record, str]]]


def test_a_merge_changes_the_months_of_what_moved_and_the_homes_that_lost_and_gained_it() -> None:
    moves = [Move(B, "was-b", "is-a")]
    months = {A: {"2024-01", "2024-02"}, B: {"2024-03", "2024-05"}, C: {"2024-04"}}
    changed = changed_months(moves, {A: "is-a", B: "is-a", C: "is-c"}, months)
    assert changed.events == {"2024-03", "2024-05"}
    assert changed.homes == {"2024-01", "2024-03"}


def test_where_the_moved_events_come_first_the_home_moves_too() -> None:
    changed = changed_months(
        [Move(B, "was-b", "is-a")], {A: "is-a", B: "is-a"}, {A: {"2024-06"}, B: {"2024-03"}}
    )
    assert changed.homes == {"2024-03", "2024-06"}


def test_a_record_without_events_changes_nothing() -> None:
    changed = changed_months([Move(B, "was-b", "is-a")], {A: "is-a", B: "is-a"}, {A: {"2024-06"}})
    assert (changed.events, changed.homes) == (frozenset(), frozenset())


def homes(names: dict[Record, str], months: dict[Record, set[str]]) -> Homes:
    """What each home month holds: the (case, record, event month) of its cases."""
    first: dict[str, str] = {}
    for record, mine in months.items():
        first[names[record]] = min(min(mine), first.get(names[record], "9999"))
    held: Homes = {}
    for record, mine in months.items():
        for month in mine:
            held.setdefault(first[names[record]], set()).add((names[record], record, month))
    return held


@pytest.mark.parametrize("seed", range(80))
def test_the_months_are_exactly_those_whose_content_differs(seed: int) -> None:
    links, keys = random_world(seed)
    chance, registry = random.Random(seed), Registry()
    records = {r for left, right, _ in links for r in (left, right)} | {record for record, _ in keys}
    months = {
        record: {f"2024-{month:02d}" for month in chance.sample(range(1, 13), chance.randint(1, 3))}
        for record in sorted(records)
        if chance.random() < 0.8
    }
    for known_links, known_keys in arrivals(links, keys, chance):
        found = assign(registry, stitch(links_table(known_links), keys_table(known_keys), CAPS))
        before, after = (
            {record: state.members.get(record, born_id(*record)) for record in records}
            for state in (registry, found.registry)
        )
        changed = changed_months(found.moves, found.registry.members, months)
        then, now = homes(before, months), homes(after, months)
        assert changed.homes == {m for m in then.keys() | now.keys() if then.get(m) != now.get(m)}
        assert changed.events == {m for r in months for m in months[r] if before[r] != after[r]}
        registry = found.registry
