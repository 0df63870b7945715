"""Reading Parquet files: records in the file's order, every value as text, timestamps as ISO 8601.

A column with a time zone is written with ``+00``, so that it is read as an instant; one without stays naive,
and its zone must be told.
"""

from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from orchestration.connectors.archive import Limits, Progress, container_of, expand_to
from orchestration.connectors.columns import ColumnNames
from orchestration.connectors.errors import UnreadableFile
from orchestration.connectors.staging import Staged, ident, literal


def stage_parquet(
    path: Path,
    scratch: Path,
    session: duckdb.DuckDBPyConnection,
    *,
    limits: Limits,
    progress: Progress | None = None,
    max_records: int | None = None,
) -> Staged:
    """Describe a Parquet file as text records; an archive is expanded into ``scratch`` first.

    Raises:
        UnreadableFile: The file is damaged, encrypted, or exceeds a limit.
    """
    if container_of(path) != "plain":
        expanded = scratch / "expanded.parquet"
        expand_to(path, expanded, limits, progress)
        path = expanded
    try:
        with pq.ParquetFile(path) as file:
            schema, rows = file.schema_arrow, file.metadata.num_rows
    except (pa.ArrowException, OSError) as error:
        raise UnreadableFile(f"The Parquet file cannot be read: {error}. Write it again.") from error
    if len(schema) > limits.columns:
        raise UnreadableFile(f"The file has {len(schema):,} columns; {limits.columns:,} are the limit.")
    names = ColumnNames()
    landed = names.add_all(schema.names)
    columns = ["file_row_number + 1 AS _row_number"]
    columns += [f"{_as_text(field)} AS {ident(name)}" for field, name in zip(schema, landed, strict=True)]
    limit = "" if max_records is None else f" WHERE file_row_number < {max_records}"
    source = f"read_parquet({literal(path)}, file_row_number = true)"
    if progress:
        progress(path.stat().st_size, path.stat().st_size)
    return Staged(
        format="parquet",
        columns=tuple((name, str(field.type)) for field, name in zip(schema, landed, strict=True)),
        relation=f"SELECT {', '.join(columns)} FROM {source}{limit}",
        records=rows if max_records is None else min(rows, max_records),
        truncated=max_records is not None and rows > max_records,
        nul_count=_count_nuls(session, source, schema),
        warnings=tuple(names.warnings),
    )


def _as_text(field: pa.Field) -> str:
    column, kind = ident(field.name), field.type
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return f"replace({column}, chr(0), '')"
    if pa.types.is_nested(kind):
        return f"to_json({column})::VARCHAR"
    return f"{column}::VARCHAR"


def _count_nuls(session: duckdb.DuckDBPyConnection, source: str, schema: pa.Schema) -> int:
    texts = [ident(field.name) for field in schema if "replace(" in _as_text(field)]
    if not texts:
        return 0
    sums = " + ".join(f"coalesce(sum(length({c}) - length(replace({c}, chr(0), ''))), 0)" for c in texts)
    count = session.sql(f"SELECT {sums} FROM {source}").fetchone()
    return int(count[0]) if count else 0
