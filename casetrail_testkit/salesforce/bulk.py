"""Bulk API 2.0 queries: jobs with their states, and results as CSV in pages behind a locator.

A job's result is a file: pages are slices of it, the same ones as long as the job is kept. Status requests move a job
on, so that nobody waits for a clock that stands still.
"""

import base64
import binascii
import csv
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import count
from typing import Any

from casetrail_testkit.clock import WITH_MILLISECONDS
from casetrail_testkit.messages import Request, Response, json_response
from casetrail_testkit.result_file import ResultFile
from casetrail_testkit.salesforce import soql
from casetrail_testkit.salesforce.catalog import Field, SObject
from casetrail_testkit.salesforce.errors import refuse
from casetrail_testkit.salesforce.ids import record_id
from casetrail_testkit.salesforce.limits import Limits
from casetrail_testkit.salesforce.oauth import USER_ID
from casetrail_testkit.salesforce.rest import queryable, source
from casetrail_testkit.salesforce.store import SalesforceStore
from casetrail_testkit.tables import Row

KEPT = timedelta(days=7)
DELIMITERS = {"COMMA": ",", "TAB": "\t", "SEMICOLON": ";", "PIPE": "|", "CARET": "^", "BACKQUOTE": "`"}
LINE_ENDINGS = {"LF": "\n", "CRLF": "\r\n"}
_OVER = ("JobComplete", "Aborted", "Failed")


@dataclass
class Job:
    """One query job."""

    id: str
    version: str
    operation: str
    selection: soql.Selection
    delimiter: str
    line_ending: str
    created: datetime
    changed: datetime
    state: str = "UploadComplete"
    polls: int = 0
    error: str | None = None
    result: ResultFile | None = None


class BulkJobs:
    """The query jobs of an org.

    Attributes:
        polls_until_complete: Which status request finds a job complete. The one before the last finds it in progress,
            those before that waiting.
        page_rows: Rows of a page for a client that names no ``maxRecords``.
        failures: What the next jobs fail with, one message for each; taken from the front.
    """

    def __init__(self, store: SalesforceStore, limits: Limits) -> None:
        """No job yet."""
        self.store, self.limits = store, limits
        self.polls_until_complete = 2
        self.page_rows = 100_000
        self.failures: list[str] = []
        self._numbers = count(1)
        self._jobs: dict[str, Job] = {}

    def fail_next(self) -> None:
        """Let the next job fail as one that ran out of attempts does."""
        self.failures.append("InternalServerError : Retried more than fifteen times")

    def create(self, request: Request, version: str) -> Response:
        """Answer ``POST jobs/query``.

        Raises:
            Refusal: 400, if the query cannot be one of Bulk.
        """
        for meter, what in (
            (self.limits.bulk_jobs, "jobs"),
            (self.limits.bulk_storage, "result size stored"),
        ):
            if meter.is_used_up:
                raise refuse(400, "LIMIT_EXCEEDED", f"Max bulk v2 query {what} per 24 hrs has been exceeded")
        asked = _asked(request)
        query = soql.parse(asked["query"])
        selection = soql.select(query, queryable(self.store, query.object), self.store.objects)
        _require_bulk(selection)
        now = self.store.clock.now()
        job = Job(
            record_id("750", next(self._numbers)),
            version,
            asked["operation"],
            selection,
            asked["columnDelimiter"],
            asked["lineEnding"],
            now,
            now,
        )
        self._jobs[job.id] = job
        self.limits.bulk_jobs.use(1)
        return json_response(_shown(job, with_result=False))

    def status(self, job_id: str) -> Response:
        """Answer ``GET jobs/query/ID``, which moves the job on."""
        job = self._job(job_id)
        if job.state not in _OVER:
            job.polls += 1
            job.changed = self.store.clock.now()
            if job.polls >= self.polls_until_complete:
                self._finish(job)
            elif job.polls == self.polls_until_complete - 1:
                job.state = "InProgress"
        return json_response(_shown(job, with_result=True))

    def results(self, request: Request, version: str, job_id: str) -> Response:
        """Answer ``GET jobs/query/ID/results``: 204 while there is no result.

        Raises:
            Refusal: 409 in another API version than the job's, 400 for a locator that is none.
        """
        job = self._job(job_id)
        if version != job.version:
            raise refuse(
                409, "API_VERSION_MISMATCH", "The API version must be that in which the job was created"
            )
        if job.result is None:
            return Response(204)
        first = _row(request.query.get("locator"))
        most = request.query.get("maxRecords", str(self.page_rows))
        if not most.isdigit() or not int(most) or first > len(job.result):
            raise refuse(400, "INVALID_QUERY_LOCATOR", "invalid locator or maxRecords")
        after = min(first + int(most), len(job.result))
        headers = {
            "Content-Type": "text/csv;charset=UTF-8",
            "Sforce-Locator": _locator(after) if after < len(job.result) else "null",
            "Sforce-NumberOfRecords": str(after - first),
        }
        return Response(200, headers, job.result.rows(first, int(most)), compressible=True)

    def abort(self, request: Request, job_id: str) -> Response:
        """Answer ``PATCH jobs/query/ID`` with ``{"state": "Aborted"}``.

        Raises:
            Refusal: 400, if the job is over or another state is asked for.
        """
        job = self._job(job_id)
        if job.state in _OVER or request.json().get("state") != "Aborted":
            raise refuse(400, "INVALIDJOBSTATE", f"A job in state {job.state} cannot be changed so")
        job.state = "Aborted"
        return json_response(_shown(job, with_result=False))

    def delete(self, job_id: str) -> Response:
        """Answer ``DELETE jobs/query/ID``.

        Raises:
            Refusal: 400, if the job is not over yet.
        """
        job = self._job(job_id)
        if job.state not in _OVER:
            raise refuse(400, "INVALIDJOBSTATE", f"A job in state {job.state} cannot be deleted")
        if job.result is not None:
            job.result.remove()
        del self._jobs[job_id]
        return Response(204)

    def _job(self, job_id: str) -> Job:
        job = self._jobs.get(job_id)
        if job is None or job.created + KEPT <= self.store.clock.now():
            raise refuse(404, "NOT_FOUND", "The requested resource does not exist")
        return job

    def _finish(self, job: Job) -> None:
        if self.failures:
            job.state, job.error = "Failed", self.failures.pop(0)
            return
        result = ResultFile(self.store.tables.folder)
        result.write_csv(
            [one.name for one in job.selection.fields],
            self._rows(job),
            delimiter=DELIMITERS[job.delimiter],
            line_ending=LINE_ENDINGS[job.line_ending],
            quoting=csv.QUOTE_ALL,  # which makes null and "" look the same, as there
        )
        self.limits.bulk_storage.use(result.size)
        job.result, job.state = result, "JobComplete"

    def _rows(self, job: Job) -> Iterator[Row]:
        columns = ", ".join(_as_text(job.selection.definition, one) for one in job.selection.fields)
        behind = source(self.store, job.selection, job.operation == "queryAll")
        return self.store.tables.read(f"select {columns} from {behind}", job.selection.parameters)


