"""Bulk Extract: jobs for leads and for activities, their queue, their files.

Status requests move the running jobs on, so that nobody waits for a clock that stands still. Both ends of a date range
belong to it: the documentation does not say, and this is what costs a client without de-duplication.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import uuid4

from casetrail_testkit.clock import WHOLE_SECONDS, instant_of
from casetrail_testkit.marketo.catalog import DELETE_LEAD
from casetrail_testkit.marketo.errors import fail, invalid, missing, success
from casetrail_testkit.marketo.leads import require_fields
from casetrail_testkit.marketo.limits import Limits
from casetrail_testkit.marketo.store import MarketoStore
from casetrail_testkit.messages import FileSlice, Request, Response
from casetrail_testkit.result_file import ResultFile
from casetrail_testkit.tables import Row, quoted

MOST_RUNNING, MOST_QUEUED = 2, 10
LONGEST_RANGE = timedelta(days=31)
KEPT = timedelta(days=7)
DELIMITERS = {"CSV": ",", "TSV": "\t", "SSV": ";"}
ACTIVITY_FIELDS = {
    "marketoGUID": "cast(id as text)",
    "leadId": "leadId",
    "activityDate": "activityDate",
    "activityTypeId": "activityTypeId",
    "campaignId": "campaignId",
    "primaryAttributeValueId": "primaryAttributeValueId",
    "primaryAttributeValue": "primaryAttributeValue",
    "attributes": "attributes",
    "actionResult": "actionResult",
}
_RANGE = re.compile(r"bytes=(\d+)-(\d*)")


@dataclass
class Export:
    """One job; ``select`` and ``parameters`` are the SQL of its rows."""

    id: str
    kind: str
    format: str
    header: list[str]
    select: str
    parameters: list[Any]
    status: str = "Created"
    times: dict[str, datetime] = field(default_factory=dict)
    polls: int = 0
    file: ResultFile | None = None
    checksum: str = ""


class Exports:
    """The jobs of a subscription.

    Attributes:
        polls_until_complete: With how many status requests, of any job, a running job is complete.
        has_updated_at: False: the filter ``updatedAt`` of leads is refused, as some subscriptions do.
    """

    def __init__(self, store: MarketoStore, limits: Limits) -> None:
        """No job yet."""
        self.store, self.limits = store, limits
        self.polls_until_complete = 2
        self.has_updated_at = True
        self._jobs: dict[str, Export] = {}

    def create(self, kind: str, request: Request) -> Response:
        """Answer ``export/create.json``.

        Raises:
            Refusal: For a request that makes no sense, and when the day's bytes are used up.
        """
        self._require_quota()
        try:
            asked = dict(request.json())
            filters = dict(asked.get("filter") or {})
        except (ValueError, TypeError) as error:
            raise fail("609", f"Invalid JSON: {error}") from error
        form = str(asked.get("format", "CSV"))
        if form not in DELIMITERS:
            raise invalid(f"format must be one of {', '.join(DELIMITERS)}")
        rows = self._leads if kind == "leads" else self._activities
        names, select, parameters = rows(list(asked.get("fields") or []), filters)
        renamed = dict(asked.get("columnHeaderNames") or {})
        job = Export(
            str(uuid4()), kind, form, [renamed.get(name, name) for name in names], select, parameters
        )
        job.times["createdAt"] = self.store.clock.now()
        self._jobs[job.id] = job
        return success(result=[_shown(job)])

    def enqueue(self, kind: str, export_id: str) -> Response:
        """Answer ``enqueue.json``.

        Raises:
            Refusal: 1029, when the queue is full (running jobs count) or the day's bytes are used up.
        """
        job = self._job(kind, export_id)
        self._require_quota()
        if job.status != "Created":
            raise invalid(f"Export in status {job.status} cannot be enqueued")
        if len(self._in("Queued")) + len(self._in("Processing")) >= MOST_QUEUED:
            raise fail("1029", "Too many jobs in queue")
        self._move(job, "Queued", "queuedAt")
        self._start_waiting()
        return success(result=[_shown(job)])

    def status(self, kind: str, export_id: str) -> Response:
        """Answer ``status.json`` as things are, and move the running jobs on."""
        job = self._job(kind, export_id)
        shown = _shown(job)
        for running in self._in("Processing"):
            running.polls += 1
            if running.polls >= self.polls_until_complete:
                self._finish(running)
        self._start_waiting()
        return success(result=[shown])

    def cancel(self, kind: str, export_id: str) -> Response:
        """Answer ``cancel.json``.

        Raises:
            Refusal: 1003, for a job that is over.
        """
        job = self._job(kind, export_id)
        if job.status not in ("Created", "Queued", "Processing"):
            raise invalid(f"Export in status {job.status} cannot be cancelled")
        self._move(job, "Cancelled", "finishedAt")
        self._start_waiting()
        return success(result=[_shown(job)])

    def listed(self, kind: str) -> Response:
        """Answer ``export.json``: the jobs of the last seven days."""
        since = self.store.clock.now() - KEPT
        jobs = [job for job in self._jobs.values() if job.kind == kind and job.times["createdAt"] > since]
        return success(result=[_shown(job) for job in jobs])

    def file(self, kind: str, export_id: str, request: Request) -> Response:
        """Answer ``file.json``, whole or a range of bytes; 404 in plain text while there is no file."""
        job = self._job(kind, export_id)
        gone = job.file is not None and job.times["finishedAt"] + KEPT <= self.store.clock.now()
        if job.file is None or gone:
            return Response(404, {"Content-Type": "text/plain"}, b"The file is not there")
        size = job.file.size
        headers = {"Content-Type": "text/csv;charset=UTF-8", "Accept-Ranges": "bytes"}
        asked = _RANGE.fullmatch(request.headers.get("Range", ""))
        if asked is None:
            return Response(200, headers, FileSlice(job.file.path, 0, size))
        first, last = int(asked[1]), min(int(asked[2] or size - 1), size - 1)
        if first > last:
            return Response(416, {"Content-Range": f"bytes */{size}"})
        headers["Content-Range"] = f"bytes {first}-{last}/{size}"
        return Response(206, headers, FileSlice(job.file.path, first, last - first + 1))

    def _leads(self, fields: Sequence[str], filters: Mapping[str, Any]) -> tuple[list[str], str, list[Any]]:
        if not fields:
            raise missing("fields")
        require_fields(self.store, fields)
        known = ("createdAt", "updatedAt") if self.has_updated_at else ("createdAt",)
        if len(filters) != 1 or next(iter(filters)) not in known:
            raise fail("1035", "Unsupported filter type for target subscription")
        ((name, limits),) = filters.items()
        columns = ", ".join(_as_text(column, self.store.fields[column].type) for column in fields)
        select = f"select {columns} from leads where {quoted(name)} between ? and ? order by id"
        return list(fields), select, _range(limits)

    def _activities(
        self, fields: Sequence[str], filters: Mapping[str, Any]
    ) -> tuple[list[str], str, list[Any]]:
        unsupported = sorted(set(filters) - {"createdAt", "activityTypeIds"})
        if unsupported:
            raise fail("1035", f"Unsupported filter type {unsupported[0]} for target subscription")
        if "createdAt" not in filters:
            raise missing("filter.createdAt")
        known = {kind.id for kind in self.store.types.values()} - {self.store.types[DELETE_LEAD].id}
        types = list(filters.get("activityTypeIds") or sorted(known))
        if not known.issuperset(types):
            raise invalid(f"Invalid activity type ids {sorted(set(types) - known)}")
        names = list(fields) or [name for name in ACTIVITY_FIELDS if name != "actionResult"]
        if not set(names) <= set(ACTIVITY_FIELDS):
            raise fail("1006", f"Field '{sorted(set(names) - set(ACTIVITY_FIELDS))[0]}' not found")
        columns = ", ".join(_or_null(ACTIVITY_FIELDS[name]) for name in names)
        select = (
            f"select {columns} from activities where activityDate between ? and ?"
            f" and activityTypeId in ({', '.join('?' * len(types))}) order by activityDate, _row"
        )
        return names, select, [*_range(filters["createdAt"]), *types]

    def _finish(self, job: Export) -> None:
        rows: Iterator[Row] = self.store.tables.read(job.select, job.parameters)
        job.file = ResultFile(self.store.tables.folder)
        job.file.write_csv(job.header, rows, delimiter=DELIMITERS[job.format])
        job.checksum = job.file.sha256()
        self.limits.export_bytes.use(job.file.size)
        self._move(job, "Completed", "finishedAt")

    def _start_waiting(self) -> None:
        for job in self._in("Queued")[: MOST_RUNNING - len(self._in("Processing"))]:
            self._move(job, "Processing", "startedAt")

    def _move(self, job: Export, status: str, time: str) -> None:
        job.status, job.times[time] = status, self.store.clock.now()

    def _in(self, status: str) -> list[Export]:
        found = [job for job in self._jobs.values() if job.status == status]
        return sorted(found, key=lambda job: job.times.get("queuedAt", job.times["createdAt"]))

    def _job(self, kind: str, export_id: str) -> Export:
        job = self._jobs.get(export_id)
        if job is None or job.kind != kind:
            raise fail("1013", f"Export {export_id} not found")
        return job

    def _require_quota(self) -> None:
        if self.limits.export_bytes.is_used_up:
            raise fail("1029", "Export daily quota exceeded")


def _range(limits: Any) -> list[Any]:
    """Start and end of a date range as text.

    Raises:
        Refusal: 1003.
    """
    try:
        start, end = (instant_of(limits[name]) for name in ("startAt", "endAt"))
    except (KeyError, TypeError, ValueError) as error:
        raise invalid(f"a date range has startAt and endAt, ISO 8601 times: {error}") from error
    if start.microsecond or end.microsecond or "." in limits["startAt"] + limits["endAt"]:
        raise invalid("times of a date range have no milliseconds")
    if not timedelta(0) <= end - start <= LONGEST_RANGE:
        raise invalid("a date range may span 31 days at most")
    return [start.strftime(WHOLE_SECONDS), end.strftime(WHOLE_SECONDS)]


def _as_text(name: str, kind: str) -> str:
    column = quoted(name)
    return _or_null(
        f"case {column} when 1 then 'true' when 0 then 'false' end" if kind == "boolean" else column
    )


def _or_null(expression: str) -> str:
    """An empty value is the word null."""
    return f"coalesce({expression}, 'null')"


def _shown(job: Export) -> dict[str, Any]:
    shown: dict[str, Any] = {"exportId": job.id, "format": job.format, "status": job.status}
    shown |= {name: instant.strftime(WHOLE_SECONDS) for name, instant in job.times.items()}
    if job.file is not None:
        shown |= {
            "numberOfRecords": len(job.file),
            "fileSize": job.file.size,
            "fileChecksum": f"sha256:{job.checksum}",
        }
    return shown
