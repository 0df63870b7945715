"""What a reader hands on: the records of one foreign file as text, in local Parquet that DuckDB can query.

Every reader gives the same table: ``_row_number`` (bigint, 1-based) and one string column per source column.
What the columns mean is not known here.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa

from orchestration.connectors.detect import Format

REJECTS_SCHEMA = pa.schema([("row_number", pa.int64()), ("message", pa.string()), ("raw", pa.string())])
"""Records that have no columns to speak of: too few or too many fields."""


@dataclass(frozen=True)
class Staged:
    """The records of one file, readable by DuckDB.

    Attributes:
        format: What kind of file it was.
        columns: Names that the columns land under, with the type each had in the file.
        relation: SQL of a query that gives ``_row_number`` and the columns as varchar.
        records: All records of the file, or those read if ``truncated``.
        empty_traces: Cases in the file that hold no event; counted among the records.
        truncated: Reading stopped at the asked number of records.
        rejects: Parquet file of ragged records (``REJECTS_SCHEMA``), if there are any.
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
    truncated: bool = False
    rejects: Path | None = None
    lines_of: Callable[[list[int]], list[int]] | None = None
    encoding: str | None = None
    delimiter: str | None = None
    nul_count: int = 0
    warnings: tuple[str, ...] = field(default=())

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
