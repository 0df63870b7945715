"""Looking at a foreign file before it is landed: what it is, what its columns seem to mean, what is unclear.

Reads the file's first records exactly as landing does, and writes nothing that stays.
"""

import tempfile
from collections import Counter
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import duckdb
import pyarrow.compute as pc

from orchestration.connectors.archive import Limits, Progress
from orchestration.connectors.classify import Bounds, Classified, classify
from orchestration.connectors.columns import LANDED_COLUMNS
from orchestration.connectors.detect import Format
from orchestration.connectors.errors import AmbiguousMapping, Question
from orchestration.connectors.hidden import without_dropped
from orchestration.connectors.mapping import Hints, Mapping
from orchestration.connectors.quarantine import quarantined
from orchestration.connectors.reader import stage
from orchestration.connectors.session import local_session
from orchestration.connectors.staging import Staged
from orchestration.connectors.suggest import Suggestion, suggest

_EXAMPLES = 3
_FIRST_ROWS = 5


@dataclass(frozen=True)
class QuarantinePreview:
    """Records that would be quarantined for one reason.

    Attributes:
        reason: The code.
        count: Their number among the records that were read.
        examples: The first of them, as rows of ``QUARANTINE_SCHEMA``.
    """

    reason: str
    count: int
    examples: tuple[dict[str, Any], ...]


@dataclass(frozen=True)
class Probe:
    """What a look at a file gave.

    Attributes:
        format: What kind of file it is.
        encoding: The text encoding; None for formats that are no plain text or name it themselves.
        delimiter: The delimiter; None unless CSV.
        columns: (name, type in the file) in the file's order.
        records: Records that were read.
        complete: The whole file was read.
        suggestions: The proposed column of each part.
        questions: What has to be answered before the file can be landed.
        timestamp_reading: How the times are read, in words; None while questions are open.
        first_rows: The first records that would land: their ``LANDED_COLUMNS``.
        quarantine: What would be quarantined, by reason.
        warnings: Plain English.
    """

    format: Format
    encoding: str | None
    delimiter: str | None
    columns: tuple[tuple[str, str], ...]
    records: int
    complete: bool
    suggestions: tuple[Suggestion, ...]
    questions: tuple[Question, ...]
    timestamp_reading: str | None
    first_rows: tuple[dict[str, Any], ...]
    quarantine: tuple[QuarantinePreview, ...]
    warnings: tuple[str, ...]
    hints: Hints

    @property
    def mapping(self) -> Mapping:
        """The mapping to land the file with.

        Raises:
            AmbiguousMapping: Questions are open.
        """
        if self.questions:
            raise AmbiguousMapping(self.questions)
        return _filled(self.hints, self.suggestions)


def probe(
    path: Path,
    hints: Hints | None = None,
    *,
    first_month: str,
    now: datetime,
    max_records: int = 200_000,
    progress: Progress | None = None,
    limits: Limits | None = None,
) -> Probe:
    """Look at a file's first records.

    Args:
        path: A file of one of the formats of ``detect``, plain or in gzip or zip.
        hints: What a person has already said; it always wins over what is proposed.
        first_month: ``yyyy-mm``; earlier records would be quarantined.
        now: The time of the look, with a time zone.
        max_records: Records to read at most.
        progress: Hears (bytes read, bytes of the file).
        limits: Caps on the file.

    Raises:
        UnreadableFile: The file as a whole cannot be read without losing something.
        InvalidMapping: The hints do not fit the file.
        AmbiguousMapping: It was not said what the cases of an object-centric log are, or which sheet is the log.
    """
    hints, bounds, path = hints or Hints(), Bounds(first_month, now), path.resolve()
    with tempfile.TemporaryDirectory(prefix="casetrail-probe-") as folder:
        scratch = Path(folder).resolve()
        with local_session(scratch, path) as session:
            staged = stage(
                path,
                scratch,
                session,
                hints,
                limits=limits or Limits(),
                progress=progress,
                max_records=max_records,
            )
            staged = without_dropped(staged, hints.personal)
            suggestions, questions = suggest(session, staged, hints)
            classified: Classified | None = None
            if not questions:
                mapping = _filled(hints, suggestions)
                mapping.check_personal()
                questions = _open_times(session, staged, mapping, bounds)
                if not questions:
                    classified = classify(session, staged, mapping, bounds)
                    suggestions += _date_order(mapping, classified)
            return Probe(
                format=staged.format,
                encoding=staged.encoding,
                delimiter=staged.delimiter,
                columns=staged.columns,
                records=staged.records,
                complete=not staged.truncated,
                suggestions=tuple(suggestions),
                questions=tuple(questions),
                timestamp_reading=classified.reading.description if classified else None,
                first_rows=_first_rows(session) if classified else (),
                quarantine=_preview(session, staged, classified) if classified else (),
                warnings=staged.warnings,
                hints=hints,
            )


def _filled(hints: Hints, suggestions: tuple[Suggestion, ...] | list[Suggestion]) -> Mapping:
    return Mapping.model_validate(hints.model_dump() | {s.field: s.column for s in suggestions})


def _open_times(
    session: duckdb.DuckDBPyConnection, staged: Staged, mapping: Mapping, bounds: Bounds
) -> list[Question]:
    """The questions about times, all at once: an open date order must not hide that the zone is open too."""
    try:
        classify(session, staged, mapping, bounds)
    except AmbiguousMapping as first:
        questions = list(first.questions)
        if questions[0].field == "timestamp_format":
            answered = mapping.model_copy(update={"timestamp_format": "day-first"})
            questions += _open_times(session, staged, answered, bounds)
        return questions
    return []


def _date_order(mapping: Mapping, classified: Classified) -> list[Suggestion]:
    """The proven order of day and month, to be remembered for files that do not prove it."""
    orders = {reading.date_order for reading in (classified.reading, classified.start_reading) if reading} - {
        None
    }
    if mapping.timestamp_format is not None or len(orders) != 1:
        return []
    order = str(orders.pop())
    return [Suggestion("timestamp_format", order, 0.95, "proven by a value above 12")]


def _first_rows(session: duckdb.DuckDBPyConnection) -> tuple[dict[str, Any], ...]:
    columns = ", ".join(LANDED_COLUMNS)
    rows = session.sql(
        f"SELECT {columns} FROM classified WHERE _reason IS NULL ORDER BY _row_number LIMIT {_FIRST_ROWS}"
    )
    return tuple(dict(zip(LANDED_COLUMNS, row, strict=True)) for row in rows.fetchall())


def _preview(
    session: duckdb.DuckDBPyConnection, staged: Staged, classified: Classified
) -> tuple[QuarantinePreview, ...]:
    examples: dict[str, list[dict[str, Any]]] = {}
    counts: Counter[str] = Counter()
    for table in quarantined(session, staged, classified):
        counts.update(table["reason"].to_pylist())
        for reason in pc.unique(table["reason"]).to_pylist():
            rows = table.filter(pc.equal(table["reason"], reason)).slice(0, _EXAMPLES).to_pylist()
            examples.setdefault(reason, []).extend(rows)
    return tuple(
        QuarantinePreview(reason, count, tuple(examples[reason][:_EXAMPLES]))
        for reason, count in sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    )
