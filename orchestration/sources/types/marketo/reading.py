"""Reading a subscription: dimensions, deletions, and windows of leads and activities by Bulk Extract.

The exports of a window are made before a checkpoint with their ids, and queued after it: a crash finds them again.
An export that is complete is fetched whole and verified; then its rows land in several checkpoints.
"""

import tempfile
from collections.abc import Generator, Iterator
from copy import deepcopy
from datetime import datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import Any

from orchestration.sources.errors import SourceError, TransientError
from orchestration.sources.protocol import Checkpoint, Context, Page, State, Window
from orchestration.sources.types.marketo.activities import ActivityPages, row_of
from orchestration.sources.types.marketo.activity_types import DELETE_LEAD, EXPORT_FIELDS, activity_types
from orchestration.sources.types.marketo.config import Config
from orchestration.sources.types.marketo.export_rows import NotAnExport, Row, export_rows
from orchestration.sources.types.marketo.exports import (
    NEXT_TRY_SECONDS,
    ExportFile,
    ExportLost,
    Job,
    Kind,
)
from orchestration.sources.types.marketo.leads import (
    described_fields,
    exported_fields,
    lead_columns,
    lead_page,
)
from orchestration.sources.types.marketo.listings import deleted_leads, dimension_pages
from orchestration.sources.types.marketo.progress import DELETIONS, Progress, whole_second
from orchestration.sources.types.marketo.refusals import UNSUPPORTED_FILTER, Refused
from orchestration.sources.types.marketo.subscription import Subscription, subscription
from orchestration.sources.types.marketo.values import microseconds, moment, written

PAGE_ROWS = 10_000
CHECKPOINT_ROWS = 50_000
"""So many are read again at most after a crash."""


def read(
    config: Config, window: Window, state: State | None, context: Context
) -> Generator[Page | Checkpoint]:
    """Everything that happened or changed in the window, from where it was left.

    ``state`` has, for what is exported, until when it was read, since when, of what it was, and the export under way
    with its rows that have landed. What is asked for otherwise, or from an earlier start on, is read anew.
    """
    with (
        subscription(config, context) as source,
        tempfile.TemporaryDirectory(prefix="casetrail-export-") as folder,
    ):
        yield from _Reading(config, window, deepcopy(state or {}), source, Path(folder)).steps()


