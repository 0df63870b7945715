"""The records of a pull on their way to its originals: each once, tombstones apart, in the order in which they came.

A read begins an overlap before the end of the last one, so that it gives records again. One that was pulled before, in
the same version, is a duplicate. ``recent`` is what is remembered for that: a digest of each record that the next read
may give again. Pure: local files in, local files out.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from orchestration.connectors.raw_months import ROW_GROUP_ROWS
from orchestration.connectors.session import local_session
from orchestration.connectors.staging import ident, literal
from orchestration.sources.protocol import Page

_CURSOR, _DELETED = "casetrail:cursor", "casetrail:deleted"
"""Beside the columns of the source, which have no such names."""

_RECENT_SCHEMA = pa.schema([("stream", pa.string()), ("digest", pa.string()), ("cursor", pa.int64())])


_WRITTEN_AT_ONCE = 16_384
"""Records, which become a row group of an original."""


@dataclass(frozen=True)
class DraftedStream:
    """What came of one stream: ``records == rows + tombstone_rows + duplicate``; no file where there are no rows."""

    stream: str
    columns: Mapping[str, str]
    records: int
    duplicate: int
    rows: int
    tombstone_rows: int
    file: Path
    tombstones: Path


class PullDraft:
    """Gathers pages in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        """``folder`` is empty."""
        self._folder = folder
        self._streams: dict[str, _Segments] = {}

    @property
    def records(self) -> int:
        """How many were added."""
        return sum(stream.records for stream in self._streams.values())

    def require_empty(self) -> None:
        """Raises ``RuntimeError`` if pages were added: a type must end with a checkpoint, else they would be lost."""
        if self._streams:
            raise RuntimeError(f"{self.records:,} records came behind the last checkpoint.")

    def add(self, page: Page) -> None:
        """Keep a page. A stream whose columns become others goes on in another file."""
        if page.stream not in self._streams:
            folder = self._folder / f"stream-{len(self._streams)}"
            folder.mkdir()
            self._streams[page.stream] = _Segments(folder)
        self._streams[page.stream].add(page)

    def finish(
        self, recent: Path | None, reread_from: Mapping[str, int], footer: Mapping[str, str]
    ) -> tuple[list[DraftedStream], Path]:
        """The originals of each stream that had records, and what is remembered now.

        Args:
            recent: What was remembered; None before the first pull.
            reread_from: By stream, the cursor from which on the next read gives records again.
            footer: Goes into the metadata of each file, which makes the files of each pull its own.
        """
        scratch = self._folder / "spill"
        scratch.mkdir()
        remembered = self._folder / "recent.parquet"
        segments = {name: stream.close() for name, stream in self._streams.items()}
        files = [path for paths in segments.values() for path in paths]
        with local_session(scratch, *files, *([recent] if recent else [])) as session:
            source = (
                f"read_parquet({literal(recent)})"
                if recent
                else "(select '' as stream, null::uuid as digest, 0::bigint as cursor limit 0)"
            )
            # As UUIDs, of 16 bytes: of a million records that are remembered, text would take a hundred megabytes more.
            session.execute(
                f"create temp table recent as select stream, digest::uuid as digest, cursor from {source}"
            )
            drafted = [
                _drafted(session, name, self._streams[name], paths, footer)
                for name, paths in segments.items()
            ]
            _remember(session, reread_from, remembered)
        # What the pages took goes back to the machine: landing, which comes next, needs as much beside it.
        pa.default_memory_pool().release_unused()
        return drafted, remembered


