"""Which months a change of case ids touches: exactly those, so that a merge re-runs no other."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from orchestration.identity.registry import Move, Record


@dataclass(frozen=True)
class ChangedMonths:
    """Months, each ``yyyy-mm``.

    Attributes:
        events: Months of events that carry another case id now.
        homes: Home months, before or now, of the cases that gained or lost events.
    """

    events: frozenset[str]
    homes: frozenset[str]


def changed_months(
    moves: Iterable[Move], members: Mapping[Record, str], event_months: Mapping[Record, Collection[str]]
) -> ChangedMonths:
    """The months that moves change.

    Args:
        moves: What ``assign`` moved.
        members: The case id of each record after the moves.
        event_months: The months in which each record has events; at least of those records that have been in a case
            that a move touches. A record without events, such as one that only a link names, changes nothing.
    """
    moved = {move.record: move for move in moves if event_months.get(move.record)}
    before: dict[str, set[str]] = {}
    after: dict[str, set[str]] = {}
    touched = {case for move in moved.values() for case in (move.before, move.after)}
    for record in members.keys() | moved.keys():
        months = event_months.get(record)
        now = members[record]
        then = moved[record].before if record in moved else now
        if months and touched & {now, then}:
            before.setdefault(then, set()).update(months)
            after.setdefault(now, set()).update(months)
    homes = {min(months[case]) for months in (before, after) for case in touched & months.keys()}
    return ChangedMonths(
        frozenset(month for record in moved for month in event_months[record]), frozenset(homes)
    )
