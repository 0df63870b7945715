"""What a table holds, as one hash, and the writing of that table as Parquet in one pass.

The hash tells contents apart, not encodings: neither chunking nor dictionaries, offsets, padding or the order
of the columns change it; the order of the rows does, and sorting is the caller's. Where a file lies belongs
to ``layout``.
"""

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

ROW_GROUP_ROWS = 65_536
"""Rows per row group, whatever the batches were: so equal content gives equal bytes."""

EXCLUDED_FROM_CONTENT = frozenset(
    {"workspace_id", "analysis_id", "partition_id", "arrival_id", "event_id", "source_sequence"}
)
"""Identities of tenant, run and delivery: the same input must have the same content in another workspace."""

_VERSION = "casetrail-content-1"

_LISTS = (pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list)
_TEXTS = (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view)
_BINARIES = (pa.types.is_binary, pa.types.is_large_binary, pa.types.is_binary_view)
_FIXED_WIDTHS = (pa.types.is_primitive, pa.types.is_decimal128)


class UnsupportedColumn(TypeError):
    """A column has a type that has no canonical form here."""


@dataclass(frozen=True)
class WrittenFile:
    """A Parquet file as it was written. ``bytes`` is its size on disk."""

    rows: int
    bytes: int
    content_sha256: str


def write_parquet(
    batches: pa.RecordBatchReader | pa.Table,
    path: Path,
    *,
    excluded: frozenset[str] = EXCLUDED_FROM_CONTENT,
    footer: Mapping[str, bytes] | None = None,
    row_group_rows: int = ROW_GROUP_ROWS,
) -> WrittenFile:
    """Write the rows in the order given, hashing them on the way; equal rows give equal bytes.

    ``excluded`` columns are written, but do not count for ``content_sha256``, nor does what ``footer`` adds to the
    file's own metadata: it must follow from the rows. Small row groups (of ``row_group_rows``, which divides
    ``ROW_GROUP_ROWS``) are for files of which only a part is read. UUIDs (Arrow's ``arrow.uuid``)
    get Parquet's UUID type, JSON is written as text. Memory holds one row group at a time. No file is left on
    failure.

    Raises:
        UnsupportedColumn: a column's type has no canonical form, with what to cast it to.
    """
    schema = _plain_schema(batches.schema)
    content = ContentHash(schema, excluded)
    try:
        # store_schema would embed Arrow's own description of the chunks' encodings.
        with pq.ParquetWriter(path, schema, compression="zstd", store_schema=False) as writer:
            for block in _row_groups(_plain(batches, schema), schema):
                content.update(block)
                writer.write_table(block, row_group_size=row_group_rows)
            if footer:
                writer.add_key_value_metadata({key.encode(): value for key, value in footer.items()})
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    return WrittenFile(content.rows, path.stat().st_size, content.hexdigest())


def content_sha256(
    batches: pa.RecordBatchReader | pa.Table, *, excluded: frozenset[str] = EXCLUDED_FROM_CONTENT
) -> str:
    """The hash that ``write_parquet`` gives for the same rows."""
    schema = _plain_schema(batches.schema)
    content = ContentHash(schema, excluded)
    for batch in _plain(batches, schema):
        content.update(batch)
    return content.hexdigest()


def parquet_content_sha256(path: Path, *, excluded: frozenset[str] = EXCLUDED_FROM_CONTENT) -> str:
    """The hash of the rows that a Parquet file holds, read in bounded memory."""
    with pq.ParquetFile(path) as file:
        batches = pa.RecordBatchReader.from_batches(
            file.schema_arrow, file.iter_batches(batch_size=ROW_GROUP_ROWS)
        )
        return content_sha256(batches, excluded=excluded)


