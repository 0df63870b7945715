"""Months and samples."""

import pytest

from orchestration.mining.explain.config import ExplainConfig
from orchestration.mining.explain.window import find_window, months_before, sample_cases
from orchestration.mining.explain.working_tables import build_working_tables, drop_working_tables


@pytest.mark.parametrize(
    ("month", "count", "expected"),
    [
        ("2024-12", 11, "2024-01"),
        ("2024-01", 1, "2023-12"),
        ("2024-03", 0, "2024-03"),
        ("2024-02", 26, "2021-12"),
    ],
)
def test_months_before(month, count, expected):
    assert months_before(month, count) == expected


def test_a_smaller_sample_is_part_of_a_larger_one(small_world):
    build_working_tables(small_world, ExplainConfig())
    try:
        window = find_window(small_world, "2024-02", "2024-06")
        large = sample_cases(small_world, window, [], 1_000)
        small = sample_cases(small_world, window, [], 100)
    finally:
        drop_working_tables(small_world)
    assert (len(large), len(small)) == (1_000, 100)
    assert set(small.case_no) < set(large.case_no)
