"""Which object an event belongs to."""

import random
from datetime import datetime, timedelta

import pyarrow as pa
import pytest

from orchestration.identity import (
    CASE_EVENTS,
    CASE_OBJECTS,
    OBJECT_PERSONS,
    PERSONS,
    CaseRule,
    PickedCases,
    pick_cases,
)

DAY = timedelta(days=1)
START = datetime(2024, 1, 1)
Row = tuple[object, ...]


def table(rows: list[Row], schema: pa.Schema) -> pa.Table:
    return pa.Table.from_pylist([dict(zip(schema.names, row, strict=True)) for row in rows], schema)


def picked(
    events: list[Row], objects: list[Row], object_persons: list[Row], persons: list[Row], rule: CaseRule
) -> PickedCases:
    return pick_cases(
        table(events, CASE_EVENTS),
        table(persons, PERSONS),
        table(objects, CASE_OBJECTS),
        table(object_persons, OBJECT_PERSONS),
        rule,
    )


def cases(found: PickedCases) -> list[str | None]:
    return found.cases["case_id"].to_pylist()


def day(number: int) -> datetime:
    return START + number * DAY


RULE = CaseRule(before=30 * DAY, after=5 * DAY)
DEAL = ("deal", "crm", "006", day(100), day(120))
NEXT = ("next", "crm", "007", day(110), None)


def of_lead(*days: int) -> list[Row]:
    return [(place, "mail", "7", day(number)) for place, number in enumerate(days)]


def test_a_persons_events_belong_to_the_object_from_before_it_opened_until_after_it_closed() -> None:
    persons = [("mail", "7", "p"), ("crm", "003", "p")]
    found = picked(of_lead(69, 70, 100, 125, 126), [DEAL], [("deal", "crm", "003")], persons, RULE)
    assert cases(found) == [None, "deal", "deal", "deal", None]
    assert (found.own, found.of_persons, found.shared, found.alone) == (0, 3, 0, 2)


def test_an_objects_own_events_are_its_own_whenever_they_were() -> None:
    events = [(0, "crm", "006", day(1)), (1, "crm", "006", day(900))]
    found = picked(events, [DEAL], [], [], RULE)
    assert cases(found) == ["deal", "deal"]
    assert found.own == 2


def test_a_person_without_links_is_known_by_its_own_record() -> None:
    assert cases(picked(of_lead(100), [DEAL], [("deal", "mail", "7")], [], RULE)) == ["deal"]
    assert cases(picked(of_lead(100), [DEAL], [("deal", "crm", "7")], [], RULE)) == [None]


def test_of_two_objects_the_one_open_then_has_it_else_the_next_else_the_last() -> None:
    later = ("later", "crm", "008", day(140), day(150))
    related = [("deal", "mail", "7"), ("next", "mail", "7"), ("later", "mail", "7")]
    closed_next = (*NEXT[:4], day(130))
    # before all / in deal alone / in deal and next / in next alone / between / in later / after all
    found = picked(of_lead(95, 105, 115, 125, 132, 145, 152), [DEAL, closed_next, later], related, [], RULE)
    assert cases(found) == ["deal", "deal", "next", "next", "later", "later", "later"]
    assert (found.shared, found.of_persons) == (5, 7)


def test_two_roles_of_one_person_in_an_object_do_not_double_its_events() -> None:
    persons = [("mail", "7", "p"), ("crm", "003", "p")]
    found = picked(of_lead(101), [DEAL], [("deal", "crm", "003"), ("deal", "mail", "7")], persons, RULE)
    assert cases(found) == ["deal"]
    assert found.shared == 0


def plain(events: list[Row], objects: list[Row], related: set[tuple[str, str]]) -> list[str | None]:
    """One event after the other, one object after the other."""
    result: list[str | None] = []
    for _, _, person, t in events:
        best: tuple[object, ...] | None = None
        for case_id, _, _, opened, closed in objects:
            closed = closed or datetime(9999, 1, 1)
            if (case_id, person) not in related or t < opened - RULE.before or t > closed + RULE.after:  # type: ignore[operator]
                continue
            if opened <= t <= closed:  # type: ignore[operator]
                rank: tuple[object, ...] = (0, START - opened, case_id)  # type: ignore[operator]
            elif t < opened:  # type: ignore[operator]
                rank = (1, opened - START, case_id)  # type: ignore[operator]
            else:
                rank = (2, START - closed, case_id)
            best = min(best, rank) if best else rank  # type: ignore[type-var]
        result.append(best[-1] if best else None)  # type: ignore[arg-type]
    return result


@pytest.mark.parametrize("seed", range(10))
def test_the_choice_is_that_of_the_plainest_code(seed: int) -> None:
    chance = random.Random(seed)
    objects: list[Row] = []
    for number in range(8):
        opened = chance.randrange(200)
        closed = None if chance.random() < 0.2 else day(opened + chance.randrange(40))
        objects.append((f"case {number}", "crm", str(number), day(opened), closed))
    related = {(f"case {chance.randrange(8)}", str(chance.randrange(4))) for _ in range(14)}
    events: list[Row] = [
        (n, "mail", str(chance.randrange(4)), day(chance.randrange(260))) for n in range(300)
    ]
    found = picked(events, objects, [(case, "mail", person) for case, person in sorted(related)], [], RULE)
    assert cases(found) == plain(events, objects, related)
    assert found.own + found.of_persons + found.alone == len(events)
