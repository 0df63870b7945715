"""Reading delimited text: every record either has the header's columns or is rejected with its line.

The parser is pyarrow's, fed with clean UTF-8; a ``RecordIndex`` counts the records of the same bytes
independently. All values stay text. An empty field without quotes is null, ``""`` is the empty string,
nothing else is null.
"""

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from orchestration.connectors.archive import Limits, Progress, open_expanded
from orchestration.connectors.columns import ColumnNames
from orchestration.connectors.dialect import SAMPLE_BYTES, Dialect, read_dialect
from orchestration.connectors.errors import UnreadableFile
from orchestration.connectors.record_index import RecordIndex
from orchestration.connectors.staging import REJECTS_SCHEMA, Staged, literal
from orchestration.connectors.text import CleanText

_BLOCK = 8 << 20


def stage_csv(
    path: Path,
    scratch: Path,
    *,
    encoding: str | None,
    delimiter: str | None,
    limits: Limits,
    progress: Progress | None = None,
    max_records: int | None = None,
) -> Staged:
    """Read a delimited text file into ``scratch``.

    Raises:
        UnreadableFile: The file cannot be read without losing something.
        InvalidMapping: The given encoding is unknown.
    """
    with open_expanded(path, limits, progress) as stream:
        text = CleanText(stream, encoding)
        sample = text.peek(SAMPLE_BYTES)
        dialect = read_dialect(sample, delimiter, complete=len(sample) < SAMPLE_BYTES)
        if len(dialect.header) > limits.columns:
            raise UnreadableFile(
                f"The header has {len(dialect.header):,} columns; {limits.columns:,} are the limit."
            )
        names = ColumnNames()
        columns = names.add_all(dialect.header)
        text.read(dialect.data_offset)
        index = RecordIndex(dialect.delimiter, dialect.first_data_line, dialect.line_end)
        with _StagedFile(scratch, columns) as staged:
            truncated = _parse(_Counted(text, index), dialect, index, staged, limits, max_records)
    if not truncated:
        index.finish()
        if index.irregular:
            _recount(path, dialect, text.encoding, limits, index)
        _require_equal(staged.rows + staged.rejected, index.records)
    return Staged(
        format="csv",
        columns=tuple((name, "string") for name in columns),
        relation=f"SELECT * FROM read_parquet({literal(staged.path)})",
        records=staged.rows + staged.rejected,
        truncated=truncated,
        rejects=staged.rejects_path if staged.rejected else None,
        lines_of=lambda records: index.lines_of(np.array(records, dtype=np.int64)).tolist(),
        encoding=text.encoding,
        delimiter=dialect.delimiter,
        nul_count=text.nul_count,
        warnings=tuple(names.warnings),
    )


class _Counted(io.RawIOBase):
    """The clean text as a file for pyarrow, with every byte shown to the index."""

    def __init__(self, text: CleanText, index: RecordIndex) -> None:
        super().__init__()
        self._text, self._index = text, index

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1, /) -> bytes:
        chunk = self._text.read(size)
        self._index.feed(chunk)
        return chunk

    def is_empty(self) -> bool:
        return not self._text.peek(1)


