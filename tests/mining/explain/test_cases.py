"""Cases as columns."""

import numpy as np
import pyarrow as pa
import pytest

from orchestration.mining.explain.cases import Attribute, count_visits, numbers_of


@pytest.mark.parametrize(
    ("word", "number"),
    [("12", 12.0), ("-1.5e3", -1500.0), (".5", 0.5), ("5.", 5.0), ("+3", 3.0), (" 4 ", 4.0), ("007", 7.0)],
)
def test_a_word_that_is_a_number(word, number):
    assert numbers_of(pa.chunked_array([[word]])).tolist() == [number]


@pytest.mark.parametrize(
    "word", [None, "", "unknown", "1e", "1_000", "1,5", "0x1F", "nan", "inf", "1e999", "12 kg", "2024-01-31"]
)
def test_a_word_that_is_none(word):
    assert np.isnan(numbers_of(pa.chunked_array([pa.array([word], pa.string())]))).all()


@pytest.mark.parametrize(
    ("words", "expected"),
    [(["1", None, "2"], True), (["1", "two"], False), ([None, None], False), (["x"], False), ([], False)],
)
def test_an_attribute_is_a_number_if_all_of_its_values_are(words, expected):
    column = pa.chunked_array([pa.array(words, pa.string())])
    assert Attribute(column, numbers_of(column)).is_number is expected


def test_a_visit_has_the_first_performers_that_are_known():
    steps = {
        "case": np.array([0, 0, 0, 0, 1]),
        "activity": np.array([2, 1, 2, 2, 2]),
        "resource": np.array([-1, 5, 7, 6, -1]),
        "role": np.array([3, -1, 4, 4, 0]),
        "org_unit": np.array([-1, -1, -1, -1, 8]),
    }
    visits = {name: column.tolist() for name, column in count_visits(steps).items()}
    assert visits == {
        "case": [0, 0, 1],
        "activity": [1, 2, 2],
        "count": [1, 3, 1],
        "resource": [5, 7, -1],
        "role": [-1, 3, 0],
        "org_unit": [-1, -1, 8],
    }


def test_no_steps_are_no_visits():
    none = np.array([], dtype=np.int32)
    visits = count_visits(dict.fromkeys(("case", "activity", "resource", "role", "org_unit"), none))
    assert [len(column) for column in visits.values()] == [0] * 6
