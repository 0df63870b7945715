"""What is kept of a foreign file with personal columns, in place of the file: its records, without their values.

Parquet: the records as they were staged, and in its metadata the account of the reading. It lands as the file itself
would have, but for the values. A record that has no columns to speak of may hold any value: only its message is kept.
"""

import json
import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from orchestration.connectors.archive import Limits, Progress
from orchestration.connectors.canonical import present
from orchestration.connectors.errors import InvalidMapping
from orchestration.connectors.mapping import Mapping
from orchestration.connectors.personal import Hashing, Personal
from orchestration.connectors.reader import stage
from orchestration.connectors.session import local_session
from orchestration.connectors.staging import Flattening, Staged, ident, literal

WITHHELD = "(withheld: it may hold personal values)"
"""Stands for a record that has no columns to speak of."""

_ACCOUNT = b"casetrail.hidden"
_MESSAGE, _LINE = "_reason", "_value"
"""Of a rejected record its message, of every record its line: names that no column of a source gets."""

_SETTLED = ("personal", "object_type", "sheet", "delimiter", "encoding")
"""Fields of a mapping that decide what is kept: they cannot be changed afterwards."""

_KEPT = ("format", "columns", "records", "empty_traces", "rejected_as", "encoding", "delimiter", "nul_count")
_BATCH_ROWS = 50_000


def hide(
    path: Path,
    mapping: Mapping,
    hashing: Hashing,
    into: Path,
    *,
    limits: Limits | None = None,
    progress: Progress | None = None,
) -> None:
    """Write the records of a file, without the values that the mapping calls personal.

    Raises what ``land`` raises for a file that cannot be read, or whose mapping does not fit.
    """
    path = path.resolve()
    with tempfile.TemporaryDirectory(prefix="casetrail-hide-") as folder:
        scratch = Path(folder).resolve()
        with local_session(scratch, path) as session:
            staged = stage(path, scratch, session, mapping, limits=limits or Limits(), progress=progress)
            _write(session, staged, mapping, hashing, into)


def without_dropped(staged: Staged, rules: dict[str, Personal]) -> Staged:
    """The staged records without the columns that are dropped."""
    columns = tuple(column for column in staged.columns if rules.get(column[0]) != "drop")
    names = ", ".join(["_row_number", *(ident(name) for name, _type in columns)])
    return replace(staged, columns=columns, relation=f"SELECT {names} FROM ({staged.relation})")


def stage_hidden(path: Path, scratch: Path, session: duckdb.DuckDBPyConnection, mapping: Mapping) -> Staged:
    """The records of a file that ``hide`` wrote, as the foreign file itself would have been staged.

    Raises:
        InvalidMapping: It is no such file, or the mapping does not fit.
    """
    account = _account(path)
    for field, settled in account["settled"].items():
        if mapping.model_dump(mode="json").get(field) != settled:
            raise InvalidMapping(
                f"{field} cannot be changed any more: in place of the file only its records are kept, without the "
                "personal values. Retract it, and upload it again."
            )
    mapping.check_options()
    columns = tuple((name, kind) for name, kind in account["columns"])
    mapping.check_columns(name for name, _kind in columns)
    mapping.check_personal()
    source = f"SELECT * FROM read_parquet({literal(path)})"
    names = ", ".join(["_row_number", *(ident(name) for name, _kind in columns)])
    kept: dict[str, Any] = {field: account[field] for field in _KEPT}
    return Staged(
        **kept | {"columns": columns},
        relation=f"SELECT {names} FROM ({source}) WHERE {_MESSAGE} IS NULL",
        flattening=Flattening(**account["flattening"]) if account["flattening"] else None,
        rejects=_rejects(session, source, scratch / "rejects.parquet") if account["has_rejects"] else None,
        lines_of=(lambda numbers: _lines_of(path, numbers)) if account["has_lines"] else None,
        warnings=tuple(account["warnings"]),
    )