class _Segments:
    """The pages of one stream in Parquet files, each with the same columns throughout."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.columns, self.records = folder, dict[str, str](), 0
        self._paths: list[Path] = []
        self._writer: pq.ParquetWriter | None = None

    def add(self, page: Page) -> None:
        self.columns |= page.columns
        deleted = page.deleted if page.deleted is not None else pa.repeat(False, len(page.records))
        names = [*page.records.schema.names, _CURSOR, _DELETED]
        batch = pa.record_batch([*page.records.columns, page.cursors, deleted], names)
        if self._writer is None or self._writer.schema != batch.schema:
            self.close()
            self._paths.append(self.folder / f"{len(self._paths):06}.parquet")
            self._writer = pq.ParquetWriter(self._paths[-1], batch.schema, compression="zstd")
        self._writer.write_batch(batch)
        self.records += batch.num_rows

    def close(self) -> list[Path]:
        if self._writer is not None:
            self._writer.close()
            self._writer = None
        return self._paths


def _drafted(
    session: duckdb.DuckDBPyConnection,
    stream: str,
    segments: _Segments,
    paths: list[Path],
    footer: Mapping[str, str],
) -> DraftedStream:
    _decide_fates(session, stream, segments.columns, paths)
    ((records, new),) = session.execute("select count(*), count(*) filter (is_new) from fates").fetchall()
    session.execute(f"insert into recent select {literal(stream)}, digest, cursor from fates where is_new")
    live, tombstones = (
        _Original(
            segments.folder / f"{kind}.parquet",
            segments.columns,
            {**footer, "casetrail.stream": stream, "casetrail.kind": kind},
        )
        for kind in ("live", "tombstones")
    )
    with live, tombstones:
        for batch, is_new, is_deleted in _with_fates(session, paths):
            live.write(batch.filter(pc.and_not(is_new, is_deleted)))
            tombstones.write(batch.filter(pc.and_(is_new, is_deleted)))
    return DraftedStream(
        stream=stream,
        columns=segments.columns,
        records=records,
        duplicate=records - new,
        rows=live.rows,
        tombstone_rows=tombstones.rows,
        file=live.path,
        tombstones=tombstones.path,
    )


def _decide_fates(
    session: duckdb.DuckDBPyConnection, stream: str, columns: Mapping[str, str], paths: list[Path]
) -> None:
    """The table ``fates``: the place, digest and cursor of each record, whether it is deleted, whether it is new."""
    listed = ", ".join(map(literal, paths))
    place = "segment, file_row_number"
    session.execute(
        f"""
        create or replace temp table fates as
        with digested as (
            select {place}, {ident(_CURSOR)} as cursor, {ident(_DELETED)} as deleted, {_digest(columns)} as digest
            from read_parquet([{listed}], union_by_name = true, filename = 'segment', file_row_number = true)
        )
        select *, row_number() over (partition by digest order by {place}) = 1
            and digest not in (select digest from recent where stream = {literal(stream)}) as is_new
        from digested
        """
    )


def _with_fates(
    session: duckdb.DuckDBPyConnection, paths: list[Path]
) -> Iterator[tuple[pa.RecordBatch, pa.Array, pa.Array]]:
    """The records as they came, a batch at a time, with whether each is new, and deleted: nothing wide is sorted."""
    fates = session.execute(
        "select is_new, deleted from fates order by segment, file_row_number"
    ).to_arrow_table()
    is_new, is_deleted = (fates[name].combine_chunks() for name in ("is_new", "deleted"))
    done = 0
    for path in paths:
        with pq.ParquetFile(path) as segment:
            for batch in segment.iter_batches(_WRITTEN_AT_ONCE, use_threads=False):
                rows = batch.num_rows
                yield batch, is_new.slice(done, rows), is_deleted.slice(done, rows)
                done += rows


class _Original:
    """A Parquet file of records with these columns, every value text; absent from a batch, a column is null."""

    def __init__(self, path: Path, columns: Iterable[str], footer: Mapping[str, str]) -> None:
        self.path, self.rows = path, 0
        self._schema = pa.schema([(name, pa.string()) for name in columns], dict(footer))

    def __enter__(self) -> "_Original":
        self._writer = pq.ParquetWriter(self.path, self._schema, compression="zstd")
        return self

    def __exit__(self, *_error: object) -> None:
        self._writer.close()

    def write(self, batch: pa.RecordBatch) -> None:
        if batch.num_rows:
            absent = pa.nulls(batch.num_rows, pa.string())
            columns = [
                batch[name].cast(pa.string()) if name in batch.schema.names else absent
                for name in self._schema.names
            ]
            self._writer.write_batch(pa.record_batch(columns, schema=self._schema))
            self.rows += batch.num_rows


def _digest(columns: Mapping[str, str]) -> str:
    """SQL of a digest of a record's identity and version: every value with its column's name.

    Values that are null leave no trace, so that a column that appears makes no new version of a record without it.
    """
    values = [
        f"coalesce({literal(f'{len(name)}:{name}=')} || strlen({ident(name)}) || ':' || {ident(name)}, '')"
        for name in sorted(columns)
    ]
    return f"md5(concat({', '.join(values)}, {ident(_DELETED)}))::uuid"


def _remember(session: duckdb.DuckDBPyConnection, reread_from: Mapping[str, int], path: Path) -> None:
    """Write what the next read may give again; of a stream without a bound, all that was remembered."""
    for stream, cursor in reread_from.items():
        session.execute("delete from recent where stream = ? and cursor < ?", [stream, cursor])
    rows = session.execute("select stream, digest, cursor from recent order by all").to_arrow_reader(
        ROW_GROUP_ROWS
    )
    with pq.ParquetWriter(path, _RECENT_SCHEMA, compression="zstd") as writer:
        for batch in rows:
            writer.write_batch(batch.cast(_RECENT_SCHEMA))