class _Reading:
    """One read."""

    def __init__(
        self, config: Config, window: Window, state: State, source: Subscription, folder: Path
    ) -> None:
        self.config, self.source, self.folder = config, source, folder
        self.types = activity_types(source, config.activity_types)
        described = described_fields(source) if "leads" in config.streams else {}
        self.columns = lead_columns(config.fields, described)
        self.pages = ActivityPages(self.types, config.streams, self.columns)
        self.request = dict[str, Any]()
        # By Marketo's clock, which its stamps go by.
        end = min(window.end, source.now) - timedelta(seconds=config.lag_seconds)
        self.progress = Progress(
            whole_second(window.start or config.start),
            whole_second(end),
            timedelta(seconds=config.overlap_seconds),
            timedelta(days=config.window_days),
            state,
        )
        self.exported = self._exported_kinds()

    def steps(self) -> Iterator[Page | Checkpoint]:
        yield from dimension_pages(self.source, self.config.streams, self.types)
        yield from self._deletions()
        try:
            while under_way := [kind for kind in self.exported if self._has_export(kind)]:
                yield self._checkpoint()
                for kind in under_way:
                    yield from self._extract(kind)
        except SourceError:
            # What is whole is not lost with what went wrong.
            yield self._checkpoint()
            raise
        yield self._checkpoint()

    def _exported_kinds(self) -> list[Kind]:
        """What is exported; its progress begins, or goes on."""
        streams, kinds = self.config.streams, list[Kind]()
        if "leads" in streams:
            kinds.append("leads")
            self.progress.begin("leads", sorted(self.config.fields))
        if self._types_to_export():
            kinds.append("activities")
            asked = [sorted(self.config.activity_types), "activities" in streams, self._wants_merges]
            self.progress.begin("activities", asked)
        if "leads" in streams or ("activities" in streams and DELETE_LEAD in self.types.wanted):
            self.progress.begin(DELETIONS, [])
        return kinds

    @property
    def _wants_merges(self) -> bool:
        return "merges" in self.config.streams or "leads" in self.config.streams

    def _types_to_export(self) -> list[int]:
        return self.types.exported("activities" in self.config.streams, self._wants_merges)

    def _deletions(self) -> Iterator[Page]:
        """Since the last time, and without an end: what is younger than the window is given again, and known."""
        if DELETIONS not in self.progress.state or self.progress.is_at_end(DELETIONS):
            return
        low, high = self.progress.low(DELETIONS), microseconds(self.source.now)
        self.request[DELETIONS] = {"from": written(low)}
        for found in deleted_leads(self.source, low):
            if found:
                yield from self.pages.of([row_of(activity) for activity in found], microseconds(low), high)
        self.progress.advance(DELETIONS, self.progress.end)

    def _has_export(self, kind: Kind) -> bool:
        """Whether an export is under way; one is made for the next window, if there is one."""
        if self.progress.state[kind]["export"]:
            return True
        if self.progress.is_at_end(kind):
            return False
        low, until = self.progress.window(kind)
        job, cursor = self._create(kind, low, until)
        self.progress.under_way(
            kind,
            {"id": job.id, "from": written(low), "until": written(until), "cursor": cursor, "rows": 0},
        )
        return True

    def _create(self, kind: Kind, low: datetime, until: datetime) -> tuple[Job, str]:
        """A job, and the field by which it selects."""
        # Whether the end belongs to a range is not documented; the second that two windows share is known again.
        span = {"startAt": written(low), "endAt": written(until)}
        if kind == "activities":
            filters = {"createdAt": span, "activityTypeIds": self._types_to_export()}
            return Job.create(self.source, kind, EXPORT_FIELDS, filters), "activityDate"
        fields = exported_fields(self.columns)
        try:
            return Job.create(self.source, kind, fields, {"updatedAt": span}), "updatedAt"
        except Refused as error:
            # Some subscriptions cannot select by changes.
            if error.code != UNSUPPORTED_FILTER:
                raise
        return Job.create(self.source, kind, fields, {"createdAt": span}), "createdAt"

    def _extract(self, kind: Kind) -> Iterator[Page | Checkpoint]:
        """The rows of the export that is under way."""
        entry = self.progress.state[kind]["export"]
        job, path = Job(self.source, kind, entry["id"]), self.folder / f"{kind}.csv"
        try:
            expected = job.wait(self.config.poll_seconds)
            job.fetch(expected, path, self.config.poll_seconds)
            yield from self._rows(kind, entry, path, expected)
        except (ExportLost, NotAnExport) as error:
            self.progress.lost(kind)
            # Not at once: an export uses up the day's bytes.
            raise TransientError(f"{error} The next sync makes another.", NEXT_TRY_SECONDS) from None
        finally:
            path.unlink(missing_ok=True)

    def _rows(
        self, kind: Kind, entry: dict[str, Any], path: Path, expected: ExportFile
    ) -> Iterator[Page | Checkpoint]:
        """The rows behind those that have landed; then the window is done."""
        rows = export_rows(path)
        fields = list(EXPORT_FIELDS) if kind == "activities" else exported_fields(self.columns)
        if next(rows) != fields:
            # What is no header is a record: it is not shown.
            raise NotAnExport(f"An export of {kind} has other columns than were asked for.")
        count = sum(1 for _ in islice(rows, entry["rows"]))
        while found := list(islice(rows, PAGE_ROWS)):
            yield from self._pages(kind, entry, found)
            count += len(found)
            if count - entry["rows"] >= CHECKPOINT_ROWS:
                entry["rows"] = count
                self.request[kind] = dict(entry)
                yield self._checkpoint()
        if expected.records not in (None, count):
            raise NotAnExport(f"An export of {kind} has {count:,} records of {expected.records:,}.")
        self.request[kind] = {**entry, "rows": count}
        self.progress.advance(kind, moment(entry["until"]))

    def _pages(self, kind: Kind, entry: dict[str, Any], rows: list[Row]) -> Iterator[Page]:
        low, high = microseconds(moment(entry["from"])), microseconds(moment(entry["until"]))
        if kind == "activities":
            yield from self.pages.of(rows, low, high)
        else:
            yield lead_page(self.columns, rows, entry["cursor"], low, high)

    def _checkpoint(self) -> Checkpoint:
        state, streams = self.progress.state, self.config.streams
        kinds = [kind for kind in ("leads", "activities", DELETIONS) if kind in state]
        brought_by = {
            "leads": kinds,
            "activities": [kind for kind in kinds if kind != "leads"],
            "merges": [kind for kind in kinds if kind == "activities"],
        }
        reread: dict[str, int] = {
            stream: self.progress.reread_from(*brought_by[stream]) if brought_by.get(stream) else 0
            for stream in streams
        }
        request, self.request = self.request, {}
        return Checkpoint(deepcopy(state), reread, request)
