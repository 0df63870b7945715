"""What the UI is given of a month: short Markdown, plain text for what a log says, numbers that plot."""

import base64
import re
from typing import Any
from xml.etree import ElementTree

import dagster as dg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestration.assets.reporting import (
    MOST_INLINE,
    audit_list,
    bar_chart,
    check_results,
    column_schema,
    month_metadata,
    numbers,
    sentence,
)
from orchestration.stages.workbench import MonthOutcome

SVG = "{http://www.w3.org/2000/svg}"
HOSTILE = "![x](http://stranger.example/x.png) <img src=x> [y](z)"
PASSED = {
    "audit": "conservation",
    "passed": True,
    "detail": "7 raw rows = 7 events + 0 superseded or duplicate",
}
FAILED = {
    "audit": "total_order",
    "passed": False,
    "detail": "2 places in a case are held by more than one event",
}

labels = st.text(st.characters(exclude_categories=()), max_size=200)
values = st.integers(0, 2**63 - 1) | st.floats(0, 1e18, allow_nan=False)


def made(dataset: str = "events", state: str = "made", **changes: Any) -> MonthOutcome:
    whole: dict[str, Any] = {
        "rows": 7,
        "content_sha256": "ab" * 32,
        "object_key": "w/analyses/a/events/2024-03-abab.parquet",
        "bytes": 4096,
        "seconds": 0.25,
        "inputs": [{"object": "w/raw/csv_upload/2024-03/x.parquet", "rows": 7}],
        "audits": [PASSED],
        "stats": {"events": 7, "cases": 2, "whole_seconds": True, "top": [["order", 4], ["pay", 3]]},
        "code_version": "v1",
    }
    return MonthOutcome(dataset, "2024-03", state, **(whole | changes))


def drawn(markdown: str) -> ElementTree.Element:
    found = re.fullmatch(r"(?s).*\(data:image/svg\+xml;base64,([A-Za-z0-9+/=]+)\)", markdown)
    assert found
    return ElementTree.fromstring(base64.b64decode(found[1]))


@given(st.lists(st.tuples(labels, values), min_size=1, max_size=10))
def test_a_bar_chart_is_always_inline_and_always_a_picture(bars: list[tuple[str, float]]) -> None:
    markdown = bar_chart(bars, "Events by activity")
    assert len(markdown) < MOST_INLINE
    svg = drawn(markdown)
    spans = svg.findall(f"{SVG}text/{SVG}tspan")
    path = svg.find(f"{SVG}path")
    assert path is not None
    assert 1 <= len(spans) == path.attrib["d"].count("M") <= len(bars)
    lengths = [int(length) for length in re.findall(r"h(\d+)v12", path.attrib["d"])]
    assert all(1 <= length <= int(svg.attrib["width"]) for length in lengths)


def test_the_bars_are_as_long_as_their_numbers() -> None:
    svg = drawn(bar_chart([["order", 300], ["pay", 150], ["fix", 0]], "Events by activity"))
    path = svg.find(f"{SVG}path")
    assert path is not None
    assert re.findall(r"h(\d+)v", path.attrib["d"]) == ["300", "150", "1"]
    assert [span.text for span in svg.iter(f"{SVG}tspan")] == ["order: 300", "pay: 150", "fix: 0"]


def test_long_labels_are_cut_so_that_all_five_bars_are_shown() -> None:
    svg = drawn(bar_chart([["Receive the final payment of " * 4, 1_234_567]] * 5, "Passages by step"))
    assert [span.text for span in svg.iter(f"{SVG}tspan")] == ["Receive the final paymen: 1,234,567"] * 5


def test_a_month_that_was_made_tells_everything_text_first() -> None:
    metadata = month_metadata(made())
    assert next(iter(metadata)) == "text"
    assert metadata["text"].value == "**7** events in 2024-03, made in this run."
    assert metadata["dagster/row_count"] == 7
    assert metadata["content_sha256"] == "ab" * 32
    assert metadata["object"].endswith("2024-03-abab.parquet")
    assert (metadata["bytes"], metadata["seconds"], metadata["code_version"]) == (4096, 0.25, "v1")
    assert metadata["inputs"].value == [{"object": "w/raw/csv_upload/2024-03/x.parquet", "rows": 7}]
    assert metadata["cases"] == 2
    assert len(list(drawn(metadata["picture"].value).iter(f"{SVG}tspan"))) == 2
    assert {"whole_seconds", "top", "events"}.isdisjoint(metadata)


def test_an_empty_month_says_so_and_claims_nothing() -> None:
    metadata = month_metadata(MonthOutcome("events", "2024-03", "empty", 0))
    assert metadata.pop("text").value == "Nothing in 2024-03."
    assert metadata == {"dagster/row_count": 0, "state": "empty"}


def test_a_month_that_was_carried_over_says_so_and_still_tells_its_content() -> None:
    metadata = month_metadata(made(state="carried over"))
    assert metadata["text"].value == "**7** events in 2024-03, carried over: the inputs are unchanged."
    assert metadata["content_sha256"] == "ab" * 32
    assert metadata["state"] == "carried over"


