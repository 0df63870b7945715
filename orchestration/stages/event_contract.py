"""The contract of the canonical events, as a pandera model. A month that breaks it is not staged."""

from pathlib import Path

import pandera.polars as pa
import polars as pl
import pyarrow.parquet as pq
from pandera.errors import SchemaErrors

_TIME = pl.Datetime("us")  # UTC


class EventContractBroken(Exception):
    """A month of events does not keep the contract; the message names column, check and first value."""


def _label() -> pa.Column:
    return pa.Column(pl.String, pa.Check.str_length(min_value=1))


EVENT = pa.DataFrameSchema(
    {
        "system": _label(),
        "native_case_id": _label(),
        "activity": _label(),
        "timestamp": pa.Column(_TIME),
        "resource_id": pa.Column(pl.String, nullable=True),
        "role": pa.Column(pl.String, nullable=True),
        "org_unit": pa.Column(pl.String, nullable=True),
        "schema_version": pa.Column(pl.Int32, pa.Check.equal_to(1)),
        "partition_id": pa.Column(pl.String, pa.Check.str_matches(r"^\d{4}-\d{2}\|[a-z0-9-]+$")),
        "attributes": pa.Column(pl.String, pa.Check.str_startswith("{")),
        "start_timestamp": pa.Column(_TIME, nullable=True),
        "lifecycle": pa.Column(pl.String, nullable=True),
        "tie_order": pa.Column(pl.Int32, pa.Check.greater_than_or_equal_to(0)),
        "event_id": pa.Column(pl.String, pa.Check.str_matches("^[0-9a-f]{64}$"), unique=True),
        "source_sequence": _label(),
    }
)
"""One canonical event. Workspace, analysis, case and arrival are UUIDs by type and not repeated here."""


def validate(path: Path, month: str) -> None:
    """Check a month's events file.

    Raises:
        EventContractBroken: naming the month, the column, the check and the first offending value.
    """
    frame = pl.DataFrame(pl.from_arrow(pq.read_table(path, columns=list(EVENT.columns))))
    try:
        EVENT.validate(frame, lazy=True)
    except SchemaErrors as broken:
        first = broken.failure_cases.row(0, named=True)
        raise EventContractBroken(
            f"events of {month} break the contract: column {first['column']!r}, check {first['check']}, "
            f"first value {first['failure_case']!r}"
        ) from None
    strangers = frame.filter(pl.col("timestamp").dt.strftime("%Y-%m") != month)
    if strangers.height:
        raise EventContractBroken(f"events of {month} hold {strangers.height} rows of another month")
