"""The table of a comparison: a row for each change, in units that a person reads, labels as they are."""

from typing import Any

import dagster as dg
import pytest

from orchestration.assets.comparisons import comparison_table
from tests.assets.test_reporting import HOSTILE

DAY = 86_400.0
CAPTION = "From north (n = 60) to south (n = 80) the mean of the cycle time went from 2.0 days to 5.0 days."


def difference(unit: str, kind: str, factor: float) -> dict[str, Any]:
    return {
        "part": "difference",
        "status": "explained",
        "target": {"kind": kind, "unit": unit},
        f"means_{unit}": [2 * factor, 5 * factor],
        f"difference_{unit}": 3 * factor,
        f"standard_error_{unit}": 0.25 * factor,
        "mix": [{"name": "region", f"effect_{unit}": factor, f"standard_error_{unit}": 0.125 * factor}],
        f"within_{unit}": 2 * factor,
        f"within_standard_error_{unit}": 0.2 * factor,
        "rates": [
            {
                "name": "product",
                "value": HOSTILE,
                f"excess_{unit}": -4 * factor,
                f"standard_error_{unit}": 0.5 * factor,
            }
        ],
    }


TRANSITIONS = {
    "part": "transitions",
    "changes": [
        {
            "source": HOSTILE,
            "target": "pay",
            "seconds_per_case": [0.0, DAY / 2],
            "change_seconds": DAY / 2,
            "standard_error_seconds": DAY / 10,
        }
    ],
}
ACTIVITIES = {
    "part": "activities",
    "changes": [{"name": "pay", "shares": [1.0, 0.2], "change": -0.8, "standard_error": 0.0123456}],
}


def shown(*features: dict[str, Any]) -> dict[str, Any]:
    return comparison_table({"comparison": [{"summary": CAPTION, "features": part} for part in features]})


def cells(table: Any) -> list[tuple[Any, ...]]:
    names = [column.name for column in table.schema.columns]
    assert {tuple(record.data) for record in table.records} == {tuple(names)}
    return [tuple(record.data.values()) for record in table.records]


def test_every_change_is_a_row_and_the_caption_is_what_is_said() -> None:
    found = shown(
        difference("seconds", "cycle_time", DAY), TRANSITIONS, ACTIVITIES, ACTIVITIES | {"part": "paths"}
    )
    assert list(found) == ["comparison", "changes"]
    assert isinstance(found["comparison"], dg.TextMetadataValue)
    assert found["comparison"].value == CAPTION
    assert cells(found["changes"]) == [
        ("mean", "cycle_time", 2.0, 5.0, 3.0, 0.25, "days"),
        ("mix", "region", None, None, 1.0, 0.125, "days"),
        ("within", "like cases", None, None, 2.0, 0.2, "days"),
        ("rate", f"product = {HOSTILE}", None, None, -4.0, 0.5, "days"),
        ("transition", f"{HOSTILE} → pay", 0.0, 0.5, 0.5, 0.1, "days per case"),
        ("activity", "pay", 100.0, 20.0, -80.0, 1.235, "% of cases"),
        ("path", "pay", 100.0, 20.0, -80.0, 1.235, "% of cases"),
    ]


def test_a_yes_no_is_shown_in_percent() -> None:
    found = shown(difference("probability", "outcome", 0.1))
    assert cells(found["changes"])[0] == ("mean", "outcome", 20.0, 50.0, 30.0, 2.5, "% of cases")


def test_what_is_not_compared_has_its_reason_alone() -> None:
    refused = {"part": "difference", "status": "not_explained", "reason": "3 cases are on both sides"}
    assert list(shown(refused)) == ["comparison"]


@pytest.mark.parametrize("stats", [{}, {"narrative": "told", "steps": []}])
def test_an_explanation_without_a_comparison_shows_none(stats: dict[str, Any]) -> None:
    assert comparison_table(stats) == {}
