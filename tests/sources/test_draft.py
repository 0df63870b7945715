"""Records of a pull: each once, tombstones apart, in their order, however columns change."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestration.sources.draft import DraftedStream, PullDraft
from orchestration.sources.protocol import Page


def page(rows: list[dict[str, Any]], stream: str = "s", columns: tuple[str, ...] = ("id", "v")) -> Page:
    """Rows with ``id``, ``v``, and perhaps ``at`` (their cursor) and ``gone``."""
    schema = pa.schema([(name, pa.string()) for name in columns])
    records = pa.RecordBatch.from_pylist([{c: row.get(c) for c in columns} for row in rows], schema)
    deleted = pa.array([row.get("gone", False) for row in rows])
    return Page(
        stream,
        dict.fromkeys(columns, "text"),
        records,
        pa.array([row.get("at", 0) for row in rows], pa.int64()),
        deleted,
    )


def row(number: int, value: str | None = "x", at: int = 0, **more: Any) -> dict[str, Any]:
    return {"id": str(number), "v": value, "at": at, **more}


def finish(
    folder: Path, pages: list[Page], recent: Path | None = None, reread_from: dict[str, int] | None = None
) -> tuple[dict[str, DraftedStream], Path]:
    folder.mkdir()
    draft = PullDraft(folder)
    for one in pages:
        draft.add(one)
    drafted, remembered = draft.finish(recent, reread_from or {}, {"casetrail.pull": "1"})
    return {stream.stream: stream for stream in drafted}, remembered


def ids(path: Path) -> list[str]:
    return pq.read_table(path)["id"].to_pylist()


def test_what_was_pulled_before_is_a_duplicate_and_another_version_is_not(tmp_path: Path) -> None:
    _, recent = finish(tmp_path / "1", [page([row(1, at=5), row(2, at=7)])], reread_from={"s": 5})
    drafted, _ = finish(
        tmp_path / "2", [page([row(1, at=5), row(2, "y", at=8), row(3, None, at=9)])], recent, {"s": 8}
    )
    made = drafted["s"]
    assert (made.records, made.duplicate, made.rows, made.tombstone_rows) == (3, 1, 2, 0)
    assert ids(made.file) == ["2", "3"]


def test_only_what_can_be_given_again_is_remembered(tmp_path: Path) -> None:
    rows = [row(n, at=n) for n in range(10)]
    _, recent = finish(tmp_path / "1", [page(rows), page(rows, "other")], reread_from={"s": 7})
    held = pq.read_table(recent).to_pylist()
    assert sorted(r["cursor"] for r in held if r["stream"] == "s") == [7, 8, 9]
    assert len([r for r in held if r["stream"] == "other"]) == 10
    # What is remembered of one stream outlives a pull that has nothing of it.
    _, later = finish(tmp_path / "2", [page([row(11, at=11)])], recent, {"s": 10})
    assert sorted((r["stream"], r["cursor"]) for r in pq.read_table(later).to_pylist()) == [
        *(("other", n) for n in range(10)),
        ("s", 11),
    ]


def test_tombstones_are_apart_and_a_deletion_is_a_version_of_its_own(tmp_path: Path) -> None:
    _, recent = finish(tmp_path / "1", [page([row(1), row(2)])])
    drafted, _ = finish(tmp_path / "2", [page([row(1, gone=True), row(2), row(3, gone=True)])], recent)
    made = drafted["s"]
    assert (made.records, made.duplicate, made.rows, made.tombstone_rows) == (3, 1, 0, 2)
    assert ids(made.tombstones) == ["1", "3"]


def test_a_column_that_comes_or_goes_loses_nothing_and_makes_no_new_versions(tmp_path: Path) -> None:
    pages = [
        page([row(1)]),
        page([row(2, w="new")], columns=("id", "v", "w")),
        page([row(3)], columns=("id",)),
    ]
    drafted, recent = finish(tmp_path / "1", pages)
    table = pq.read_table(drafted["s"].file)
    assert table.to_pydict() == {"id": ["1", "2", "3"], "v": ["x", "x", None], "w": [None, "new", None]}
    again, _ = finish(tmp_path / "2", [page([row(1, w=None)], columns=("id", "v", "w"))], recent)
    assert again["s"].duplicate == 1


def test_values_are_told_apart_by_their_column(tmp_path: Path) -> None:
    rows = [{"id": "1", "v": None}, {"id": None, "v": "1"}, {"id": "", "v": "1"}, {"id": "1:v", "v": ""}]
    drafted, _ = finish(tmp_path / "1", [page(rows)])
    assert drafted["s"].duplicate == 0


def test_equal_pulls_have_equal_files_and_the_next_pull_others(tmp_path: Path) -> None:
    rows = [row(n % 40, at=n) for n in range(100)]
    one, _ = finish(tmp_path / "1", [page(rows[:50]), page(rows[50:])])
    two, _ = finish(tmp_path / "2", [page(rows)])
    assert one["s"].file.read_bytes() == two["s"].file.read_bytes()
    assert ids(one["s"].file) == [str(n) for n in range(40)]
    footer = pq.read_metadata(one["s"].file).metadata
    assert (footer[b"casetrail.pull"], footer[b"casetrail.stream"]) == (b"1", b"s")


def test_pages_behind_the_last_checkpoint_are_a_defect(tmp_path: Path) -> None:
    draft = PullDraft(tmp_path)
    draft.require_empty()
    draft.add(page([row(1)]))
    with pytest.raises(RuntimeError, match="1 records came behind the last checkpoint"):
        draft.require_empty()


@given(st.lists(st.tuples(st.integers(0, 9), st.sampled_from("xy")), max_size=30), st.integers(1, 5))
@settings(max_examples=20, deadline=None)
def test_whatever_is_given_twice_lands_once(
    tmp_path_factory: pytest.TempPathFactory, given_rows: list[tuple[int, str]], size: int
) -> None:
    folder, recent, landed = tmp_path_factory.mktemp("pulls"), None, []
    for number, start in enumerate(range(0, len(given_rows), size)):
        part = given_rows[max(0, start - 3) : start + size]  # an overlap
        drafted, recent = finish(folder / str(number), [page([row(n, v) for n, v in part])], recent)
        landed += [(int(r["id"]), r["v"]) for r in pq.read_table(drafted["s"].file).to_pylist()]
    assert landed == list(dict.fromkeys(given_rows))