def _write(
    session: duckdb.DuckDBPyConnection, staged: Staged, mapping: Mapping, hashing: Hashing, into: Path
) -> None:
    left, unhashed = without_dropped(staged, mapping.personal), dict[str, Counter[str]]()
    texts = [(name, pa.string()) for name in (_MESSAGE, *left.names)]
    schema = pa.schema([("_row_number", pa.int64()), (_LINE, pa.int64()), *texts])
    with pq.ParquetWriter(into, schema, compression="zstd") as writer:
        for batch in _records(session, left, mapping):
            numbers = batch.column("_row_number")
            columns = {"_row_number": numbers, _LINE: pa.nulls(len(numbers), pa.int64())}
            if left.lines_of:
                columns[_LINE] = pa.array(left.lines_of(numbers.to_pylist()), pa.int64())
            for name, kind in texts:
                columns[name] = batch.column(name).cast(kind)
                if rule := mapping.personal.get(name):
                    columns[name], reasons = hashing(columns[name], rule)
                    unhashed.setdefault(name, Counter()).update(reasons)
            writer.write_batch(pa.record_batch(list(columns.values()), schema=schema))
        writer.add_key_value_metadata({_ACCOUNT: json.dumps(_told(left, mapping, unhashed), sort_keys=True)})


def _records(session: duckdb.DuckDBPyConnection, left: Staged, mapping: Mapping) -> Iterator[pa.RecordBatch]:
    """The records in the file's order, rejected ones among them; what means nothing is null before it is hashed."""
    values = [
        f"{present(ident(name), mapping.null)} AS {ident(name)}" if name in mapping.personal else ident(name)
        for name in left.names
    ]
    query = f"SELECT _row_number, NULL::VARCHAR AS {_MESSAGE}, {', '.join(values)} FROM ({left.relation})"
    if left.rejects:
        query += (
            f" UNION ALL BY NAME SELECT row_number AS _row_number, message AS {_MESSAGE} "
            f"FROM read_parquet({literal(left.rejects)})"
        )
    yield from session.execute(f"SELECT * FROM ({query}) ORDER BY _row_number").to_arrow_reader(_BATCH_ROWS)


def _told(left: Staged, mapping: Mapping, unhashed: dict[str, Counter[str]]) -> dict[str, Any]:
    """The account of a reading, for ``stage_hidden``; no values."""
    nobody = [
        f"{column}: {', '.join(f'{n:,} {reason}' for reason, n in sorted(reasons.items()))} link nobody."
        for column, reasons in sorted(unhashed.items())
        if reasons
    ]
    return {
        **{field: getattr(left, field) for field in _KEPT},
        "flattening": asdict(left.flattening) if left.flattening else None,
        "has_lines": left.lines_of is not None,
        "has_rejects": left.rejects is not None,
        "warnings": [*left.warnings, *nobody],
        "settled": {field: mapping.model_dump(mode="json").get(field) for field in _SETTLED},
    }


def _account(path: Path) -> dict[str, Any]:
    try:
        told = (pq.read_metadata(path).metadata or {}).get(_ACCOUNT)
    except (pa.ArrowException, OSError):
        told = None
    if told is None:
        raise InvalidMapping(
            "The file landed before with the values that are to be personal now: what has landed stays as it was. "
            "Retract it, and upload it again."
        )
    account: dict[str, Any] = json.loads(told)
    return account


def _rejects(session: duckdb.DuckDBPyConnection, source: str, into: Path) -> Path:
    rows = (
        f"SELECT _row_number AS row_number, {_MESSAGE} AS message, {literal(WITHHELD)} AS raw "
        f"FROM ({source}) WHERE {_MESSAGE} IS NOT NULL ORDER BY row_number"
    )
    session.execute(f"COPY ({rows}) TO {literal(into)} (FORMAT parquet)")
    return into


def _lines_of(path: Path, numbers: list[int]) -> list[int]:
    table = pq.read_table(path, columns=["_row_number", _LINE])
    places = np.searchsorted(table["_row_number"].to_numpy(), numbers)
    return [int(line) for line in table[_LINE].to_numpy()[places]]
