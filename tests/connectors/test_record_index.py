"""The independent record count, against the standard library's reader and for every way to cut the bytes."""

import csv
import io
from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from orchestration.connectors.record_index import RecordIndex


@given(
    rows=st.lists(st.lists(st.text(alphabet='ab,"\n', max_size=5), min_size=1, max_size=3), max_size=8),
    cuts=st.lists(st.integers(0, 60), max_size=5),
    line_end=st.sampled_from(["\n", "\r\n"]),
)
def test_counts_and_lines_do_not_depend_on_how_the_bytes_are_cut(
    rows: list[list[str]], cuts: list[int], line_end: str
) -> None:
    buffer = io.StringIO(newline="")
    csv.writer(buffer, lineterminator=line_end).writerows(rows)
    text = buffer.getvalue()
    index = RecordIndex(",", 1, b"\n")
    edges = sorted({0, len(text), *(cut for cut in cuts if cut < len(text))})
    for start, end in pairwise(edges):
        index.feed(text[start:end].encode())
    index.finish()
    assert not index.irregular
    assert index.records == len(rows)
    # a record starts on the line after those of all earlier ones
    starts, line = [], 1
    for row in rows:
        starts.append(line)
        line_buffer = io.StringIO(newline="")
        csv.writer(line_buffer, lineterminator=line_end).writerow(row)
        line += line_buffer.getvalue().count("\n")
    assert index.lines_of(np.arange(1, len(rows) + 1)).tolist() == starts


@given(st.text(alphabet='ab,"\n', max_size=30))
def test_regular_quoting_is_never_claimed_of_text_that_a_strict_reader_refuses(text: str) -> None:
    index = RecordIndex(",", 1, b"\n")
    for character in text:
        index.feed(character.encode())
    try:
        expected = [row for row in csv.reader(io.StringIO(text, newline=""), strict=True) if row]
    except csv.Error:
        expected = None
    open_at_end = not index.irregular and index._in_quotes
    if expected is None:
        assert index.irregular or open_at_end
    elif not index.irregular:
        index.finish()
        assert index.records == len(expected)
