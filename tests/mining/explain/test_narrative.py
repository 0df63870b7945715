"""Durations in words."""

import pytest

from orchestration.mining.explain.narrative import Narrator

ELAPSED, WORKING = Narrator(), Narrator(is_working=True)


@pytest.mark.parametrize(
    ("seconds", "words", "of_work"),
    [
        (38, "38 s", "38 working seconds"),
        (600, "10 min", "10 working minutes"),
        (48 * 3600, "48.0 h", "48.0 working hours"),
        (86_400 * 3.14, "3.1 days", "75.4 working hours"),
        (-7200, "-2.0 h", "-2.0 working hours"),
        (86_400 * 365, "365.0 days", "8,760.0 working hours"),
    ],
)
def test_a_duration_has_the_unit_that_suits_it_and_says_if_it_is_working_time(seconds, words, of_work):
    assert ELAPSED.duration(seconds) == words
    assert WORKING.duration(seconds) == of_work


def test_the_sign_becomes_a_word():
    assert ELAPSED.more_or_less(-7200) == "2.0 h less"
    assert ELAPSED.more_or_less(7200) == "2.0 h more"
    assert WORKING.more_or_less(7200) == "2.0 working hours more"


@pytest.mark.parametrize("narrator", [ELAPSED, WORKING])
def test_a_probability_has_no_clock(narrator):
    assert narrator.more_or_less(-0.125, "probability") == "12.5 percentage points less"
