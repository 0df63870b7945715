"""From a command's options to the parameters of an analysis, and waiting for its answer."""

import json
import time
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import typer

from orchestration.cli.progress import ProgressLine
from orchestration.cli.workspace import acting
from orchestration.control_plane import jobs
from orchestration.control_plane.jobs import AnalysisJob
from orchestration.control_plane.workspaces import Workspace
from orchestration.stages.question import UnusableQuestion, parameters_of
from orchestration.stages.staleness import add_months
from orchestration.stages.workbench import AnalysisParameters

_LOOK_SECONDS = 0.5


def question(
    parameters_file: Path | None, filters: Sequence[str], first: str | None, last: str | None
) -> AnalysisParameters:
    """The parameters of a file, with the filters added to its own, and the months in which cases started.

    Raises:
        UnusableQuestion: some text is no JSON, or the parameters do not keep the schema.
    """
    given = _json(parameters_file.read_text(), str(parameters_file)) if parameters_file else {}
    if not isinstance(given, dict) or not isinstance(given.get("filters", []), list):
        raise UnusableQuestion(
            f"{parameters_file} holds no object with a list of filters: `casetrail analysis schema`"
        )
    added = [_json(text, "--filter") for text in filters]
    if first or last:
        started = {"kind": "time", "mode": "started"}
        if first:
            started["from"] = f"{_months_after(first, 0, '--from')}-01T00:00:00Z"
        if last:
            started["to"] = f"{_months_after(last, 1, '--to')}-01T00:00:00Z"
        added.insert(0, started)
    return parameters_of({**given, "filters": [*given.get("filters", []), *added]})


def standing_parameters(
    end_activities: Sequence[str],
    silence_days: int | None,
    happy_path: Sequence[str] | None,
    calendar_file: Path | None,
    explanation: str | None = None,
) -> AnalysisParameters:
    """The parameters of a standing analysis; what is not given is not asked for. ``explanation`` is JSON text.

    Raises:
        UnusableQuestion: the calendar's file or the explanation is no JSON, or the parameters do not keep the schema.
    """
    calendar = _json(calendar_file.read_text(), str(calendar_file)) if calendar_file else None
    completion = {"end_activities": end_activities, "silence_days": silence_days}
    asked = {"explanation": _json(explanation, "--explanation")} if explanation else {}
    return parameters_of({"completion": completion, "happy_path": happy_path, "calendar": calendar, **asked})


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


def _months_after(month: str, count: int, option: str) -> str:
    try:
        datetime.strptime(month, "%Y-%m")
    except ValueError:
        raise UnusableQuestion(f"{option}: {month!r} is no month such as 2025-12") from None
    return add_months(month, count)
