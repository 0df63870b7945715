"""The object-centric rule of what a case is, once records are joined into persons.

Person-centric, all that a person did is one case, and the person's id is the case's: that needs no rule.
Object-centric, a case is an object of the process, such as an opportunity, with its own events and those of its
persons in the time that leads up to it and through it.
"""

from dataclasses import dataclass
from datetime import timedelta

import duckdb
import pyarrow as pa

_RECORD = [("system", pa.string()), ("native_id", pa.string())]

CASE_EVENTS = pa.schema([("event", pa.int64()), *_RECORD, ("timestamp", pa.timestamp("us"))])
"""Events: a number of the caller's, the record whose event it is, and the time (UTC)."""

CASE_OBJECTS = pa.schema(
    [("case_id", pa.string()), *_RECORD, ("opened_at", pa.timestamp("us")), ("closed_at", pa.timestamp("us"))]
)
"""Objects: the case's id, the object's own record, and when it was opened and closed (UTC; null while open)."""

OBJECT_PERSONS = pa.schema([("case_id", pa.string()), *_RECORD])
"""Which records are persons of an object, such as its contact roles and the lead that was converted into it."""

PERSONS = pa.schema([*_RECORD, ("person", pa.string())])
"""The person of each linked record; a record that is not here is a person of its own."""


@dataclass(frozen=True)
class CaseRule:
    """How much of a person's time belongs to an object.

    Attributes:
        before: How long before the object was opened its persons' events lead up to it.
        after: How long after it was closed they still belong to it.
    """

    before: timedelta = timedelta(days=180)
    after: timedelta = timedelta(0)


@dataclass(frozen=True)
class PickedCases:
    """The case of each event.

    Attributes:
        cases: ``event`` and ``case_id``, by event; null where the event stays in a case of its person.
        own: Events of objects' own records.
        of_persons: Events of persons that went to an object.
        shared: Those of them that were in the time of several objects; one of these was taken.
        alone: Events in no object's time.
    """

    cases: pa.Table
    own: int
    of_persons: int
    shared: int
    alone: int


def pick_cases(
    events: pa.Table, persons: pa.Table, objects: pa.Table, object_persons: pa.Table, rule: CaseRule
) -> PickedCases:
    """The object-centric case of each event; every event is in one case.

    Of several objects whose time an event is in, the one has it that was open then and was opened last; if none was
    open yet, the one that was opened next; if all were closed, the one that was closed last. The case id settles the
    rest.

    Args:
        events: ``CASE_EVENTS``.
        persons: ``PERSONS``.
        objects: ``CASE_OBJECTS``.
        object_persons: ``OBJECT_PERSONS``.
        rule: The time around an object.
    """
    tables = {"events": events, "persons": persons, "objects": objects, "object_persons": object_persons}
    with duckdb.connect() as connection:
        for name, table in tables.items():
            connection.register(name, table)
        connection.execute(_PICKED, {"before": rule.before, "after": rule.after})
        cases = connection.execute("SELECT event, case_id FROM picked ORDER BY event").to_arrow_table()
        counts = connection.execute(_COUNTS).fetchall()[0]
    return PickedCases(cases, *counts)


_PICKED = """
CREATE TEMP TABLE picked AS
WITH of_event AS (
    SELECT e.*, coalesce(p.person, concat_ws(chr(31), e.system, e.native_id)) AS person
    FROM events e LEFT JOIN persons p USING (system, native_id)
),
of_object AS (
    SELECT DISTINCT r.case_id, coalesce(p.person, concat_ws(chr(31), r.system, r.native_id)) AS person,
           o.opened_at, coalesce(o.closed_at, 'infinity'::TIMESTAMP) AS closed_at
    FROM object_persons r JOIN objects o USING (case_id) LEFT JOIN persons p
    ON r.system = p.system AND r.native_id = p.native_id
),
in_time AS (
    SELECT e.event, o.case_id, count(*) OVER (PARTITION BY e.event) AS objects,
           row_number() OVER (
               PARTITION BY e.event
               ORDER BY
                   CASE WHEN e.timestamp < o.opened_at THEN 1 WHEN e.timestamp <= o.closed_at THEN 0 ELSE 2 END,
                   CASE WHEN e.timestamp < o.opened_at THEN o.opened_at END,
                   CASE WHEN e.timestamp <= o.closed_at THEN o.opened_at ELSE o.closed_at END DESC,
                   o.case_id
           ) AS place
    FROM of_event e JOIN of_object o
    ON e.person = o.person AND e.timestamp >= o.opened_at - $before
    AND (o.closed_at = 'infinity'::TIMESTAMP OR e.timestamp <= o.closed_at + $after)
)
SELECT e.event, coalesce(o.case_id, i.case_id) AS case_id, o.case_id IS NOT NULL AS own,
       o.case_id IS NULL AND i.objects > 1 AS shared
FROM events e LEFT JOIN objects o USING (system, native_id)
LEFT JOIN in_time i ON e.event = i.event AND i.place = 1
"""

_COUNTS = """
SELECT count(*) FILTER (own), count(*) FILTER (NOT own AND case_id IS NOT NULL), count(*) FILTER (shared),
       count(*) FILTER (case_id IS NULL)
FROM picked
"""
