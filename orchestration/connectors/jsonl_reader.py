"""Reading JSON lines: one object on each line is a record, a field is a column, every value is text.

Numbers keep the digits that they were written with; lists and objects become JSON text. A line that is no JSON object
is rejected with its number. Blank lines are no records.
"""

import bisect
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from orchestration.connectors.archive import Limits, Progress, open_expanded
from orchestration.connectors.errors import UnreadableFile
from orchestration.connectors.record_chunks import Record, RecordChunks
from orchestration.connectors.staging import REJECTS_SCHEMA, Staged
from orchestration.connectors.text import CleanText

_CHUNK = 1 << 20
_REJECTS_AT_A_TIME = 10_000


def stage_jsonl(
    path: Path,
    scratch: Path,
    *,
    encoding: str | None,
    limits: Limits,
    progress: Progress | None = None,
    max_records: int | None = None,
) -> Staged:
    """Read a file of JSON lines into ``scratch``.

    Raises:
        UnreadableFile: The file is not in its encoding, holds no fields, or exceeds a limit.
        InvalidMapping: The given encoding is unknown.
    """
    chunks, records, truncated = RecordChunks(scratch, limits), 0, False
    fields, blank = _Fields(), list[int]()
    with open_expanded(path, limits, progress) as stream, _Rejects(scratch / "rejects.parquet") as rejects:
        text = CleanText(stream, encoding)
        for line, content in enumerate(_lines(text, limits), start=1):
            if not content.strip():
                blank.append(line - len(blank))
                continue
            if records == max_records:
                truncated = True
                break
            records += 1
            try:
                chunks.add(records, fields.record(content))
            except (ValueError, RecursionError) as error:
                rejects.add(records, str(error), content)
    chunks.flush()
    if not chunks.columns:
        raise UnreadableFile(
            "No line of the file is a JSON object with fields. Write one object on each line."
        )
    return Staged(
        format="jsonl",
        columns=tuple((name, fields.types.get(key, "string")) for key, name in chunks.columns.items()),
        relation=chunks.relation(),
        records=records,
        truncated=truncated,
        rejects=rejects.path if rejects.count else None,
        rejected_as="unparseable_record",
        # ``blank`` holds, for each blank line, the record that would have stood on it.
        lines_of=lambda numbers: [number + bisect.bisect_right(blank, number) for number in numbers],
        encoding=text.encoding,
        nul_count=text.nul_count + fields.nul_count,
        warnings=tuple(chunks.names.warnings),
    )


def json_text(value: Any) -> str | None:
    """A value of a JSON document as the text of a record's field; null is None."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, WrittenFloat):
        return value.written
    return str(value) if isinstance(value, int) else json.dumps(value, ensure_ascii=False)


class WrittenFloat(float):
    """A number with a fraction or an exponent, that remembers how it was written."""

    written: str

    def __new__(cls, written: str) -> "WrittenFloat":
        """The number that the text stands for."""
        number = super().__new__(cls, written)
        number.written = written
        return number


def unique_fields(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object, none of whose fields is lost.

    Raises:
        ValueError: A field is there twice.
    """
    fields = dict(pairs)
    if len(fields) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"The object has the field {twice!r} twice.")
    return fields


def no_constant(name: str) -> Any:
    """Refuse what JSON does not know, and Python would read.

    Raises:
        ValueError: Always.
    """
    raise ValueError(f"{name} is no JSON value.")


class _Fields:
    """Turns lines into records, and keeps the type that each field first had."""

    def __init__(self) -> None:
        self.types: dict[str, str] = {}
        self.nul_count = 0

    def record(self, line: bytes) -> Record:
        """The record of a line.

        Raises:
            ValueError: The line is no JSON object.
        """
        try:
            fields = json.loads(
                line,
                parse_float=WrittenFloat,
                parse_constant=no_constant,
                object_pairs_hook=unique_fields,
            )
        except json.JSONDecodeError as error:
            raise ValueError(
                f"The line is no JSON object: {error.msg} at character {error.pos + 1}."
            ) from None
        if not isinstance(fields, dict):
            raise ValueError(f"The line is no JSON object, but {_type_of(fields)}.")
        return {name: self._text(name, value) for name, value in fields.items()}

    def _text(self, name: str, value: Any) -> str | None:
        if value is not None and name not in self.types:
            self.types[name] = _type_of(value)
        text = json_text(value)
        if text and "\x00" in text:  # which PostgreSQL cannot store
            self.nul_count += text.count("\x00")
            text = text.replace("\x00", "")
        return text


def _type_of(value: Any) -> str:
    kinds = {str: "string", bool: "bool", int: "int64", WrittenFloat: "double"}
    return kinds.get(type(value), "json")


def _lines(text: CleanText, limits: Limits) -> Iterator[bytes]:
    rest = b""
    while chunk := text.read(_CHUNK):
        lines = (rest + chunk).split(b"\n")
        if max(map(len, lines)) > limits.record_bytes:
            raise UnreadableFile(f"A line is longer than {limits.record_bytes:,} bytes. Is this JSON lines?")
        rest = lines.pop()
        yield from lines
    if rest:
        yield rest


class _Rejects:
    """Lines that are no records, in a file of ``REJECTS_SCHEMA``."""

    def __init__(self, path: Path) -> None:
        self.path, self.count = path, 0
        self._rows: list[dict[str, Any]] = []
        self._writer = pq.ParquetWriter(path, REJECTS_SCHEMA, compression="lz4")

    def __enter__(self) -> "_Rejects":
        return self

    def __exit__(self, *_: object) -> None:
        self._flush()
        self._writer.close()

    def add(self, number: int, message: str, line: bytes) -> None:
        """Keep a line."""
        self._rows.append({"row_number": number, "message": message, "raw": line.decode()})
        self.count += 1
        if len(self._rows) >= _REJECTS_AT_A_TIME:
            self._flush()

    def _flush(self) -> None:
        if self._rows:
            self._writer.write_table(pa.Table.from_pylist(self._rows, REJECTS_SCHEMA))
        self._rows = []
