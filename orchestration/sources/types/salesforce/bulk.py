"""Queries by Bulk API 2.0: a job, and its result as pages of CSV behind a locator, which can be gone on with later."""

import time
from collections.abc import Iterator, Mapping
from typing import Any, Literal

import httpx
import pyarrow as pa
import pyarrow.csv as pa_csv
from pydantic import BaseModel, ConfigDict

from orchestration.sources.errors import TransientError
from orchestration.sources.http import Download
from orchestration.sources.types.salesforce.errors import (
    JobGone,
    QueryTooLong,
    told_of_job,
    told_of_new_job,
)
from orchestration.sources.types.salesforce.org import Org
from orchestration.sources.types.salesforce.values import in_one_form

PAGE_ROWS = 25_000
PAGE_VALUES = 1_000_000
"""Of an object with many fields a page has fewer rows."""

MOST_PAGE_BYTES = 256 * 1024 * 1024

FIRST_PAUSE, LONGEST_PAUSE = 0.25, 30.0
"""Seconds between two looks at a job: each is a call."""

LONGEST_WAIT = 7_200.0
"""Seconds; the next sync looks again."""

_BLOCK_BYTES = 16 * 1024 * 1024


class Job(BaseModel):
    """How far the result of a job has been read.

    Attributes:
        version: Of the API; another one does not give the result.
        query: What was asked.
        locator: Of the next page; None: the first.
        rows: How many came.
        newest: The newest cursor among them.
    """

    model_config = ConfigDict(frozen=True)

    id: str
    version: str
    query: str
    locator: str | None = None
    rows: int = 0
    newest: int | None = None


def new_job(org: Org, version: str, query: str) -> Job:
    """Ask for a query's result, with deleted and archived records.

    Raises:
        BulkRefused: Bulk does not serve such a query.
    """
    asked = {
        "operation": "queryAll",
        "query": query,
        "contentType": "CSV",
        "columnDelimiter": "COMMA",
        "lineEnding": "LF",
    }
    made = org.json("POST", org.path("jobs/query"), told_of_new_job, json=asked)
    return Job(id=_member(made, "id"), version=version, query=query)


def pages(org: Org, job: Job, fields: Mapping[str, str]) -> Iterator[tuple[pa.RecordBatch, Job, bool]]:
    """The rest of a job's result: each page, how far the job is read behind it, and whether it was the last.

    Raises:
        JobGone: the result is not there any more, or is not what the job says: ask again.
        QueryTooLong: the job has failed.
        TransientError: a page is not whole, or the job is not done yet.
    """
    total = _done(org, job)
    if total == 0:
        yield no_records(list(fields)), job, True
        return
    most = max(min(PAGE_ROWS, PAGE_VALUES // len(fields)), 1)
    while True:
        parameters = {"maxRecords": str(most)} | ({"locator": job.locator} if job.locator else {})
        path = org.path(f"jobs/query/{job.id}/results", job.version)
        with org.asked("GET", path, told_of_job, params=parameters) as download:
            batch = in_one_form(_table(download, list(fields)), fields)
            locator = _next_locator(download.headers)
        job = job.model_copy(update={"locator": locator, "rows": job.rows + batch.num_rows})
        if locator is None and job.rows != total:
            raise JobGone(f"A Bulk job has processed {total:,} records and gave {job.rows:,}.")
        yield batch, job, locator is None
        if locator is None:
            return


def no_records(columns: list[str]) -> pa.RecordBatch:
    """A batch of these columns without rows."""
    return pa.record_batch([pa.array([], pa.string()) for _ in columns], columns)


def _done(org: Org, job: Job) -> int:
    """Wait until a job is complete; how many records it has processed."""
    pause, waited = FIRST_PAUSE, 0.0
    while True:
        status = org.json("GET", org.path(f"jobs/query/{job.id}", job.version), told_of_job)
        state = _member(status, "state")
        if state == "JobComplete":
            try:
                return int(status["numberRecordsProcessed"])
            except (KeyError, TypeError, ValueError):
                raise TransientError("Salesforce did not say how many records a job has processed.") from None
        if state == "Failed":
            raise QueryTooLong(f"The Bulk job failed: {status.get('errorMessage', 'no reason was given')}")
        if state == "Aborted":
            raise JobGone("Somebody has aborted the Bulk job.")
        if waited >= LONGEST_WAIT:
            raise TransientError(
                f"A Bulk job is still {state} after {waited / 3600:.0f} hours.", LONGEST_WAIT
            )
        time.sleep(pause)
        waited, pause = waited + pause, min(pause * 2, LONGEST_PAUSE)


def _table(download: Download, columns: list[str]) -> pa.RecordBatch:
    """A page of CSV, which is whole.

    Raises:
        TransientError: it is not, or is no CSV of these columns.
    """
    if download.status != 200 or "csv" not in download.headers.get("Content-Type", ""):
        raise TransientError(f"Salesforce answered with what is no CSV: {download.read().shown}")
    content = _whole(download)
    try:
        table = pa_csv.read_csv(
            pa.BufferReader(content),
            read_options=pa_csv.ReadOptions(block_size=_BLOCK_BYTES, use_threads=False),
            parse_options=pa_csv.ParseOptions(newlines_in_values=True),
            convert_options=pa_csv.ConvertOptions(
                column_types=dict.fromkeys(columns, pa.string()), strings_can_be_null=False
            ),
        )
    except pa.ArrowInvalid:
        # The reader's own words show the row; and a header that is none is a row, too.
        raise TransientError("A page of a Bulk job is no CSV.") from None
    if table.column_names != columns:
        raise TransientError("A page of a Bulk job has other columns than were asked for.")
    promised = download.headers.get("Sforce-NumberOfRecords")
    if promised is not None and promised != str(table.num_rows):
        raise TransientError(f"A page of a Bulk job promised {promised} records and has {table.num_rows}.")
    return table.combine_chunks().to_batches()[0] if table.num_rows else no_records(columns)


def _whole(download: Download) -> bytearray:
    """The bytes of a page. One that ends within a line, or within quotes, has lost its end."""
    content = bytearray()
    for chunk in download.chunks():
        content += chunk
        if len(content) > MOST_PAGE_BYTES:
            raise TransientError(f"A page of a Bulk job has more than {MOST_PAGE_BYTES:,} bytes.")
    if not content.endswith(b"\n") or content.count(b'"') % 2:
        raise TransientError("A page of a Bulk job broke off.")
    return content


def _next_locator(headers: httpx.Headers) -> str | None:
    try:
        locator = str(headers["Sforce-Locator"])
    except KeyError:
        raise TransientError("A page of a Bulk job came without its locator.") from None
    return None if locator == "null" else locator


def _member(document: Any, name: Literal["id", "state"]) -> str:
    value = document.get(name) if isinstance(document, dict) else None
    if not isinstance(value, str) or not value:
        raise TransientError(f"Salesforce told of a Bulk job without its {name}.")
    return value