class _StagedFile:
    """Writes parsed batches with their record numbers, and the rejected records apart."""

    def __init__(self, scratch: Path, columns: tuple[str, ...]) -> None:
        self.path, self.rejects_path = scratch / "staged.parquet", scratch / "rejects.parquet"
        self.rows = self.rejected = 0
        self._width = len(columns)
        self.schema = pa.schema([("_row_number", pa.int64()), *((name, pa.string()) for name in columns)])
        self._writer = pq.ParquetWriter(self.path, self.schema, compression="lz4")
        self._rejects_writer = pq.ParquetWriter(self.rejects_path, REJECTS_SCHEMA, compression="lz4")
        self._pending: list[pa_csv.InvalidRow] = []

    def __enter__(self) -> "_StagedFile":
        return self

    def __exit__(self, *_: object) -> None:
        self._writer.close()
        self._rejects_writer.close()

    def reject(self, row: pa_csv.InvalidRow) -> str:
        """Take a record with the wrong number of fields from the parser; it is kept, not dropped."""
        self._pending.append(row)
        return "skip"

    def write(self, batch: pa.RecordBatch) -> None:
        """Append a batch; its records have the numbers that follow, save those of rejected records."""
        first = self.rows + self.rejected + 1
        numbers = np.arange(first, first + batch.num_rows + len(self._pending), dtype=np.int64)
        numbers = numbers[~np.isin(numbers, [row.number for row in self._pending])][: batch.num_rows]
        self._writer.write_batch(pa.record_batch([pa.array(numbers), *batch.columns], schema=self.schema))
        self.rows += batch.num_rows
        self.flush_rejects(int(numbers[-1]) if numbers.size else first - 1)

    def flush_rejects(self, up_to: int | None = None) -> None:
        """Write the rejected records, those up to a record number or all."""
        due = [row for row in self._pending if up_to is None or row.number < up_to]
        self._pending = self._pending[len(due) :]
        self.rejected += len(due)
        if due:
            self._rejects_writer.write_table(
                pa.Table.from_pylist([self._reject(r) for r in due], REJECTS_SCHEMA)
            )

    def _reject(self, row: pa_csv.InvalidRow) -> dict[str, Any]:
        message = f"The record has {row.actual_columns} fields, the header has {self._width}."
        return {"row_number": row.number, "message": message, "raw": row.text}


def _parse(
    source: _Counted,
    dialect: Dialect,
    index: RecordIndex,
    staged: _StagedFile,
    limits: Limits,
    max_records: int | None,
) -> bool:
    """Stage the records; True if it stopped at ``max_records``."""
    if source.is_empty():
        return False
    try:
        for batch in _batches(source, dialect, staged, limits):
            room = None if max_records is None else max_records - staged.rows - staged.rejected
            if room is not None and batch.num_rows > room:
                staged.write(batch.slice(0, room))
                return True
            staged.write(batch)
    except pa.ArrowInvalid as error:
        index.finish()  # says where, if a quote that is never closed is the cause
        raise UnreadableFile(
            f"A record after record {staged.rows + staged.rejected:,} cannot be parsed, or is longer than "
            f"{limits.record_bytes:,} bytes: {error}"
        ) from error
    staged.flush_rejects()
    return False


def _batches(
    source: _Counted, dialect: Dialect, staged: _StagedFile, limits: Limits
) -> Iterator[pa.RecordBatch]:
    names = staged.schema.names[1:]
    reader = pa_csv.open_csv(
        pa.PythonFile(source, mode="r"),
        # one thread: with several, pyarrow does not number the rejected records
        read_options=pa_csv.ReadOptions(
            use_threads=False, block_size=min(_BLOCK, limits.record_bytes), column_names=names
        ),
        parse_options=pa_csv.ParseOptions(
            delimiter=dialect.delimiter, newlines_in_values=True, invalid_row_handler=staged.reject
        ),
        convert_options=pa_csv.ConvertOptions(
            check_utf8=False,  # CleanText has
            column_types=dict.fromkeys(names, pa.string()),
            null_values=[""],
            strings_can_be_null=True,
            quoted_strings_can_be_null=False,
        ),
    )
    yield from reader


def _recount(path: Path, dialect: Dialect, encoding: str, limits: Limits, index: RecordIndex) -> None:
    with open_expanded(path, limits) as stream:
        text = CleanText(stream, encoding)
        text.read(dialect.data_offset)
        lines = io.TextIOWrapper(io.BufferedReader(_Raw(text)), encoding="utf-8", newline="")
        index.recount(lines, dialect.first_data_line, dialect.delimiter)


class _Raw(io.RawIOBase):
    """Clean text as a raw file for the standard library."""

    def __init__(self, text: CleanText) -> None:
        super().__init__()
        self._text = text

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any, /) -> int:
        chunk = self._text.read(len(buffer))
        buffer[: len(chunk)] = chunk
        return len(chunk)


def _require_equal(parsed: int, counted: int) -> None:
    if parsed != counted:
        raise UnreadableFile(
            f"The parser found {parsed:,} records, an independent count {counted:,}. The file's quoting is "
            "not consistent: write it again with every field quoted."
        )
