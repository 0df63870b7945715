"""What a stage has in hand: one workspace's analysis, its working tree, a DuckDB session and a scratch folder."""

import hashlib
import inspect
import json
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from types import ModuleType
from typing import Annotated, Any, Literal

import duckdb
import pyarrow as pa
from pydantic import BaseModel, ConfigDict, Field

from orchestration.identity import Assignment, Record
from orchestration.lake.content import EXCLUDED_FROM_CONTENT, ROW_GROUP_ROWS, write_parquet
from orchestration.mining.event_log import ClassifierColumn, Lifecycle
from orchestration.mining.explain import DEFAULT_QUESTION, Comparison, ExplanationQuestion, Narrator
from orchestration.mining.filters import Filters
from orchestration.mining.working_calendar import WorkingCalendar
from orchestration.mining.working_time import create_elapsed_time, create_working_time
from orchestration.stages.link_statements import LinkPart
from orchestration.stages.tree import Draft, WorkingTree

SCHEMA_VERSION = 1
"""The version of the event contract, in every event's ``schema_version``."""


class RowsLost(Exception):
    """A file would hold another number of rows than its query counted."""


class Completion(BaseModel):
    """When a case counts as completed. Without any rule every case does."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    end_activities: tuple[str, ...] = ()
    """A case is completed when its last activity is one of these."""

    silence_days: int | None = None
    """A case is completed when nothing has happened for so many days."""

    left_edge: datetime | None = None
    """A case that began at or before this moment (UTC) is cut at the left."""


def _is_none(value: object) -> bool:
    return value is None


class AnalysisParameters(BaseModel):
    """``AnalysisJob.parameters``: the filters that select cases, what makes an event, and when a case is completed.

    What was added later is not written where it is not asked for: so a question is written as it always was, and has
    the fingerprints that it had.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    version: Literal[1] = 1
    """Of this schema."""

    filters: Filters = ()
    """Which cases the analysis is about. Each filter sees the cases that those before it have left."""

    classifier: Annotated[tuple[ClassifierColumn, ...], Field(min_length=1)] = ("activity",)
    """The columns whose values together make an event's activity."""

    lifecycle: Lifecycle = "all"
    """Which events count: all; those that complete an activity; or one for each start paired with its completion."""

    completion: Completion = Completion()
    """When a case counts as completed; explanations are about completed cases."""

    happy_path: Annotated[tuple[str, ...], Field(min_length=1)] | None = None
    """Its activities in order. Without it, each month's is the most frequent path of its completed cases."""

    calendar: Annotated[WorkingCalendar | None, Field(exclude_if=_is_none)] = None
    """With one, cycle times and waits are working time; else they are elapsed time."""

    explanation: Annotated[
        ExplanationQuestion, Field(exclude_if=lambda question: question == DEFAULT_QUESTION)
    ] = DEFAULT_QUESTION
    """What is explained."""

    comparison: Annotated[Comparison | None, Field(exclude_if=_is_none)] = None
    """With one, it is told what changed between two sets of the analysis's cases."""


@dataclass(frozen=True)
class RawPart:
    """One raw Parquet file of one arrival, with what is needed to read it."""

    arrival_id: str
    arrival_sha256: str
    rank: int
    month: str
    url: str
    object_key: str
    rows: int
    content_sha256: str
    columns: tuple[str, ...]
    mapping: dict[str, Any]


@dataclass(frozen=True)
class IdentitySources:
    """What says who is who in a workspace.

    Attributes:
        fingerprint: Of all of it (``identity.identity_fingerprint``).
        parts: Lists the originals that say something, in the order of the pulls; only a stitching needs them.
        stitch: Joins links and keys, adds what people say, and keeps the outcome in the registry.
    """

    fingerprint: str
    parts: Callable[[], Sequence[LinkPart]]
    stitch: Callable[[pa.Table, pa.Table, Mapping[Record, int]], Assignment]