class ContentHash:
    """The running hash of a table that comes in pieces: one stream per column and kind of buffer."""

    def __init__(self, schema: pa.Schema, excluded: frozenset[str]) -> None:
        """``schema`` must be plain: see ``_plain_type``."""
        self.rows = 0
        self._columns = {field.name: _hash_of(field.type) for field in schema if field.name not in excluded}

    def update(self, piece: pa.RecordBatch | pa.Table) -> None:
        """Add the next rows."""
        self.rows += piece.num_rows
        for name, column in self._columns.items():
            values = piece.column(name)
            for chunk in values.chunks if isinstance(values, pa.ChunkedArray) else [values]:
                column.update(chunk)

    def hexdigest(self) -> str:
        """The sha256 over the number of rows and every column's name, type and values."""
        columns = [[name, *self._columns[name].summary()] for name in sorted(self._columns)]
        return hashlib.sha256(json.dumps([_VERSION, self.rows, columns]).encode()).hexdigest()


class _ColumnHash(Protocol):
    """The hash of one column: where its nulls are, and its values without them."""

    def update(self, chunk: pa.Array) -> None: ...

    def summary(self) -> list[object]: ...


class _Nulls:
    """The places of the nulls, counted from the column's first row."""

    def __init__(self) -> None:
        self._rows = 0
        self._places = hashlib.sha256()

    def note(self, chunk: pa.Array) -> "np.ndarray[tuple[int], np.dtype[np.bool_]]":
        """Count the chunk's nulls; which of its rows hold a value."""
        valid: np.ndarray[tuple[int], np.dtype[np.bool_]] = chunk.is_valid().to_numpy(zero_copy_only=False)
        if chunk.null_count:
            self._places.update((np.flatnonzero(~valid) + self._rows).astype("<i8").data)
        self._rows += len(chunk)
        return valid

    def without(self, chunk: pa.Array) -> pa.Array:
        """Count the chunk's nulls; the chunk without them, as what lies beneath a null must not count."""
        self.note(chunk)
        return chunk.drop_null() if chunk.null_count else chunk

    def summary(self) -> list[object]:
        return [self._rows, self._places.hexdigest()]


class _FixedWidthHash:
    def __init__(self, kind: pa.DataType) -> None:
        self._kind = "uuid" if isinstance(kind, pa.UuidType) else str(kind)
        self._nulls = _Nulls()
        self._values = hashlib.sha256()

    def update(self, chunk: pa.Array) -> None:
        self._values.update(_values(self._nulls.without(chunk)))

    def summary(self) -> list[object]:
        return [self._kind, self._nulls.summary(), self._values.hexdigest()]


class _TextHash:
    """Strings and binaries: the lengths and the bytes, each as one stream."""

    def __init__(self, kind: pa.DataType) -> None:
        self._kind = str(kind)
        self._nulls = _Nulls()
        self._lengths = hashlib.sha256()
        self._bytes = hashlib.sha256()

    def update(self, chunk: pa.Array) -> None:
        chunk = self._nulls.without(chunk)
        if not len(chunk):
            return
        offsets = _offsets(chunk)
        self._lengths.update(np.diff(offsets).astype("<i8").data)
        if chunk.buffers()[2] is not None:
            self._bytes.update(memoryview(chunk.buffers()[2])[offsets[0] : offsets[-1]])

    def summary(self) -> list[object]:
        return [self._kind, self._nulls.summary(), self._lengths.hexdigest(), self._bytes.hexdigest()]


class _ListHash:
    """Lists: the lengths, and the elements of all lists as one column."""

    def __init__(self, kind: pa.ListType) -> None:
        self._nulls = _Nulls()
        self._lengths = hashlib.sha256()
        self._elements = _hash_of(kind.value_type)

    def update(self, chunk: pa.Array) -> None:
        if not len(chunk):
            return
        # Not drop_null: Arrow cannot do that for lists of UUIDs. flatten leaves the null lists out.
        valid = self._nulls.note(chunk)
        self._lengths.update(np.diff(_offsets(chunk))[valid].astype("<i8").data)
        self._elements.update(chunk.flatten())

    def summary(self) -> list[object]:
        return ["list", self._nulls.summary(), self._lengths.hexdigest(), self._elements.summary()]


def _hash_of(kind: pa.DataType) -> _ColumnHash:
    if pa.types.is_list(kind):
        return _ListHash(kind)
    if pa.types.is_string(kind) or pa.types.is_binary(kind):
        return _TextHash(kind)
    return _FixedWidthHash(kind)


