"""From a command's options to the parameters of an analysis, and waiting for its answer."""

import json
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import typer
from pydantic import ValidationError

from orchestration.cli.progress import ProgressLine
from orchestration.cli.workspace import acting
from orchestration.control_plane import jobs
from orchestration.control_plane.jobs import AnalysisJob
from orchestration.control_plane.workspaces import Workspace
from orchestration.stages.staleness import add_months
from orchestration.stages.workbench import AnalysisParameters

_LOOK_SECONDS = 0.5


class UnusableQuestion(Exception):
    """The options make no parameters; the message says which and what would."""


def question(
    parameters_file: Path | None, filters: Sequence[str], first: str | None, last: str | None
) -> AnalysisParameters:
    """The parameters of a file, with the filters added to its own, and the months in which cases started.

    Raises:
        UnusableQuestion: some text is no JSON, or the parameters do not keep the schema.
    """
    given: dict[str, Any] = {}
    if parameters_file:
        given = _json(parameters_file.read_text(), str(parameters_file))
    added = [_json(text, "--filter") for text in filters]
    if first or last:
        months = {"from": first and f"{first}-01T00:00:00Z", "to": last and f"{_next(last)}-01T00:00:00Z"}
        started = {name: value for name, value in months.items() if value}
        added.insert(0, {"kind": "time", "mode": "started", **started})
    try:
        return AnalysisParameters.model_validate({**given, "filters": [*given.get("filters", []), *added]})
    except ValidationError as error:
        raise UnusableQuestion("\n".join(problems(error))) from None


def problems(error: ValidationError) -> list[str]:
    """One line for each problem: where it is, and what would be accepted."""
    lines = []
    for problem in error.errors(include_url=False):
        place = ""
        for step in problem["loc"]:
            # A step that names the kind of a filter is no part of the JSON text.
            if isinstance(step, int):
                place += f"[{step}]"
            elif not (place.endswith("]") and step in _KINDS):
                place += f".{step}" if place else step
        lines.append(f"{place or 'parameters'}: {problem['msg'].removeprefix('Value error, ')}")
    return lines


_KINDS = frozenset(
    (
        *("time", "activities", "follows", "start_activity", "end_activity", "attribute", "resource"),
        *("variants", "cycle_time", "case_size", "state", "all", "any", "not"),
    )
)


@contextmanager
def told_problems() -> Iterator[None]:
    """What is wrong with a question is told on standard error, and ends the command with 2."""
    try:
        yield
    except UnusableQuestion as error:
        typer.echo(f"Error: {error}", err=True)
        raise typer.Exit(2) from None


def wait_for_answer(
    workspace: Workspace, job: AnalysisJob, timeout_seconds: float, acting_user: str | None, as_json: bool
) -> AnalysisJob:
    """The analysis when it has ended.

    Raises:
        typer.Exit: with 1 if it took too long; it goes on.
    """
    line, deadline = ProgressLine(), time.monotonic() + timeout_seconds
    while job.status in ("queued", "running"):
        if time.monotonic() > deadline:
            line.done(f"Error: no answer after {timeout_seconds:.0f} s; it is {job.status}, and goes on.")
            raise typer.Exit(1)
        time.sleep(_LOOK_SECONDS)
        with acting(acting_user) as connection:
            job = jobs.get_job(connection, workspace.id, job.id)
        if not as_json:
            line.tell(f"{workspace.slug} {job.id[:8]}: {job.status}")
    if not as_json:
        line.done(f"{workspace.slug} {job.id[:8]}: {job.status}")
    return job


def _json(text: str, source: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise UnusableQuestion(f"{source} is no JSON: {error}") from None


def _next(month: str) -> str:
    try:
        return add_months(month, 1)
    except ValueError:
        raise UnusableQuestion(f"--to: {month!r} is no month such as 2025-12") from None
