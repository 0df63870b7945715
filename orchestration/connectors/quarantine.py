"""The records that do not land: each with its reason, the field, a plain message and the record itself."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from orchestration.connectors.classify import NON_EVENT, Classified
from orchestration.connectors.staging import Staged, ident, literal

QUARANTINE_SCHEMA = pa.schema(
    [
        ("row_number", pa.int64()),
        ("line_number", pa.int64()),
        ("reason", pa.string()),
        ("field", pa.string()),
        ("value", pa.string()),
        ("message", pa.string()),
        ("raw", pa.string()),
    ]
)
_BATCH_ROWS = 50_000


def quarantined(
    session: duckdb.DuckDBPyConnection, staged: Staged, classified: Classified
) -> Iterator[pa.Table]:
    """The quarantined records in the file's order, as tables of ``QUARANTINE_SCHEMA``."""
    messages = " ".join(f"WHEN {literal(r)} THEN {literal(text)}" for r, text in classified.messages.items())
    raw = ", ".join(f"{ident(name)} := {ident(name)}" for name in staged.names)
    query = (
        "SELECT _row_number AS row_number, NULL::BIGINT AS line_number, _reason AS reason, _field AS field, "
        f"_value AS value, CASE _reason {messages} END AS message, "
        f"to_json(struct_pack({raw}))::VARCHAR AS raw "
        f"FROM classified WHERE _reason <> '{NON_EVENT}'"
    )
    if staged.rejects:
        query += (
            f" UNION ALL SELECT row_number, NULL, {literal(staged.rejected_as)}, NULL, NULL, message, raw "
            f"FROM read_parquet({literal(staged.rejects)})"
        )
    for batch in session.execute(f"SELECT * FROM ({query}) ORDER BY row_number").to_arrow_reader(_BATCH_ROWS):
        table = pa.Table.from_batches([batch]).cast(QUARANTINE_SCHEMA)
        if staged.lines_of:
            lines = staged.lines_of(table["row_number"].to_pylist())
            table = table.set_column(1, QUARANTINE_SCHEMA.field(1), pa.array(lines, pa.int64()))
        yield table


def write_quarantine(path: Path, tables: Iterator[pa.Table]) -> dict[str, int]:
    """Write the tables to one Parquet file, present even if empty; the number of records for each reason."""
    counts: Counter[str] = Counter()
    with pq.ParquetWriter(path, QUARANTINE_SCHEMA, compression="zstd") as writer:
        for table in tables:
            writer.write_table(table)
            counts.update(table["reason"].to_pylist())
    return dict(sorted(counts.items()))


def count_blank(session: duckdb.DuckDBPyConnection) -> int:
    """Records that hold nothing at all."""
    row = session.sql(f"SELECT count(*) FROM classified WHERE _reason = '{NON_EVENT}'").fetchone()
    return int(row[0]) if row else 0
