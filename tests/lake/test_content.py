import datetime
import hashlib
import uuid
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from orchestration.lake.content import (
    ROW_GROUP_ROWS,
    UnsupportedColumn,
    content_sha256,
    parquet_content_sha256,
    write_parquet,
)

COLUMNS: dict[str, tuple[pa.DataType, st.SearchStrategy[Any]]] = {
    "text": (pa.string(), st.text(max_size=5)),
    "blob": (pa.binary(), st.binary(max_size=5)),
    "whole": (pa.int64(), st.integers(-(2**63), 2**63 - 1)),
    "small": (pa.uint8(), st.integers(0, 255)),
    "real": (pa.float64(), st.floats()),
    "flag": (pa.bool_(), st.booleans()),
    "moment": (
        pa.timestamp("us"),
        st.datetimes(datetime.datetime(1970, 1, 1), datetime.datetime(2100, 1, 1)),
    ),
    "price": (pa.decimal128(10, 2), st.integers(-1000, 1000).map(lambda cents: Decimal(cents) / 100)),
    "id": (pa.uuid(), st.uuids().map(lambda value: value.bytes)),
    "steps": (pa.list_(pa.string()), st.lists(st.none() | st.text(max_size=3), max_size=3)),
    "features": (pa.list_(pa.float64()), st.lists(st.floats(), max_size=3)),
    "ids": (pa.list_(pa.uuid()), st.lists(st.uuids().map(lambda value: value.bytes), max_size=2)),
}
ROW = st.tuples(*(st.none() | values for _, values in COLUMNS.values()))


def array(values: list[Any], kind: pa.DataType) -> pa.Array:
    if kind == pa.list_(pa.uuid()):
        plain = pa.array(values, pa.list_(pa.binary(16)))
        elements = pa.ExtensionArray.from_storage(pa.uuid(), plain.values)
        return pa.ListArray.from_arrays(plain.offsets, elements, mask=plain.is_null())
    if kind == pa.uuid():
        return pa.ExtensionArray.from_storage(kind, pa.array(values, pa.binary(16)))
    return pa.array(values, kind)


def table(rows: list[tuple[Any, ...]]) -> pa.Table:
    columns = list(zip(*rows, strict=True)) if rows else [() for _ in COLUMNS]
    arrays = [array(list(v), kind) for v, (kind, _) in zip(columns, COLUMNS.values(), strict=True)]
    return pa.table(arrays, names=list(COLUMNS))


def sliced(whole: pa.Table, cuts: list[int]) -> pa.Table:
    """The same rows in chunks, each at an offset into its buffers."""
    edges = sorted({0, whole.num_rows, *(cut % (whole.num_rows + 1) for cut in cuts)})
    pieces = [whole.slice(start, end - start) for start, end in pairwise(edges)]
    return pa.concat_tables(pieces) if pieces else whole


@given(rows=st.lists(ROW, max_size=30), cuts=st.lists(st.integers(0, 100), max_size=5))
def test_chunks_and_offsets_do_not_change_the_content(rows: list[tuple[Any, ...]], cuts: list[int]) -> None:
    whole = table(rows)

    assert content_sha256(sliced(whole, cuts)) == content_sha256(whole)


@given(rows=st.lists(ROW, min_size=1, max_size=10), padding=st.lists(ROW, min_size=1, max_size=3))
def test_what_lies_beside_the_rows_does_not_count(
    rows: list[tuple[Any, ...]], padding: list[tuple[Any, ...]]
) -> None:
    inside = table(padding + rows + padding).slice(len(padding), len(rows))

    assert content_sha256(inside) == content_sha256(table(rows))


@given(values=st.lists(st.none() | st.sampled_from("abc")))
def test_encodings_do_not_change_the_content(values: list[str | None]) -> None:
    plain = pa.array(values, pa.string())
    hashes = {
        content_sha256(pa.table({"x": form}))
        for form in (
            plain,
            plain.dictionary_encode(),
            plain.cast(pa.large_string()),
            plain.cast(pa.string_view()),
            pa.ExtensionArray.from_storage(pa.json_(), plain),
        )
    }

    assert len(hashes) == 1


