"""Writing records whose fields are found out on the way: a row of Parquet files, a column for each field."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from orchestration.connectors.archive import Limits
from orchestration.connectors.columns import ColumnNames
from orchestration.connectors.errors import UnreadableFile
from orchestration.connectors.staging import ident, literal

_CHUNK_RECORDS = 50_000

Record = dict[str, str | None]


class RecordChunks:
    """Records as text, in the order in which they are added; columns may appear at any time.

    Attributes:
        columns: Field to the name that it lands under, in the order of first appearance.
        names: Gives out the names.
    """

    def __init__(self, scratch: Path, limits: Limits, stem: str = "staged") -> None:
        """Write into ``scratch``, as files that begin with ``stem``."""
        self._scratch, self._limits, self._stem = scratch, limits, stem
        self._paths: list[Path] = []
        self._rows: list[Record] = []
        self._numbers: list[int] = []
        self._declared: tuple[str, ...] = ()
        self.names = ColumnNames()
        self.columns: dict[str, str] = {}

    def declare(self, fields: list[tuple[str, str]]) -> None:
        """Give (field, name) of columns that are there in any case, before any record."""
        self._declared = tuple(field for field, _ in fields)
        for place, (field, name) in enumerate(fields, start=1):
            self.columns[field] = self.names.add(name, place)

    def add(self, number: int, row: Record) -> None:
        """Append a record under its number.

        Raises:
            UnreadableFile: The records have too many different fields.
        """
        self._rows.append(row)
        self._numbers.append(number)
        if len(self._rows) >= _CHUNK_RECORDS:
            self.flush()

    def flush(self) -> None:
        """Write the rows at hand; if there were none at all, a file with the declared columns."""
        if not self._rows and (self._paths or not self._declared):
            return
        keys = dict.fromkeys((*self._declared, *(key for row in self._rows for key in row)))
        for key in keys:
            if key not in self.columns:
                self.columns[key] = self.names.add(key, len(self.columns) + 1)
        if len(self.columns) > self._limits.columns:
            raise UnreadableFile(f"The log has more than {self._limits.columns:,} different attributes.")
        arrays = [pa.array([row.get(key) for row in self._rows], pa.string()) for key in keys]
        table = pa.table(
            [pa.array(self._numbers, pa.int64()), *arrays], ["_row_number", *map(self.columns.get, keys)]
        )
        self._paths.append(self._scratch / f"{self._stem}-{len(self._paths):05d}.parquet")
        pq.write_table(table, self._paths[-1], compression="lz4")
        self._rows, self._numbers = [], []

    def relation(self) -> str:
        """SQL of all written records with all columns."""
        columns = ", ".join(["_row_number", *map(ident, self.columns.values())])
        files = ", ".join(map(literal, self._paths))
        return f"SELECT {columns} FROM read_parquet([{files}], union_by_name = true)"
