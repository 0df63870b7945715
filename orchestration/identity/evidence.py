"""Why two records are one person: the shortest path of links between them."""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from orchestration.identity.stitching import Stitching


class Step(NamedTuple):
    """One link of a path.

    Attributes:
        left: A record, (system, native id).
        right: The record that it leads to.
        rule: The rule of the link or of the key.
        evidence: The records that say so: one for a link, one at each end for a key.
        key: The key that the two share; None for a link.
    """

    left: tuple[str, str]
    right: tuple[str, str]
    rule: str
    evidence: tuple[str, ...]
    key: str | None = None


Path = tuple[Step, ...]
_Edge = tuple[int, str, str, str | None]  # neighbour, rule, evidence, key

_AT_A_TIME = 20_000  # persons whose links are taken out of the tables together


def shortest_paths(stitching: Stitching, wanted: Iterable[tuple[int, Sequence[int]]]) -> Iterator[list[Path]]:
    """For each record of ``wanted`` the paths to others of its person, in their order.

    The way over a key is as long as two links: one to it and one back. Among equally short paths the first by
    records, keys, rules and evidence is taken, so that a path depends on the set of links alone.
    """
    remaining, records = iter(wanted), stitching.records()
    while some := list(islice(remaining, _AT_A_TIME)):
        neighbours = _neighbours(stitching, [start for start, _ in some])
        for start, ends in some:
            came = _search(stitching, neighbours, start, ends)
            yield [_path(records, came, end) for end in ends]


def _neighbours(stitching: Stitching, starts: list[int]) -> dict[int, list[_Edge]]:
    """The edges of each record and key (numbered after the records) of the persons that hold ``starts``."""
    person, records = stitching.person, stitching.coded
    of_interest = np.zeros(len(person), dtype=bool)
    of_interest[person[starts]] = True
    within = person[records.left] == person[records.right]
    links = np.flatnonzero(stitching.usable_links & within & of_interest[person[records.left]])
    keyed = np.flatnonzero(stitching.usable_keys & of_interest[person[records.keyed]])
    neighbours: dict[int, list[_Edge]] = {}

    def connect(left: list[int], right: list[int], said: pa.Table, keys: list[str | None]) -> None:
        texts = zip(said["rule"].to_pylist(), said["evidence"].to_pylist(), keys, strict=True)
        for one, other, (rule, evidence, key) in zip(left, right, texts, strict=True):
            neighbours.setdefault(one, []).append((other, rule, evidence, key))
            neighbours.setdefault(other, []).append((one, rule, evidence, key))

    said = stitching.links.take(pa.array(links))
    connect(records.left[links].tolist(), records.right[links].tolist(), said, [None] * len(links))
    said = stitching.keys.take(pa.array(keyed))
    codes = len(person) + stitching.key_codes[keyed]
    connect(records.keyed[keyed].tolist(), codes.tolist(), said, said["key"].to_pylist())
    for edges in neighbours.values():
        edges.sort(key=lambda edge: edge[:3])
    return neighbours


def _search(
    stitching: Stitching, neighbours: dict[int, list[_Edge]], start: int, ends: Sequence[int]
) -> dict[int, tuple[int, _Edge] | None]:
    """For each record and key that was reached on the way to ``ends``, from where and by which edge."""
    person, count = stitching.person, len(stitching.person)
    came: dict[int, tuple[int, _Edge] | None] = {start: None}
    missing, waiting = set(ends) - {start}, deque([start])
    while missing and waiting:
        here = waiting.popleft()
        for edge in neighbours.get(here, ()):
            there = edge[0]
            # A key may be shared with a person that it was not allowed to join.
            if there not in came and (there >= count or person[there] == person[start]):
                came[there] = (here, edge)
                missing.discard(there)
                waiting.append(there)
    return came


def _path(records: Sequence[tuple[str, str]], came: dict[int, tuple[int, _Edge] | None], end: int) -> Path:
    """The steps that led to ``end``; the two halves of a step through a key are put together."""
    steps, there, second = list[Step](), end, tuple[str, ...]()
    arrived_at = end
    while (arrived := came[there]) is not None:
        there, (_, rule, evidence, key) = arrived
        second = (evidence, *second)
        if there < len(records):
            steps.append(Step(records[there], records[arrived_at], rule, second, key))
            arrived_at, second = there, ()
    return tuple(reversed(steps))
