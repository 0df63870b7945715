"""Staging a file of any format: the one place that knows all readers."""

from pathlib import Path

import duckdb

from orchestration.connectors.archive import Limits, Progress
from orchestration.connectors.csv_reader import stage_csv
from orchestration.connectors.detect import detect
from orchestration.connectors.jsonl_reader import stage_jsonl
from orchestration.connectors.mapping import Hints
from orchestration.connectors.ocel import flatten
from orchestration.connectors.ocel_json_reader import read_ocel_json
from orchestration.connectors.ocel_sqlite_reader import read_ocel_sqlite
from orchestration.connectors.parquet_reader import stage_parquet
from orchestration.connectors.staging import Staged
from orchestration.connectors.xes_reader import stage_xes
from orchestration.connectors.xlsx_reader import stage_xlsx


def stage(
    path: Path,
    scratch: Path,
    session: duckdb.DuckDBPyConnection,
    hints: Hints,
    *,
    limits: Limits,
    progress: Progress | None = None,
    max_records: int | None = None,
) -> Staged:
    """Read a foreign file into ``scratch``, all of it or its first ``max_records`` records.

    Raises:
        UnreadableFile: The file cannot be read without losing something.
        InvalidMapping: The hints do not fit the file.
        AmbiguousMapping: It was not said what the cases of an object-centric log are, or which sheet is the log.
    """
    hints.check_options()
    staged = _staged(path, scratch, session, hints, limits, progress, max_records)
    hints.check_columns(staged.names)
    # Of a file that was not read to its end, a column may still come.
    hints.check_personal(None if staged.truncated else staged.names)
    return staged


def _staged(
    path: Path,
    scratch: Path,
    session: duckdb.DuckDBPyConnection,
    hints: Hints,
    limits: Limits,
    progress: Progress | None,
    max_records: int | None,
) -> Staged:
    kind = detect(path, limits)
    if kind == "csv":
        return stage_csv(
            path,
            scratch,
            encoding=hints.encoding,
            delimiter=hints.delimiter,
            limits=limits,
            progress=progress,
            max_records=max_records,
        )
    if kind == "jsonl":
        return stage_jsonl(
            path, scratch, encoding=hints.encoding, limits=limits, progress=progress, max_records=max_records
        )
    if kind == "xes":
        return stage_xes(path, scratch, limits=limits, progress=progress, max_records=max_records)
    if kind == "xlsx":
        return stage_xlsx(
            path, scratch, sheet=hints.sheet, limits=limits, progress=progress, max_records=max_records
        )
    if kind == "parquet":
        return stage_parquet(
            path, scratch, session, limits=limits, progress=progress, max_records=max_records
        )
    read = read_ocel_json if kind == "ocel-json" else read_ocel_sqlite
    tables = read(path, scratch, limits=limits, progress=progress)
    return flatten(session, tables, hints.object_type, format=kind, max_records=max_records)
