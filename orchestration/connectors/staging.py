"""What a reader hands on: the records of one foreign file as text, in local Parquet that DuckDB can query.

Every reader gives the same table: ``_row_number`` (bigint, 1-based) and one string column per source column.
What the columns mean is not known here.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa

from orchestration.connectors.detect import Format


@dataclass(frozen=True)
class Flattening:
    """What became of an object-centric log when the objects of one type were made its cases.

    Attributes:
        object_type: The type of the objects that are cases.
        events: Events of the log.
        duplicated: Events that belong to several cases; each has a record of it.
        duplicates: Records that are there only because events belong to several cases.
        unrelated: Events without an object of the type; they are in no case.
    """

    object_type: str
    events: int
    duplicated: int
    duplicates: int
    unrelated: int


REJECTS_SCHEMA = pa.schema([("row_number", pa.int64()), ("message", pa.string()), ("raw", pa.string())])
"""Records that have no columns to speak of: too few or too many fields, or no object."""


@dataclass(frozen=True)
class Staged:
    """The records of one file, readable by DuckDB.

    Attributes:
        format: What kind of file it was.
        columns: Names that the columns land under, with the type each had in the file.
        relation: SQL of a query that gives ``_row_number`` and the columns as varchar.
        records: All records of the file, or those read if ``truncated``.
        empty_traces: Cases in the file that hold no event; counted among the records.
        flattening: What flattening did, for object-centric logs; its unrelated events are counted among the records.
        truncated: Reading stopped at the asked number of records.
        rejects: Parquet file of rejected records (``REJECTS_SCHEMA``), if there are any.
        rejected_as: The reason of the rejected records.
        lines_of: Lines on which the given records start; None for formats without lines.
        encoding: The text encoding, None for binary formats.
        delimiter: The delimiter, None unless CSV.
        nul_count: NUL characters that were taken out.
        warnings: Plain English, for the person who uploads.
    """

    format: Format
    columns: tuple[tuple[str, str], ...]
    relation: str
    records: int
    empty_traces: int = 0
    flattening: Flattening | None = None
    truncated: bool = False
    rejects: Path | None = None
    rejected_as: str = "ragged_row"
    lines_of: Callable[[list[int]], list[int]] | None = None
    encoding: str | None = None
    delimiter: str | None = None
    nul_count: int = 0
    warnings: tuple[str, ...] = field(default=())

    @property
    def eventless(self) -> int:
        """Records of the file that stand for no event of a case, and have no row."""
        return self.empty_traces + (self.flattening.unrelated if self.flattening else 0)

    @property
    def names(self) -> tuple[str, ...]:
        """The column names in the file's order."""
        return tuple(name for name, _ in self.columns)


def ident(name: str) -> str:
    """A quoted SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def literal(value: object) -> str:
    """A quoted SQL string."""
    return "'" + str(value).replace("'", "''") + "'"
