"""The object-centric rule of what a case is, once records are joined into persons and things.

Person-centric, all that a person did is one case, and the person's id is the case's: that needs no rule.
Object-centric, a case is an object of the process, such as an opportunity, with its own events and those of its
persons in the time that leads up to it and through it. Events in no object's time stay in a case of their person.
"""

import pyarrow as pa

CASE_OBJECTS = pa.schema(
    [
        ("entity_id", pa.uuid()),
        ("case_id", pa.uuid()),
        ("opened_at", pa.timestamp("us")),
        ("closed_at", pa.timestamp("us")),
        ("since", pa.timestamp("us")),
        ("until", pa.timestamp("us")),
    ]
)
"""A person and an object that may have the person's events from ``since`` to ``until``. Times are UTC; null: without
end. An object is no entity here: its own events are its own whenever they were."""


def picked_cases(events: str, objects: str, event: str) -> str:
    """SQL of the object that each event of a person goes to; events in no object's time are not in the answer.

    Of several objects whose time an event is in, the one has it that was open then and was opened last; if none was
    open yet, the one that was opened next; if all were closed, the one that was closed last. The case id settles the
    rest.

    Args:
        events: A relation with ``entity_id``, ``timestamp`` (UTC) and the columns of ``event``.
        objects: A relation of ``CASE_OBJECTS``.
        event: The columns that identify an event, such as ``a, b``.
    """
    return f"""
    select {event}, count(*) as objects,
           arg_min(
               case_id,
               row(
                   case when timestamp < opened_at then 1 when closed_at is null or timestamp <= closed_at then 0
                        else 2 end,
                   case when timestamp < opened_at then epoch_us(opened_at)
                        when closed_at is null or timestamp <= closed_at then -epoch_us(opened_at)
                        else -epoch_us(closed_at) end,
                   case_id
               )
           ) as case_id
    from {events} join {objects} using (entity_id)
    where timestamp >= since and (until is null or timestamp <= until)
    group by {event}
    """
