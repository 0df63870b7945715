"""Landing a foreign file: raw Parquet by the UTC month of each record, and a quarantine with reasons.

One strict pass over the whole file in bounded memory. Every record is accounted for, or nothing is landed.
The same file, mapping and time give the same files. Where they are stored, and who may see them, is not known
here.
"""

import hashlib
import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import duckdb

from orchestration.connectors.archive import Limits, Progress
from orchestration.connectors.classify import IN_FUTURE, Bounds, classify, first_admission
from orchestration.connectors.detect import Format
from orchestration.connectors.errors import UnreadableFile
from orchestration.connectors.hidden import stage_hidden
from orchestration.connectors.mapping import Mapping
from orchestration.connectors.quarantine import count_blank, quarantined, write_quarantine
from orchestration.connectors.raw_months import MonthFile, write_months
from orchestration.connectors.reader import stage
from orchestration.connectors.session import local_session
from orchestration.connectors.staging import Flattening

LANDING_VERSION = 1
"""Raise it when the same file, mapping and bounds land otherwise than before: arrivals are then read again."""


@dataclass(frozen=True)
class Landing:
    """The account of one landed file; ``records == landed + non_event + quarantined``.

    Attributes:
        format: What kind of file it was.
        columns: (name, type in the file) in the file's order.
        schema_fingerprint: sha256 of ``columns``.
        records: Records of the file.
        landed: Records in the month files.
        non_event: Blank records, XES traces without events, and events that flattening left in no case.
        quarantined: Records in the quarantine file.
        reasons: Quarantined records for each reason.
        review_at: When the first of the records that are in the future is so no longer (UTC); None without any.
        months: ``yyyy-mm`` to its file, in order.
        quarantine: Parquet file of the quarantined records (``QUARANTINE_SCHEMA``); present even if
            empty.
        nul_characters: NUL characters taken out.
        timestamp_reading: How the times were read, in words.
        encoding: The text encoding; None for formats that are no plain text or name it themselves.
        delimiter: The delimiter; None unless CSV.
        flattening: What flattening did; None unless the log is object-centric.
        warnings: Plain English, for the person who uploads.
    """

    format: Format
    columns: tuple[tuple[str, str], ...]
    schema_fingerprint: str
    records: int
    landed: int
    non_event: int
    quarantined: int
    reasons: dict[str, int]
    review_at: datetime | None
    months: dict[str, MonthFile]
    quarantine: Path
    nul_characters: int
    timestamp_reading: str
    encoding: str | None
    delimiter: str | None
    flattening: Flattening | None
    warnings: tuple[str, ...]

    @property
    def ambiguous_local_times(self) -> int:
        """Landed records whose local time occurred twice; the first was taken."""
        return sum(month.ambiguous_local_times for month in self.months.values())


def land(
    path: Path,
    mapping: Mapping,
    *,
    first_month: str,
    now: datetime,
    into: Path,
    progress: Progress | None = None,
    limits: Limits | None = None,
) -> Landing:
    """Land a file into ``into/raw/{yyyy-mm}.parquet`` and ``into/quarantine.parquet``.

    Args:
        path: A file of one of the formats of ``detect``, plain or in gzip or zip; under a mapping with personal columns
            what ``hide`` has made of it.
        mapping: Which column plays which part.
        first_month: ``yyyy-mm``; earlier records are quarantined.
        now: The time of landing, with a time zone; records more than a day later are quarantined.
        into: An empty folder, or one that does not exist yet.
        progress: Hears (bytes read, bytes of the file).
        limits: Caps on the file.

    Raises:
        UnreadableFile: The file as a whole cannot be read without losing something; nothing is left in
            ``into``.
        InvalidMapping: The mapping does not fit the file.
        AmbiguousMapping: The file can be read in more than one way.
    """
    bounds, path, into = Bounds(first_month, now), path.resolve(), into.resolve()
    with _folders(into) as (raw, scratch), local_session(scratch, path) as session:
        if mapping.personal:
            staged = stage_hidden(path, scratch, session, mapping)
        else:
            staged = stage(path, scratch, session, mapping, limits=limits or Limits(), progress=progress)
        classified = classify(session, staged, mapping, bounds)
        months = write_months(session, staged.names, raw)
        landed = sum(month.rows for month in months.values())
        all_landed = landed + staged.eventless == staged.records  # then the records need no second look
        blank = 0 if all_landed else count_blank(session)
        rest = iter(()) if all_landed else quarantined(session, staged, classified)
        reasons = write_quarantine(into / "quarantine.parquet", rest)
        landing = Landing(
            format=staged.format,
            columns=staged.columns,
            schema_fingerprint=hashlib.sha256(json.dumps(staged.columns).encode()).hexdigest(),
            records=staged.records,
            landed=landed,
            non_event=blank + staged.eventless,
            quarantined=sum(reasons.values()),
            reasons=reasons,
            review_at=first_admission(session) if IN_FUTURE in reasons else None,
            months=months,
            quarantine=into / "quarantine.parquet",
            nul_characters=staged.nul_count,
            timestamp_reading=classified.reading.description,
            encoding=staged.encoding,
            delimiter=staged.delimiter,
            flattening=staged.flattening,
            warnings=staged.warnings,
        )
        _require_conservation(landing)
        return landing


@contextmanager
def _folders(into: Path) -> Iterator[tuple[Path, Path]]:
    """The folders for raw files and for scratch; the scratch goes at the end, everything goes on failure."""
    raw, scratch = into / "raw", into / "scratch"
    raw.mkdir(parents=True)
    scratch.mkdir()
    try:
        yield raw, scratch
    except BaseException as error:
        shutil.rmtree(raw)
        (into / "quarantine.parquet").unlink(missing_ok=True)
        if isinstance(error, duckdb.OutOfMemoryException):
            raise UnreadableFile(
                "Reading the file needs more memory than allowed: its values are too long."
            ) from error
        raise
    finally:
        shutil.rmtree(scratch)


def _require_conservation(landing: Landing) -> None:
    accounted = landing.landed + landing.non_event + landing.quarantined
    if landing.records != accounted:
        raise UnreadableFile(
            f"{landing.records:,} records were read and {accounted:,} accounted for, so nothing was landed. "
            "This is a defect of casetrail: please report it with the file's layout."
        )