def _asked(request: Request) -> dict[str, str]:
    """The members of a request for a job, with what they are if they are not there.

    Raises:
        Refusal: 400 INVALIDJOB.
    """
    try:
        document = dict(request.json())
    except ValueError as error:
        raise refuse(400, "JSON_PARSER_ERROR", f"{error}") from error
    defaults = {"contentType": "CSV", "columnDelimiter": "COMMA", "lineEnding": "LF"}
    asked = {name: str(value) for name, value in {**defaults, **document}.items()}
    choices = {
        "operation": ("query", "queryAll"),
        "contentType": ("CSV",),
        "columnDelimiter": tuple(DELIMITERS),
        "lineEnding": tuple(LINE_ENDINGS),
    }
    for name, known in choices.items():
        if asked.get(name) not in known:
            raise refuse(400, "INVALIDJOB", f"{name} must be one of {', '.join(known)}")
    if not asked.get("query"):
        raise refuse(400, "INVALIDJOB", "a job needs a query")
    return asked


def _require_bulk(selection: soql.Selection) -> None:
    """Refuse what Bulk does not serve and REST does."""
    definition = selection.definition
    if not definition.bulk:
        raise refuse(400, "INVALIDENTITY", f"Entity '{definition.name}' is not supported by the Bulk API.")
    if not selection.fields:
        raise refuse(400, "API_ERROR", "COUNT is not supported in Bulk Query")
    if any(one.type in ("address", "base64") for one in selection.fields):
        raise refuse(400, "API_ERROR", "Selecting compound data not supported in Bulk Query")


def _as_text(definition: SObject, one: Field) -> str:
    column = soql.column(definition, one)
    return f"case {column} when 1 then 'true' when 0 then 'false' end" if one.type == "boolean" else column


def _shown(job: Job, *, with_result: bool) -> dict[str, Any]:
    shown = {
        "id": job.id,
        "operation": job.operation,
        "object": job.selection.definition.name,
        "createdById": USER_ID,
        "createdDate": _stamp(job.created),
        "systemModstamp": _stamp(job.changed),
        "state": job.state,
        "concurrencyMode": "Parallel",
        "contentType": "CSV",
        "apiVersion": float(job.version[1:]),
        "lineEnding": job.line_ending,
        "columnDelimiter": job.delimiter,
    }
    if with_result:
        rows = len(job.result) if job.result is not None else 0
        shown |= {
            "jobType": "V2Query",
            "numberRecordsProcessed": rows,
            "retries": 0,
            "totalProcessingTime": 0,
        }
    return shown | ({"errorMessage": job.error} if job.error else {})


def _stamp(instant: datetime) -> str:
    return instant.strftime(WITH_MILLISECONDS).removesuffix("Z") + "+0000"


def _locator(row: int) -> str:
    return base64.b64encode(str(row).encode()).decode().rstrip("=")


def _row(locator: str | None) -> int:
    if not locator:
        return 0
    try:
        return int(base64.b64decode(locator + "=" * (-len(locator) % 4), validate=True))
    except (ValueError, binascii.Error) as error:
        raise refuse(400, "INVALID_QUERY_LOCATOR", f"invalid locator {locator!r}") from error