@dataclass
class Workbench:
    """Everything a stage works with. ``session`` opens a locked DuckDB session of this workspace."""

    workspace_id: str
    workspace_slug: str
    analysis_id: str
    parameters: AnalysisParameters
    tree: WorkingTree
    raw_parts: Sequence[RawPart]
    session: Callable[[], AbstractContextManager[duckdb.DuckDBPyConnection]]
    secure: Callable[[duckdb.DuckDBPyConnection], None]
    lock: Callable[[duckdb.DuckDBPyConnection], None]
    scratch: Path
    as_of: datetime
    threads: int = 2
    memory_limit: str = "4GB"
    progress: Callable[[str], None] = field(default=lambda _line: None)
    is_on_demand: bool = False
    identity: IdentitySources | None = None

    def event_months(self) -> set[str]:
        """The months that have events: those of raw files, or those that an analysis on demand has selected."""
        if self.is_on_demand:
            return set(self.tree.files("events"))
        return {part.month for part in self.raw_parts}

    def measure_durations(self, connection: duckdb.DuckDBPyConnection, months: Collection[str]) -> None:
        """Let SQL measure durations between moments of these months (UTC) by the analysis's calendar."""
        if self.parameters.calendar is None or not months:
            create_elapsed_time(connection)
        else:
            first, last = (date.fromisoformat(f"{month}-01") for month in (min(months), max(months)))
            create_working_time(connection, self.parameters.calendar, first, last + timedelta(days=31))

    def narrator(self) -> Narrator:
        """Tells durations as what they are by the analysis's calendar."""
        return Narrator(is_working=self.parameters.calendar is not None)

    def draft(
        self,
        dataset: str,
        month: str,
        reader: pa.RecordBatchReader,
        *,
        rows: int | None,
        fingerprint: str,
        code_version: str,
        inputs: Sequence[dict[str, Any]] = (),
        seconds: float = 0.0,
        footer: Mapping[str, bytes] | None = None,
        row_group_rows: int = ROW_GROUP_ROWS,
    ) -> Draft:
        """Write a month of a dataset to the scratch folder; ``seconds`` is what was spent on it before the writing.

        ``footer`` goes into the Parquet file's metadata; ``row_group_rows`` is for files of which a part is read.
        ``rows`` is None for a reader that is no result of a query and that nobody has counted.

        Raises:
            RowsLost: the reader gave another number of rows than ``rows``. A DuckDB result that is being read ends
                without a word when its connection runs another statement.
        """
        began = time.perf_counter()
        path = self.scratch / f"{dataset}-{month}.parquet"
        written = write_parquet(
            reader, path, excluded=EXCLUDED_FROM_CONTENT, footer=footer, row_group_rows=row_group_rows
        )
        if rows is not None and written.rows != rows:
            raise RowsLost(f"{dataset} of {month}: {written.rows} of {rows} rows were written")
        return Draft(
            dataset=dataset,
            month=month,
            path=path,
            rows=written.rows,
            bytes=written.bytes,
            content_sha256=written.content_sha256,
            fingerprint=fingerprint,
            code_version=code_version,
            inputs=inputs,
            seconds=round(seconds + time.perf_counter() - began, 3),
        )

    def partition_id(self, month: str) -> str:
        """The Dagster partition key of a month (the dimensions in the order of their names)."""
        return f"{month}|{self.workspace_slug}"


@dataclass(frozen=True)
class MonthOutcome:
    """What a stage did for one month of one dataset. ``rows`` is 0 and ``file`` None where there is nothing."""

    dataset: str
    month: str
    state: str
    rows: int
    content_sha256: str | None = None
    object_key: str | None = None
    bytes: int = 0
    seconds: float = 0.0
    inputs: Sequence[dict[str, Any]] = ()
    audits: Sequence[dict[str, Any]] = ()
    stats: dict[str, Any] = field(default_factory=dict)
    code_version: str = ""


def outcomes(
    tree: WorkingTree, dataset: str, months: Iterable[str], made: Iterable[str]
) -> list[MonthOutcome]:
    """The outcome of each month: ``made`` now, ``carried over``, or ``empty``."""
    files, made = tree.files(dataset), set(made)
    result = []
    for month in months:
        file = files.get(month)
        if file is None:
            result.append(MonthOutcome(dataset, month, "empty", 0))
            continue
        result.append(
            MonthOutcome(
                dataset=dataset,
                month=month,
                state="made" if month in made else "carried over",
                rows=file.rows,
                content_sha256=file.content_sha256,
                object_key=file.object_key,
                bytes=file.bytes,
                seconds=file.seconds,
                inputs=file.inputs,
                audits=file.audits,
                stats=file.stats,
                code_version=file.code_version,
            )
        )
    return result


def today() -> datetime:
    """The ``as_of`` of a refresh: the last UTC midnight, so that refreshes of one day agree."""
    return midnight_before(datetime.now(UTC))


def midnight_before(moment: datetime) -> datetime:
    """The UTC midnight at or before a moment."""
    return moment.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)


def audit(name: str, passed: bool, detail: str) -> dict[str, Any]:
    """One audit result as it is stored with the file and with the release."""
    return {"audit": name, "passed": passed, "detail": detail}


def digest(value: Any) -> str:
    """The sha256 of a value's canonical JSON."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()


def source_version(*modules: ModuleType) -> str:
    """A code version: the sha256 of the modules' source, so that no edit can forget to raise a number."""
    return digest([inspect.getsource(module) for module in modules])[:16]


@contextmanager
def timed() -> Iterator[Callable[[], float]]:
    """Yields a function that tells the seconds since the start."""
    began = time.perf_counter()
    yield lambda: time.perf_counter() - began
