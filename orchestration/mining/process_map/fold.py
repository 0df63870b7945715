"""A process map cut to what can be drawn and read; what is left out is counted, not forgotten."""

import enum
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

MOST_ACTIVITIES = 40
MOST_EDGES = 150


class Marker(enum.Enum):
    """What is drawn beside activities: where cases start and end, and the activities that are folded into one."""

    START = "start"
    END = "end"
    FOLDED = "folded"


End = str | Marker


@dataclass(frozen=True)
class Edge:
    """So many times ``target`` followed ``source`` directly, in ``total_us`` microseconds altogether."""

    source: End
    target: End
    frequency: int
    total_us: int


@dataclass(frozen=True)
class FoldedMap:
    """The activities with their events, the edges, and what is not in them.

    ``folded`` activities are drawn as one; ``hidden_edges`` edges are not drawn, with ``hidden_passages`` passages.
    """

    events: Mapping[str, int]
    edges: Sequence[Edge]
    folded: int
    folded_events: int
    hidden_edges: int
    hidden_passages: int


def fold(
    events: Mapping[str, int],
    edges: Iterable[Edge],
    *,
    most_activities: int = MOST_ACTIVITIES,
    most_edges: int = MOST_EDGES,
) -> FoldedMap:
    """Keep the most frequent activities and edges; fold the other activities into one.

    Of the edges, first each activity's most frequent one in and out, so that no activity stands alone that does not in
    the log, then the others by frequency. Ties go by name: the same map gives the same picture.

    Args:
        events: of each activity, how many events there are.
        edges: each pair of activities once, and from ``Marker.START`` and to ``Marker.END``.
        most_activities: so many activities at most, the folded ones as one of them.
        most_edges: so many edges at most.
    """
    ranked = sorted(events, key=lambda name: (-events[name], name))
    kept = ranked if len(ranked) <= most_activities else ranked[: most_activities - 1]
    merged = _merged(edges, set(kept))
    drawn = _most_frequent(merged, most_edges)
    return FoldedMap(
        events={name: events[name] for name in kept},
        edges=drawn,
        folded=len(ranked) - len(kept),
        folded_events=sum(events[name] for name in ranked[len(kept) :]),
        hidden_edges=len(merged) - len(drawn),
        hidden_passages=sum(e.frequency for e in merged) - sum(e.frequency for e in drawn),
    )


def _merged(edges: Iterable[Edge], kept: set[str]) -> list[Edge]:
    """The edges between what is drawn, most frequent first."""
    passages: Counter[tuple[End, End]] = Counter()
    elapsed: Counter[tuple[End, End]] = Counter()
    for edge in edges:
        pair = (_drawn(edge.source, kept), _drawn(edge.target, kept))
        passages[pair] += edge.frequency
        elapsed[pair] += edge.total_us
    merged = [Edge(*pair, passages[pair], elapsed[pair]) for pair in passages]
    return sorted(merged, key=lambda e: (-e.frequency, _name(e.source), _name(e.target)))


def _name(end: End) -> tuple[bool, str]:
    return (True, end.value) if isinstance(end, Marker) else (False, end)


def _drawn(end: End, kept: set[str]) -> End:
    return end if isinstance(end, Marker) or end in kept else Marker.FOLDED


def _most_frequent(ranked: Sequence[Edge], most: int) -> list[Edge]:
    first_in: dict[End, Edge] = {}
    first_out: dict[End, Edge] = {}
    for edge in ranked:
        if edge.source != edge.target:
            first_out.setdefault(edge.source, edge)
            first_in.setdefault(edge.target, edge)
    backbone = {id(edge) for edge in [*first_in.values(), *first_out.values()]}
    chosen = sorted(ranked, key=lambda edge: id(edge) not in backbone)[:most]
    wanted = {id(edge) for edge in chosen}
    return [edge for edge in ranked if id(edge) in wanted]
