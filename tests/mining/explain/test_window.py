"""Months."""

import pytest

from orchestration.mining.explain.window import months_before


@pytest.mark.parametrize(
    ("month", "count", "expected"),
    [
        ("2024-12", 11, "2024-01"),
        ("2024-01", 1, "2023-12"),
        ("2024-03", 0, "2024-03"),
        ("2024-02", 26, "2021-12"),
        ("2024-11", -2, "2025-01"),
    ],
)
def test_months_before(month, count, expected):
    assert months_before(month, count) == expected