def test_values_beneath_nulls_do_not_count() -> None:
    missing = np.array([False, True, False])
    one = pa.array(np.array([1, 2, 3]), mask=missing)
    other = pa.array(np.array([1, 9, 3]), mask=missing)

    assert content_sha256(pa.table({"x": one})) == content_sha256(pa.table({"x": other}))


def test_zeros_and_nans_have_one_form() -> None:
    strange_nan = np.frombuffer(b"\x01\x00\x00\x00\x00\x00\xf8\xff", dtype="<f8")[0]
    plain = pa.table({"x": [0.0, float("nan")]})
    strange = pa.table({"x": pa.array(np.array([-0.0, strange_nan]))})

    assert content_sha256(plain) == content_sha256(strange)


@given(rows=st.lists(ROW, min_size=1, max_size=8), data=st.data())
@settings(suppress_health_check=[HealthCheck.too_slow])
def test_every_changed_value_is_seen(rows: list[tuple[Any, ...]], data: st.DataObject) -> None:
    place = data.draw(st.integers(0, len(rows) - 1))
    column = data.draw(st.integers(0, len(COLUMNS) - 1))
    value = data.draw(st.none() | list(COLUMNS.values())[column][1])
    changed = list(rows)
    changed[place] = (*rows[place][:column], value, *rows[place][column + 1 :])
    before, after = table(rows), table(changed)

    one, other = (repr(t.to_pylist()).replace("-0.0", "0.0") for t in (before, after))  # they are one value
    assert (content_sha256(before) == content_sha256(after)) is (one == other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"x": ["ab", "c"]}, {"x": ["a", "bc"]}),
        ({"x": ["a", ""]}, {"x": ["", "a"]}),
        ({"x": ["", None]}, {"x": [None, ""]}),
        ({"x": [1, None]}, {"x": [None, 1]}),
        ({"x": [[1], [2, 3]]}, {"x": [[1, 2], [3]]}),
        ({"x": [[1], None]}, {"x": [None, [1]]}),
        ({"x": [[None, 1], []]}, {"x": [[1], [None]]}),
        ({"x": ["a"], "y": ["b"]}, {"x": ["b"], "y": ["a"]}),
        ({"x": ["a"]}, {"y": ["a"]}),
        ({"x": ["1"]}, {"x": [b"1"]}),
        ({"x": [1]}, {"x": [1.0]}),
        ({"x": [1, 2]}, {"x": [2, 1]}),
        ({"x": [True]}, {"x": [False]}),
        ({"x": [None, None]}, {"x": [None, None, None]}),
    ],
)
def test_what_must_differ_differs(one: dict[str, list[Any]], other: dict[str, list[Any]]) -> None:
    kinds = {"x": pa.string()} if one["x"] == [None, None] else None
    schema = pa.schema(kinds) if kinds else None

    assert content_sha256(pa.table(one, schema=schema)) != content_sha256(pa.table(other, schema=schema))


def test_the_order_of_the_columns_does_not_count() -> None:
    whole = pa.table({"x": [1, 2], "y": ["a", "b"]})

    assert content_sha256(whole) == content_sha256(whole.select(["y", "x"]))


def test_identities_of_tenant_run_and_delivery_do_not_count() -> None:
    def events(workspace: bytes, activity: str) -> pa.Table:
        ids = pa.ExtensionArray.from_storage(pa.uuid(), pa.array([workspace], pa.binary(16)))
        return pa.table({"workspace_id": ids, "event_id": [workspace.hex()], "activity": [activity]})

    here, there = events(b"a" * 16, "pay"), events(b"b" * 16, "pay")

    assert content_sha256(here) == content_sha256(there)
    assert content_sha256(here) != content_sha256(events(b"a" * 16, "ship"))
    assert content_sha256(here, excluded=frozenset()) != content_sha256(there, excluded=frozenset())


def test_the_zone_in_which_a_time_is_shown_does_not_count() -> None:
    utc, berlin = (pa.array([0, 1], pa.timestamp("us", tz)) for tz in ("UTC", "Europe/Berlin"))

    assert content_sha256(pa.table({"x": utc})) == content_sha256(pa.table({"x": berlin}))


