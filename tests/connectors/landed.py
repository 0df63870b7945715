"""What landed, read back for tests."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from orchestration.connectors import Landing, Probe

NOW = datetime(2026, 1, 15, 12, tzinfo=UTC)
SIMPLE = {"case_id": "case", "activity": "activity", "timestamp": "time", "timezone": "UTC"}

LandBytes = Callable[..., "Landed"]
ProbeBytes = Callable[..., Probe]


class Landed:
    """A landing with its files read back."""

    def __init__(self, landing: Landing) -> None:
        """Read the month files and the quarantine."""
        self.landing = landing
        tables = [pq.read_table(month.path) for month in landing.months.values()]
        self.table = pa.concat_tables(tables) if tables else None
        self.quarantine = pq.read_table(landing.quarantine).to_pylist()

    def rows(self) -> list[dict[str, Any]]:
        """What landed, in the file's order."""
        rows = [] if self.table is None else self.table.to_pylist()
        return sorted(rows, key=lambda row: row["_row_number"])

    def column(self, name: str) -> list[Any]:
        """One column of what landed, in the file's order."""
        return [row[name] for row in self.rows()]

    def reasons(self) -> list[tuple[int, int | None, str]]:
        """(row number, line number, reason) of the quarantine."""
        return [(row["row_number"], row["line_number"], row["reason"]) for row in self.quarantine]
