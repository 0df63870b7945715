"""Reading one object from where it was left: windows of time, by REST or Bulk, and then its deletes.

A window is done as a whole: only when all that was promised of it has come, the place to go on from moves behind it.
Until then whoever begins again begins with the window, or goes on with its Bulk job; what was given before is known
again by its digest.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import AwareDatetime, BaseModel, ConfigDict

from orchestration.sources.protocol import Page, Window
from orchestration.sources.types.salesforce import bulk, rest
from orchestration.sources.types.salesforce.config import Config
from orchestration.sources.types.salesforce.deletes import MINUTE, deletes, minute
from orchestration.sources.types.salesforce.errors import (
    AddressTooLong,
    BulkRefused,
    JobGone,
    QueryTooLong,
)
from orchestration.sources.types.salesforce.objects import Selected, instant
from orchestration.sources.types.salesforce.org import Org
from orchestration.sources.types.salesforce.pages import cursors_of, pages_of
from orchestration.sources.types.salesforce.stages import NAME as STAGES_NAME
from orchestration.sources.types.salesforce.stages import Stages
from orchestration.sources.types.salesforce.values import batch_of

REST_ROWS = 2_000
"""Of more records than that a Bulk job is made."""

BULK_WINDOW_ROWS = 1_000_000
WHOLE_WINDOW_ROWS = 100_000
"""Of windows that are read without Bulk, or held in memory: so many records come again at most after a crash."""

_ADDRESS_CHARACTERS = 8_000
"""A longer query goes into the body of a Bulk job."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_FIRST_ORG = datetime(1999, 1, 1, tzinfo=UTC)
_DAY = timedelta(days=1)


class Left(BaseModel):
    """Where the reading of an object was left.

    Attributes:
        cursor: The field that ``newest`` is of: it means nothing for another.
        since: What changed before was not asked for; None: nothing was left out.
        newest: The newest record of all windows that are done, in microseconds since 1970.
        covered: Until when deletes were asked for.
        job: A window in work, of which not all has come.
    """

    model_config = ConfigDict(frozen=True)

    cursor: str
    since: AwareDatetime | None = None
    newest: int | None = None
    covered: AwareDatetime | None = None
    job: bulk.Job | None = None
    low: AwareDatetime | None = None
    high: AwareDatetime | None = None


@dataclass(frozen=True)
class _Part:
    """A window: from ``low`` on (None: ever), and before ``high``."""

    low: datetime | None
    high: datetime

    @property
    def middle(self) -> datetime | None:
        """A whole second within; None where there is none, or no beginning."""
        if self.low is None:
            return None
        middle = (self.low + (self.high - self.low) / 2).replace(microsecond=0)
        return middle if self.low < middle < self.high else None

    @property
    def is_smallest(self) -> bool:
        """Whether it cannot be divided."""
        return self.low is not None and self.middle is None