def _values(chunk: pa.Array) -> memoryview | bytes:
    """The values of a chunk without nulls, little-endian."""
    if isinstance(chunk, pa.ExtensionArray):
        chunk = chunk.storage
    if pa.types.is_floating(chunk.type):
        numbers = chunk.to_numpy() + 0.0  # -0.0 becomes 0.0
        return np.where(np.isnan(numbers), np.nan, numbers).tobytes()  # NaN has many forms
    if pa.types.is_boolean(chunk.type):
        chunk = chunk.cast(pa.uint8())  # bits are packed, and a chunk may start in the middle of a byte
    width = chunk.type.bit_width // 8
    buffer = chunk.buffers()[1]
    return memoryview(buffer)[chunk.offset * width : (chunk.offset + len(chunk)) * width]


def _offsets(chunk: pa.Array) -> "np.ndarray[tuple[int], np.dtype[np.int32]]":
    return np.frombuffer(chunk.buffers()[1], dtype="<i4")[chunk.offset : chunk.offset + len(chunk) + 1]


def _plain_schema(schema: pa.Schema) -> pa.Schema:
    # Metadata may name the run that made it.
    return pa.schema([pa.field(f.name, _plain_type(f.name, f.type)) for f in schema])


def _plain_type(name: str, kind: pa.DataType) -> pa.DataType:
    """The one type in which a column is hashed and written, for all types that mean the same."""
    if pa.types.is_dictionary(kind):
        return _plain_type(name, kind.value_type)
    if _is_one_of(_LISTS, kind):
        return pa.list_(_plain_type(name, kind.value_type))
    if isinstance(kind, pa.JsonType) or _is_one_of(_TEXTS, kind):
        return pa.string()
    if isinstance(kind, pa.Bool8Type):
        return pa.bool_()
    if _is_one_of(_BINARIES, kind):
        return pa.binary()
    if pa.types.is_timestamp(kind) and kind.tz:
        return pa.timestamp(kind.unit, "UTC")  # the zone is for display; what is stored is UTC
    if isinstance(kind, pa.UuidType) or _is_one_of(_FIXED_WIDTHS, kind):
        return kind
    raise UnsupportedColumn(
        f"column {name} is {kind}: cast it to a number, text, boolean, time, UUID or a list of these "
        "(a HUGEINT, as sum() makes, to BIGINT)"
    )


def _is_one_of(tests: Iterable[Callable[[pa.DataType], bool]], kind: pa.DataType) -> bool:
    return any(test(kind) for test in tests)


def _plain(batches: pa.RecordBatchReader | pa.Table, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    pieces: Iterable[pa.RecordBatch] = batches.to_batches() if isinstance(batches, pa.Table) else batches
    for batch in pieces:
        columns = [
            _plain_array(column, field.type) for column, field in zip(batch.columns, schema, strict=True)
        ]
        yield pa.RecordBatch.from_arrays(columns, schema=schema)


def _plain_array(column: pa.Array, kind: pa.DataType) -> pa.Array:
    if column.type == kind:
        return column
    if isinstance(column.type, pa.JsonType | pa.Bool8Type):
        column = column.storage
    return pc.cast(column, kind)


def _row_groups(batches: Iterable[pa.RecordBatch], schema: pa.Schema) -> Iterator[pa.Table]:
    """The same rows in tables of ``ROW_GROUP_ROWS``, the last one shorter."""
    waiting: list[pa.RecordBatch] = []
    rows = 0
    for batch in batches:
        waiting.append(batch)
        rows += batch.num_rows
        while rows >= ROW_GROUP_ROWS:
            table = pa.Table.from_batches(waiting, schema)
            yield table.slice(0, ROW_GROUP_ROWS).combine_chunks()
            waiting, rows = table.slice(ROW_GROUP_ROWS).to_batches(), rows - ROW_GROUP_ROWS
    if rows:
        yield pa.Table.from_batches(waiting, schema).combine_chunks()
