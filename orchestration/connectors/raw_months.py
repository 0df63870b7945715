"""Writing the records that land: one Parquet file per UTC month, rows in the source's order.

The records come sorted by month from DuckDB, which spills to disk, so that one file is open at a time.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from orchestration.connectors.columns import LANDED_COLUMNS
from orchestration.connectors.staging import ident

ROW_GROUP_ROWS = 122_880


@dataclass(frozen=True)
class MonthFile:
    """The file of one month.

    Attributes:
        path: Parquet with the source's columns as text and ``LANDED_COLUMNS``.
        rows: Its rows.
        min_timestamp: Earliest ``_timestamp`` (naive UTC).
        max_timestamp: Latest ``_timestamp`` (naive UTC).
        ambiguous_local_times: Rows whose local time occurred twice, so that the first was taken.
    """

    path: Path
    rows: int
    min_timestamp: datetime
    max_timestamp: datetime
    ambiguous_local_times: int


def write_months(
    session: duckdb.DuckDBPyConnection, names: tuple[str, ...], folder: Path
) -> dict[str, MonthFile]:
    """Write the records of ``classified`` that no reason speaks against; ``yyyy-mm`` to its file."""
    columns = ", ".join([*map(ident, names), *LANDED_COLUMNS])
    reader = session.execute(
        f"SELECT _month, _local_twice, {columns} FROM classified WHERE _reason IS NULL "
        "ORDER BY _month, _row_number"
    ).to_arrow_reader(ROW_GROUP_ROWS)
    schema = pa.schema(list(reader.schema)[2:])
    months: dict[str, MonthFile] = {}
    writer: _MonthWriter | None = None
    for batch in reader:
        for month, rows in _split(batch):
            if writer is None or writer.month != month:
                if writer:
                    months[writer.month] = writer.close()
                writer = _MonthWriter(folder, month, schema)
            writer.add(rows)
    if writer:
        months[writer.month] = writer.close()
    return months


def _split(batch: pa.RecordBatch) -> Iterator[tuple[str, pa.RecordBatch]]:
    """The rows of each month of a batch that is sorted by its column ``_month``."""
    runs = pc.run_end_encode(batch["_month"])
    start = 0
    for month, end in zip(runs.values.to_pylist(), runs.run_ends.to_pylist(), strict=True):
        yield f"{month // 100:04}-{month % 100:02}", batch.slice(start, end - start)
        start = end


class _MonthWriter:
    """Gathers the rows of one month into row groups of full size."""

    def __init__(self, folder: Path, month: str, schema: pa.Schema) -> None:
        self.month, self._path, self._schema = month, folder / f"{month}.parquet", schema
        self._writer = pq.ParquetWriter(self._path, schema, compression="zstd")
        self._pending: list[pa.RecordBatch] = []
        self._pending_rows = self._rows = self._twice = 0
        self._min, self._max = datetime.max, datetime.min

    def add(self, batch: pa.RecordBatch) -> None:
        self._twice += pc.sum(batch["_local_twice"]).as_py() or 0
        self._pending.append(batch.select(self._schema.names))
        self._pending_rows += batch.num_rows
        if self._pending_rows >= ROW_GROUP_ROWS:
            self._flush()

    def close(self) -> MonthFile:
        self._flush()
        self._writer.close()
        return MonthFile(self._path, self._rows, self._min, self._max, self._twice)

    def _flush(self) -> None:
        if not self._pending:
            return
        table = pa.Table.from_batches(self._pending, self._schema)
        self._writer.write_table(table)
        span = pc.min_max(table["_timestamp"]).as_py()
        self._min, self._max = min(self._min, span["min"]), max(self._max, span["max"])
        self._rows += table.num_rows
        self._pending, self._pending_rows = [], 0