class Reader:
    """Reads one object. Between two steps, ``left`` is where another read would go on.

    Attributes:
        left: That.
        request: What was asked, for the manifest.
    """

    def __init__(self, org: Org, config: Config, source: Selected, window: Window, left: Left | None) -> None:
        """Nothing is asked yet. ``left`` counts if it is of the same cursor, and of no later beginning."""
        self._org, self._config, self._source = org, config, source
        end = min(window.end.astimezone(UTC), org.now - timedelta(seconds=config.lag_seconds))
        self._high = end.replace(microsecond=0)
        self.left = self._going_on(left, window.start and window.start.astimezone(UTC))
        self._is_first = self.left.newest is None
        self._stages = Stages(from_beginning=self._is_first) if source.name == STAGES_NAME else None
        self._without_bulk = False
        self._windows: list[dict[str, Any]] = []
        self.request: dict[str, Any] = {
            "cursor": source.cursor,
            "fields": list(source.fields),
            "windows": self._windows,
        }

    def _going_on(self, left: Left | None, start: datetime | None) -> Left:
        if left is None or left.cursor != self._source.cursor or _is_earlier(start, left.since):
            return Left(cursor=self._source.cursor, since=start, covered=self._settled())
        return left.model_copy(update={"since": start})

    def _settled(self) -> datetime:
        """Until when no delete is still to come by a query."""
        return minute(self._high - timedelta(seconds=self._config.overlap_seconds)) + MINUTE

    @property
    def reread_from(self) -> int | None:
        """The cursor from which on the next read may give records again; None: from the beginning."""
        return None if self.left.newest is None else self._behind(self.left.newest)

    def steps(self) -> Iterator[list[Page]]:
        """The records, in steps after each of which ``left`` may be kept.

        Raises:
            SourceError: see ``errors``.
        """
        yield from self._resumed()
        low = self.left.since
        if self.left.newest is not None:
            low = _EPOCH + timedelta(microseconds=self._behind(self.left.newest))
        part = _Part(low, self._high)
        if low is None or low < self._high:
            counted = self._is_first or self._is_long(part)
            yield from self._divided(part) if counted else self._little(part)
        if not self._is_first and self._source.object.replicates and self._source.has_deleted:
            yield from self._deletes()

    def _behind(self, newest: int) -> int:
        return newest - self._config.overlap_seconds * 1_000_000

    def _resumed(self) -> Iterator[list[Page]]:
        """The rest of a Bulk job that an earlier read has begun, if it still is what would be asked for."""
        job, high = self.left.job, self.left.high
        if job is None or high is None:
            return
        part = _Part(self.left.low, high)
        if job.version == self._config.api_version and job.query == self._query(part, ordered=False):
            try:
                yield from self._of_job(part, job)
            except (JobGone, QueryTooLong):
                self._forget_job()
        else:
            self._forget_job()

    def _little(self, part: _Part) -> Iterator[list[Page]]:
        """A window that mostly has so few records that nobody need count them before."""
        try:
            yield from self._by_rest(part, REST_ROWS)
        except (QueryTooLong, AddressTooLong):
            yield from self._divided(part)

    def _divided(self, part: _Part) -> Iterator[list[Page]]:
        """A window, in halves where it is too long."""
        try:
            rows = rest.count(self._org, self._source.count(part.low, part.high))
            if rows <= self._most_rows or part.is_smallest:
                yield from self._counted(part, rows)
                return
        except QueryTooLong:
            if part.is_smallest:
                raise
        for half in self._halves(part):
            yield from self._divided(half)

    def _halves(self, part: _Part) -> list[_Part]:
        """Shorter windows; one without a beginning gets that of the oldest record."""
        if part.low is None:
            return [_Part(self._oldest(part), part.high)]
        middle = part.middle or part.high
        return [_Part(part.low, middle), _Part(middle, part.high)]

    def _oldest(self, part: _Part) -> datetime:
        try:
            rows = [
                row for _total, page in rest.pages(self._org, self._source.oldest(part.high)) for row in page
            ]
            cursors = batch_of(rows, {self._source.cursor: "datetime"}).column(0)
            oldest = pc.min(cursors_of(cursors)).as_py()
            return part.high if oldest is None else _EPOCH + timedelta(microseconds=oldest)
        except QueryTooLong:
            return min(_FIRST_ORG, part.high)

    @property
    def _most_rows(self) -> int:
        return WHOLE_WINDOW_ROWS if self._without_bulk or self._stages is not None else BULK_WINDOW_ROWS

    def _counted(self, part: _Part, rows: int) -> Iterator[list[Page]]:
        if rows and (rows > REST_ROWS or self._is_long(part)) and not self._without_bulk:
            try:
                yield from self._by_bulk(part)
                return
            except BulkRefused:
                self._without_bulk = True
        if rows > self._most_rows and not part.is_smallest:
            raise QueryTooLong(f"The window has {rows:,} records.")
        if rows == 0:
            return
        try:
            # More of them may be there than when they were counted.
            yield from self._by_rest(part, 2 * rows + REST_ROWS)
        except AddressTooLong:
            if self._without_bulk:
                raise
            yield from self._by_bulk(part)

    def _is_long(self, part: _Part) -> bool:
        return len(self._query(part, ordered=True)) > _ADDRESS_CHARACTERS

    def _query(self, part: _Part, *, ordered: bool) -> str:
        return self._source.query(part.low, part.high, ordered=ordered)

    def _by_rest(self, part: _Part, most: int) -> Iterator[list[Page]]:
        """Raises ``QueryTooLong`` for more than ``most`` records."""
        given, held = 0, list[pa.RecordBatch]()
        newest: int | None = None
        for total, batch in rest.batches(self._org, self._query(part, ordered=True), self._source.fields):
            if total > most:
                raise QueryTooLong(f"The window has {total:,} records.")
            given, newest = given + batch.num_rows, self._newest(batch, newest)
            held.append(batch)
            if self._stages is not None and given < total:
                continue
            pages, held = self._pages(part, held), []
            if given == total:
                self._finish(part, newest, "REST", total)
            yield pages

    def _by_bulk(self, part: _Part) -> Iterator[list[Page]]:
        job = bulk.new_job(self._org, self._config.api_version, self._query(part, ordered=False))
        self.left = self.left.model_copy(update={"job": job, "low": part.low, "high": part.high})
        try:
            yield from self._of_job(part, job)
        except (JobGone, QueryTooLong):
            self._forget_job()
            raise

    def _of_job(self, part: _Part, job: bulk.Job) -> Iterator[list[Page]]:
        """What is not read yet of a job's result."""
        newest, held = job.newest, list[pa.RecordBatch]()
        for batch, after, is_last in bulk.pages(self._org, job, self._source.fields):
            newest = self._newest(batch, newest)
            held.append(batch)
            if self._stages is not None and not is_last:
                continue
            pages, held = self._pages(part, held), []
            # Only now: with what was left of it, a page that could not be made would be lost.
            if is_last:
                self._finish(part, newest, f"Bulk {job.id}", after.rows)
            else:
                going_on = after.model_copy(update={"newest": newest})
                self.left = self.left.model_copy(update={"job": going_on})
            yield pages

    def _finish(self, part: _Part, newest: int | None, by: str, rows: int) -> None:
        """Everything of a window is there. Within the overlap the place to go on from does not move back."""
        known = [one for one in (newest, self.left.newest) if one is not None]
        self.left = self.left.model_copy(update={"newest": max(known, default=None)})
        self._forget_job()
        window = {"from": part.low and part.low.isoformat(), "before": part.high.isoformat()}
        self._windows.append({**window, "by": by, "records": rows})

    def _forget_job(self) -> None:
        self.left = self.left.model_copy(update={"job": None, "low": None, "high": None})

    def _newest(self, batch: pa.RecordBatch, newest: int | None) -> int | None:
        found = pc.max(cursors_of(batch.column(self._source.cursor))).as_py()
        return max((one for one in (found, newest) if one is not None), default=None)

    def _pages(self, part: _Part, held: list[pa.RecordBatch]) -> list[Page]:
        batch = pa.Table.from_batches(held).combine_chunks()
        columns = {name: _flat(batch[name]) for name in self._source.fields}
        changes = None
        if self._stages is not None and batch.num_rows:
            rows = pa.record_batch(list(columns.values()), list(columns))
            changes = self._stages.changed(self._org, rows, self._source.cursor, part.low)
        return pages_of(self._source, columns, self._config, changes)

    def _deletes(self) -> Iterator[list[Page]]:
        """Tombstones, which are but an id and a time, of records that no query shows any more."""
        since = self.left.covered or self._settled()
        found = deletes(self._org, self._source.name, since)
        if found is None:
            return
        if found.gap is not None:
            self.request["deletes_not_told"] = [moment.isoformat() for moment in found.gap]
        pages = self._tombstones(found.purged)
        # Else each sync would move it, and be a pull of its own that brings nothing.
        if found.were_any or found.gap or self._org.now - since > _DAY:
            covered = max(since, min(found.covered, self._settled()))
            self.left = self.left.model_copy(update={"covered": covered})
        yield pages

    def _tombstones(self, purged: list[tuple[str, datetime]]) -> list[Page]:
        known = {
            "Id": [record for record, _at in purged],
            "IsDeleted": ["true"] * len(purged),
            self._source.cursor: [instant(at) for _record, at in purged],
        }
        columns = {
            field: pa.array(known.get(field, [None] * len(purged)), pa.string())
            for field in self._source.fields
        }
        return pages_of(self._source, columns, self._config)


def _flat(column: pa.ChunkedArray) -> pa.Array:
    return column.chunk(0) if column.num_chunks == 1 else pa.array([], column.type)


def _is_earlier(start: datetime | None, since: datetime | None) -> bool:
    return since is not None and (start is None or start < since)
