"""From options to the parameters of an analysis, and what is told when they make none."""

import json
from pathlib import Path

import pytest

from orchestration.cli.question import question, standing_parameters
from orchestration.stages.question import UnusableQuestion


def test_the_filters_of_a_file_of_options_and_of_months_are_put_together(tmp_path: Path) -> None:
    file = tmp_path / "parameters.json"
    file.write_text(json.dumps({"filters": [{"kind": "variants", "top": 3}], "lifecycle": "complete"}))
    asked = question(file, ['{"kind": "case_size", "min": 2}'], "2024-11", "2024-12")
    assert asked.lifecycle == "complete"
    assert [f["kind"] for f in asked.model_dump(by_alias=True)["filters"]] == [
        "variants",
        "time",
        "case_size",
    ]
    started = asked.model_dump(mode="json", by_alias=True)["filters"][1]
    assert (started["mode"], started["from"], started["to"]) == (
        "started",
        "2024-11-01T00:00:00Z",
        "2025-01-01T00:00:00Z",
    )


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (
            '{"kind": "tim"}',
            "filters[0]: Input tag 'tim' found using 'kind' does not match any of the expected",
        ),
        (
            '{"kind": "state", "in": ["done"]}',
            "filters[0].in[0]: Input should be 'completed', 'open' or 'left_cut'",
        ),
        (
            '{"kind": "all", "of": [{"kind": "time", "mode": "begun", "from": "2024-01-01T00:00:00Z"}]}',
            "filters[0].of[0].mode: Input should be 'contained', 'intersecting', 'started' or 'ended'",
        ),
        ('{"kind": "variants"}', "filters[0]: give either 'top' or 'coverage'"),
        ("{", "--filter is no JSON"),
        ("[]", "filters[0]: Input should be"),
    ],
)
def test_a_filter_that_is_none_is_told_with_its_place_and_what_would_be_one(text: str, told: str) -> None:
    with pytest.raises(UnusableQuestion) as refused:
        question(None, [text], None, None)
    assert told in str(refused.value)


@pytest.mark.parametrize(
    ("first", "last", "option"),
    [
        ("2024", None, "--from"),
        (None, "last", "--to"),
        ("2024-13", None, "--from"),
        (None, "2024-13", "--to"),
    ],
)
def test_a_month_that_is_none_is_told(first: str | None, last: str | None, option: str) -> None:
    with pytest.raises(UnusableQuestion, match=f"{option}: .* is no month"):
        question(None, [], first, last)


@pytest.mark.parametrize("text", ["[]", '{"filters": 3}'])
def test_a_file_of_something_else_is_told(tmp_path: Path, text: str) -> None:
    file = tmp_path / "parameters.json"
    file.write_text(text)
    with pytest.raises(UnusableQuestion, match="no object with a list of filters"):
        question(file, [], None, None)


def test_a_standing_analysis_gets_the_calendar_of_a_file(tmp_path: Path) -> None:
    file = tmp_path / "calendar.json"
    file.write_text('{"time_zone": "Europe/Berlin", "hours": {"monday": "09:00-17:00"}}')
    asked = standing_parameters(["Pay"], None, None, file)
    assert asked.calendar is not None
    assert asked.calendar.hours.monday == ("09:00-17:00",)
    assert standing_parameters([], None, None, None).calendar is None
    asked = standing_parameters([], None, None, None, '{"target": {"kind": "rework"}, "window_months": 3}')
    assert asked.explanation.target.kind == "rework"
    file.write_text('{"time_zone": "Europe/Berlin", "hours": {"monday": "22:00-06:00"}}')
    with pytest.raises(UnusableQuestion, match=r"calendar.hours.monday\[0\]: .* Write a night as two"):
        standing_parameters([], None, None, file)