@pytest.mark.parametrize(
    ("dataset", "state", "told"),
    [
        ("raw_records", "landed", "**7** raw records in 2024-03, landed."),
        ("process_map", "made", "**7** edges of the process map in 2024-03, made in this run."),
        ("provenance", "released as 1f", "**7** events in 2024-03, released as 1f."),
    ],
)
def test_the_sentence_names_what_the_rows_are(dataset: str, state: str, told: str) -> None:
    assert sentence(made(dataset, state)) == told


def test_what_a_log_says_is_never_markdown() -> None:
    stats = {"narrative": HOSTILE, "bottlenecks": f"{HOSTILE}\n\nsecond", "top": [[HOSTILE, 1]]}
    metadata = month_metadata(made("explanations", stats=stats))
    for name in ("narrative", "bottleneck 1", "bottleneck 2"):
        assert isinstance(metadata[name], dg.TextMetadataValue)
    assert metadata["narrative"].value == metadata["bottleneck 1"].value == HOSTILE
    shown = [v.value for v in metadata.values() if isinstance(v, dg.MarkdownMetadataValue)]
    assert len(shown) == 3
    assert "stranger" not in "".join(shown)


def test_bottlenecks_are_a_table_whose_cells_are_plain_text() -> None:
    step = {
        **{
            "source": HOSTILE,
            "target": "pay",
            "count": 1_200,
            "share": 0.4567,
            "factors": ["region", "role"],
        },
        **{"total_seconds": 864_000.0, "mean_seconds": 720.0, "median_seconds": 60.0, "p90_seconds": 2_000.0},
    }
    stats = {"narrative": "told", "steps": [step], "top": [[f"{HOSTILE} > pay", 10.0]]}
    metadata = month_metadata(made("explanations", stats=stats))
    (record,) = metadata["bottlenecks"].records
    assert record.data == {
        **{"rank": 1, "from": HOSTILE, "to": "pay", "passages": 1_200, "share_percent": 45.7},
        **{"total_days": 10.0, "mean_days": 0.008, "median_days": 0.001, "p90_days": 0.023},
        "goes_with": "region, role",
    }
    assert len(metadata["picture"].value) < MOST_INLINE
    assert metadata["picture"].value.startswith("Days by step")
    assert "bottlenecks" not in month_metadata(made("explanations", stats={"steps": [], "top": []}))


def test_working_time_is_said_to_be_that() -> None:
    told = month_metadata(made("explanations", stats={"clock": "working"}))["clock"]
    assert told.value.startswith("Durations are working time")
    assert "clock" not in month_metadata(made("explanations", stats={"completed_cases": 7}))


def test_an_audit_is_shown_as_it_is_even_if_it_looks_like_markdown() -> None:
    told = audit_list([PASSED, FAILED | {"detail": HOSTILE}])
    assert told.splitlines()[0].startswith("- passed: conservation, 7 raw rows ")
    assert told.splitlines()[1].startswith(r"- **failed**: total\_order, \!\[x\]\(http\:\/\/")


def test_the_numbers_are_in_units_that_a_person_reads() -> None:
    day = 86_400_000_000
    stats = {
        "rows": 4,
        "events": 9,
        "completed": 2,
        "total_cycle_time_us": 3 * day,
        "whole": True,
        "last_end": "x",
    }
    assert numbers(stats) == {"mean_cycle_time_days": 1.5, "completed": 2, "total_cycle_time_days": 3.0}
    assert numbers({"completed": 0, "total_cycle_time_us": None}) == {"completed": 0}


def test_a_check_names_the_partitions_that_failed() -> None:
    outcomes = {"acme": [made(audits=[PASSED, FAILED])], "beta": [made(audits=[PASSED])], "gamma": []}
    conservation, order = check_results(outcomes, "events", ["conservation", "total_order"])
    assert (conservation.passed, order.passed) == (True, False)
    assert conservation.metadata["months_checked"].value == 2
    assert "failed" not in conservation.metadata
    assert order.metadata["failed"].value == f"2024-03|acme: {FAILED['detail']}"


def test_a_column_may_be_null_unless_its_contract_says_otherwise() -> None:
    (schema,) = column_schema({"activity": "varchar", "role": "varchar"}, ["role"]).values()
    assert [(c.name, c.type, c.constraints.nullable) for c in schema.columns] == [
        ("activity", "varchar", False),
        ("role", "varchar", True),
    ]


def test_what_was_not_joined_is_a_table() -> None:
    join = {
        "reason": "key_shared",
        "tier": "weak",
        "rule": "email",
        "persons": 9,
        "records": 12,
        "examples": [["crm", HOSTILE], ["mail", "7"]],
    }
    shown = month_metadata(made("provenance", stats={"joins_refused": 1, "refused_joins": [join]}))
    (row,) = shown["refused_joins"].records
    assert row.data["such_as"] == f"crm:{HOSTILE}, mail:7"
    assert (row.data["persons"], row.data["records"], row.data["links"]) == (9, 12, "email")
    assert shown["joins_refused"] == 1
    assert "refused_joins" not in month_metadata(made())
