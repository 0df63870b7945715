"""An alignment to the happy path is optimal, and says which steps are too many and which are missing."""

from collections import Counter
from functools import cache
from pathlib import Path

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

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


def test_the_cost_of_a_real_log_is_that_of_optimal_alignments(shared_data: Path) -> None:
    """2,943 is what r4pm's optimal alignments cost, against the most frequent path as a sequential model."""
    rows = duckdb.execute(
        f"""
        select list("concept:name" order by "time:timestamp", file_row_number)
        from read_parquet('{shared_data / "receipt" / "receipt.parquet"}', file_row_number = true)
        group by "case:concept:name"
        """
    ).fetchall()
    paths = Counter(tuple(path) for (path,) in rows)
    happy = HappyPath(max(paths, key=lambda path: paths[path]))
    assert sum(happy.align(path).cost * count for path, count in paths.items()) == 2_943
