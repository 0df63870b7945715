"""An alignment to the happy path is optimal, and says which steps are too many and which are missing."""

import gzip
from collections import Counter
from functools import cache
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lxml import etree

from orchestration.mining.conformance import HappyPath

paths = st.text("abcd", max_size=9)


@cache
def edit_cost(one: str, other: str) -> int:
    """Insertions and deletions from one to the other, by the definition."""
    if not one or not other:
        return len(one) + len(other)
    if one[0] == other[0]:
        return edit_cost(one[1:], other[1:])
    return 1 + min(edit_cost(one[1:], other), edit_cost(one, other[1:]))


@given(paths, paths)
@settings(max_examples=400, deadline=None)
def test_an_alignment_is_as_cheap_as_can_be(happy: str, path: str) -> None:
    found = HappyPath(happy).align(path)
    assert found.cost == edit_cost(happy, path)
    length = len(happy) + len(path)
    assert found.fitness == (1 - found.cost / length if length else 1)


@given(paths, paths)
@settings(max_examples=400, deadline=None)
def test_what_is_common_is_left_when_inserted_and_skipped_steps_are_taken_out(happy: str, path: str) -> None:
    found = HappyPath(happy).align(path)
    assert Counter(path) - Counter(found.inserted) == Counter(happy) - Counter(found.skipped)
    assert is_subsequence(found.inserted, path)
    assert is_subsequence(found.skipped, happy)


def is_subsequence(steps: tuple[str, ...], whole: str) -> bool:
    left = iter(whole)
    return all(step in left for step in steps)


def test_steps_are_named_in_their_order() -> None:
    found = HappyPath(["order", "check", "ship", "pay"]).align(["order", "call", "ship", "ship", "call"])
    assert found.skipped == ("check", "pay")
    assert found.inserted == ("call", "ship", "call")
    assert found.fitness == pytest.approx(1 - 5 / 9)


# What the optimal alignments of r4pm 0.6.2 cost, against the most frequent path as a sequential model.
COSTS = {
    "receipt/08_receipt.xes.gz": 2_943,
    "helpdesk/helpdesk.xes.gz": 3_854,
    "bpic2012/bpic2012.xes.gz": 233_843,
}


@pytest.mark.parametrize(
    "log", [pytest.param(log, marks=pytest.mark.slow if "bpic2012" in log else ()) for log in COSTS]
)
def test_the_cost_of_a_real_log_is_that_of_optimal_alignments(log: str, shared_data: Path) -> None:
    paths = paths_of(shared_data / log)
    happy = HappyPath(max(paths, key=lambda path: paths[path]))
    assert sum(happy.align(path).cost * count for path, count in paths.items()) == COSTS[log]


def paths_of(log: Path) -> Counter[tuple[str, ...]]:
    """How many traces of an XES log have each path, events in the order of the file."""
    paths: Counter[tuple[str, ...]] = Counter()
    with gzip.open(log) as file:
        for _end, trace in etree.iterparse(file, tag="{*}trace", resolve_entities=False):
            events = trace.iterfind("{*}event/{*}string[@key='concept:name']")
            paths[tuple(name.get("value") for name in events)] += 1
            trace.clear()
    return paths
