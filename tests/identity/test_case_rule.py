"""Which object an event belongs to."""

import random
from datetime import datetime, timedelta
from uuid import UUID

import duckdb
import pyarrow as pa
import pytest

from orchestration.identity import CASE_OBJECTS, picked_cases

DAY = timedelta(days=1)
START = datetime(2024, 1, 1)
BEFORE, AFTER = 30 * DAY, 5 * DAY
LEAD, OTHER = UUID(int=1), UUID(int=2)
DEAL, NEXT, LATER = UUID(int=11), UUID(int=12), UUID(int=13)
Object = tuple[UUID, UUID, datetime, datetime | None]
Event = tuple[int, UUID, datetime]


def day(number: int) -> datetime:
    return START + number * DAY


def of_lead(*days: int) -> list[Event]:
    return [(place, LEAD, day(number)) for place, number in enumerate(days)]


def picked(events: list[Event], objects: list[Object]) -> list[UUID | None]:
    """The case of each event, None where it stays in a case of its person."""
    rows = [
        (*given, given[2] - BEFORE, None if given[3] is None else given[3] + AFTER)
        for given in dict.fromkeys(objects)
    ]
    columns = zip(*rows, strict=True) if rows else [()] * len(CASE_OBJECTS)
    arrays = [
        pa.array([v.bytes for v in values], pa.uuid())
        if field.type == pa.uuid()
        else pa.array(values, field.type)
        for values, field in zip(columns, CASE_OBJECTS, strict=True)
    ]
    with duckdb.connect() as connection:
        connection.register("given", pa.table(arrays, CASE_OBJECTS))
        # Not straight from Arrow: DuckDB 1.5.5 cannot push a filter on UUIDs down to it.
        connection.execute("create table objects as from given")
        connection.execute("create table events (event integer, entity_id uuid, timestamp timestamp)")
        connection.executemany("insert into events values (?, ?, ?)", events)
        found = connection.execute(
            f"select event, case_id from ({picked_cases('events', 'objects', 'event')})"
        ).fetchall()
    cases = dict(found)
    assert len(cases) == len(found)
    return [cases.get(event) for event, _entity, _time in events]


def test_a_persons_events_belong_to_the_object_from_before_it_opened_until_after_it_closed() -> None:
    found = picked(of_lead(69, 70, 100, 125, 126), [(LEAD, DEAL, day(100), day(120))])
    assert found == [None, DEAL, DEAL, DEAL, None]


def test_an_object_that_is_open_has_them_without_end() -> None:
    assert picked(of_lead(9_000), [(LEAD, DEAL, day(100), None)]) == [DEAL]


def test_events_of_others_are_not_its() -> None:
    assert picked(of_lead(110), [(OTHER, DEAL, day(100), day(120))]) == [None]


def test_of_two_objects_the_one_open_then_has_it_else_the_next_else_the_last() -> None:
    objects: list[Object] = [
        (LEAD, DEAL, day(100), day(120)),
        (LEAD, NEXT, day(110), day(130)),
        (LEAD, LATER, day(140), day(150)),
    ]
    # before all / in deal alone / in deal and next / in next alone / between / in later / after all
    found = picked(of_lead(95, 105, 115, 125, 132, 145, 152), objects)
    assert found == [DEAL, DEAL, NEXT, NEXT, LATER, LATER, LATER]


def plain(events: list[Event], objects: list[Object]) -> list[UUID | None]:
    """One event after the other, one object after the other."""
    result: list[UUID | None] = []
    for _number, entity, t in events:
        ranks = []
        for owner, case_id, opened, closed in objects:
            if owner != entity or t < opened - BEFORE or (closed is not None and t > closed + AFTER):
                continue
            if t < opened:
                ranks.append((1, opened - START, case_id))
            elif closed is None or t <= closed:
                ranks.append((0, START - opened, case_id))
            else:
                ranks.append((2, START - closed, case_id))
        result.append(min(ranks)[-1] if ranks else None)
    return result


@pytest.mark.parametrize("seed", range(10))
def test_the_choice_is_that_of_the_plainest_code(seed: int) -> None:
    chance = random.Random(seed)
    spans = {}
    for number in range(8):
        opened = chance.randrange(200)
        closed = None if chance.random() < 0.2 else day(opened + chance.randrange(40))
        spans[UUID(int=100 + number)] = (day(opened), closed)
    persons = [UUID(int=n) for n in range(4)]
    related = {(chance.choice(persons), chance.choice(list(spans))) for _ in range(14)}
    objects: list[Object] = [(person, case_id, *spans[case_id]) for person, case_id in sorted(related)]
    events: list[Event] = [(n, chance.choice(persons), day(chance.randrange(260))) for n in range(300)]
    assert picked(events, objects) == plain(events, objects)