@pytest.mark.parametrize("rows", [0, 1, ROW_GROUP_ROWS - 1, ROW_GROUP_ROWS, 2 * ROW_GROUP_ROWS + 17])
def test_equal_rows_give_equal_bytes(rows: int, tmp_path: Path) -> None:
    connection = duckdb.connect(config={"arrow_lossless_conversion": True})
    whole = connection.execute(
        """
        select md5(range::varchar)::uuid as id, range, 'step ' || range % 7 as activity, [range, null] as pair
        from range(?)
        """,
        [rows],
    ).to_arrow_table()
    forms = (whole, sliced(whole, [1, 5, 70_000]), whole.replace_schema_metadata({"run": "42"}))
    readers = [
        pa.RecordBatchReader.from_batches(form.schema, form.to_batches(max_chunksize=size))
        for form, size in zip(forms, (10_000, 65_536, 100_000), strict=True)
    ]

    written = [write_parquet(reader, tmp_path / str(n)) for n, reader in enumerate(readers)]

    assert len({hashlib.sha256((tmp_path / str(n)).read_bytes()).digest() for n in range(3)}) == 1
    assert len(set(written)) == 1
    assert written[0].rows == rows
    assert written[0].bytes == (tmp_path / "0").stat().st_size
    groups = pq.ParquetFile(tmp_path / "0").metadata
    assert [groups.row_group(n).num_rows for n in range(groups.num_row_groups)] == [
        min(ROW_GROUP_ROWS, rows - start) for start in range(0, rows, ROW_GROUP_ROWS)
    ]


def test_duckdb_reads_every_type_back(tmp_path: Path) -> None:
    connection = duckdb.connect(config={"arrow_lossless_conversion": True})
    connection.execute(
        """
        create table t as select
            uuid() as id, null::uuid as no_id, [uuid()] as ids, true as flag, 'x' as name,
            '\\x01'::blob as bytes, ['a', null] as steps, [1.5, 2.5]::double[] as features, 7::int as n,
            1.25::decimal(10, 2) as price,
            timestamp '2024-01-02 03:04:05.678901' as moment, timestamptz '2024-01-02 03:04:05+00' as zoned,
            date '2024-01-02' as day
        from range(3)
        """
    )
    file = tmp_path / "t.parquet"

    written = write_parquet(connection.execute("from t").to_arrow_reader(), file)

    again = f"from read_parquet('{file}')"
    assert connection.execute(f"describe {again}").fetchall() == connection.execute("describe t").fetchall()
    assert connection.execute(again).fetchall() == connection.execute("from t").fetchall()
    assert content_sha256(connection.execute(again).to_arrow_table()) == written.content_sha256
    assert parquet_content_sha256(file) == written.content_sha256
    assert isinstance(connection.execute(again).fetchall()[0][0], uuid.UUID)


def test_json_is_written_as_text(tmp_path: Path) -> None:
    connection = duckdb.connect(config={"arrow_lossless_conversion": True})
    reader = connection.execute("""select '{"a": 1}'::json as attributes""").to_arrow_reader()

    write_parquet(reader, tmp_path / "t.parquet")

    kinds = connection.execute(f"describe from read_parquet('{tmp_path}/t.parquet')").fetchall()
    assert kinds[0][:2] == ("attributes", "VARCHAR")


def test_a_column_without_canonical_form_is_refused(tmp_path: Path) -> None:
    connection = duckdb.connect(config={"arrow_lossless_conversion": True})
    reader = connection.execute("select sum(range::bigint) as total from range(3)").to_arrow_reader()

    with pytest.raises(UnsupportedColumn, match=r"column total is .*hugeint.*cast it .*BIGINT"):
        write_parquet(reader, tmp_path / "t.parquet")
    assert not list(tmp_path.iterdir())


def test_no_half_file_is_left(tmp_path: Path) -> None:
    connection = duckdb.connect()
    reader = connection.execute(
        "select case when range = 150_000 then error('broken') else range end as x from range(200_000)"
    ).to_arrow_reader(10_000)

    with pytest.raises(Exception, match="broken"):
        write_parquet(reader, tmp_path / "t.parquet")
    assert not list(tmp_path.iterdir())
