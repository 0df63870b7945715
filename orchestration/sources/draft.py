"""The records of a pull on their way to its originals: each once, tombstones apart, in the order in which they came.

A read begins an overlap before the end of the last one, so that it gives records again. One that was pulled before, in
the same version, is a duplicate. ``recent`` is what is remembered for that: a digest of each record that the next read
may give again. Pure: local files in, local files out.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from orchestration.connectors.raw_months import ROW_GROUP_ROWS
from orchestration.connectors.session import local_session
from orchestration.connectors.staging import ident, literal
from orchestration.sources.protocol import Page

_CURSOR, _DELETED = "casetrail:cursor", "casetrail:deleted"
"""Beside the columns of the source, which have no such names."""

_RECENT_SCHEMA = pa.schema([("stream", pa.string()), ("digest", pa.string()), ("cursor", pa.int64())])


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
                else "(select '' as stream, '' as digest, 0::bigint as cursor limit 0)"
            )
            session.execute(f"create temp table recent as select stream, digest, cursor from {source}")
            drafted = [
                _drafted(session, name, self._streams[name], paths, footer)
                for name, paths in segments.items()
            ]
            _remember(session, reread_from, remembered)
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
    listed = ", ".join(map(literal, paths))
    pulled = f"read_parquet([{listed}], union_by_name = true, filename = 'segment', file_row_number = true)"
    place = "segment, file_row_number"
    session.execute(
        f"""
        create or replace temp table fates as
        with digested as (
            select {place}, {ident(_CURSOR)} as cursor, {ident(_DELETED)} as deleted,
                   {_digest(segments.columns)} as digest
            from {pulled}
        )
        select *, row_number() over (partition by digest order by {place}) = 1
            and digest not in (select digest from recent where stream = {literal(stream)}) as is_new
        from digested
        """
    )
    ((records, new),) = session.execute("select count(*), count(*) filter (is_new) from fates").fetchall()
    session.execute(f"insert into recent select {literal(stream)}, digest, cursor from fates where is_new")
    columns = ", ".join(map(ident, segments.columns))
    written = {}
    for name, condition in (("live", "not deleted"), ("tombstones", "deleted")):
        written[name] = _write(
            session,
            f"select {columns} from {pulled} join fates using ({place}) where is_new and {condition} order by {place}",
            segments.folder / f"{name}.parquet",
            {**footer, "casetrail.stream": stream, "casetrail.kind": name},
        )
    return DraftedStream(
        stream=stream,
        columns=segments.columns,
        records=records,
        duplicate=records - new,
        rows=written["live"],
        tombstone_rows=written["tombstones"],
        file=segments.folder / "live.parquet",
        tombstones=segments.folder / "tombstones.parquet",
    )


def _digest(columns: Mapping[str, str]) -> str:
    """SQL of a digest of a record's identity and version: every value with its column's name.

    Values that are null leave no trace, so that a column that appears makes no new version of a record without it.
    """
    values = [
        f"coalesce({literal(f'{len(name)}:{name}=')} || strlen({ident(name)}) || ':' || {ident(name)}, '')"
        for name in sorted(columns)
    ]
    return f"md5(concat({', '.join(values)}, {ident(_DELETED)}))"


def _write(session: duckdb.DuckDBPyConnection, query: str, path: Path, footer: Mapping[str, str]) -> int:
    """Write the rows of a query; how many there are."""
    reader = session.execute(query).to_arrow_reader(ROW_GROUP_ROWS)
    rows = 0
    with pq.ParquetWriter(path, reader.schema.with_metadata(dict(footer)), compression="zstd") as writer:
        for batch in reader:
            writer.write_batch(batch.replace_schema_metadata(dict(footer)))
            rows += batch.num_rows
    return rows


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
