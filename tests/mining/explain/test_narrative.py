"""Durations in words."""

import pytest

from orchestration.mining.explain.narrative import duration, more_or_less


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(38, "38 s"), (600, "10 min"), (48 * 3600, "48.0 h"), (86_400 * 3.14, "3.1 days"), (-7200, "-2.0 h")],
)
def test_a_duration_has_the_unit_that_suits_it(seconds, words):
    assert duration(seconds) == words


def test_the_sign_becomes_a_word():
    assert more_or_less(-7200) == "2.0 h less"
    assert more_or_less(7200) == "2.0 h more"
