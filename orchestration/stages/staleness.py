"""Which months of which stage are not what their inputs say: pure functions over the ledgers.

The stages use them to carry months over, the planner to start runs, the release to refuse: one mechanism.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from orchestration import utc_offsets
from orchestration.control_plane.staging import StagedFile
from orchestration.mining import working_calendar, working_time
from orchestration.mining.dbt_build import code_version
from orchestration.mining.explain import DEFAULT_QUESTION, EXPLAIN_CONFIG, ExplanationQuestion
from orchestration.stages import clock
from orchestration.stages.events import EVENTS_VERSION, events_sources, is_keyed, keyed_sources
from orchestration.stages.tree import WHOLE_ANALYSIS
from orchestration.stages.workbench import SCHEMA_VERSION, AnalysisParameters, RawPart, digest, source_version

EXPLANATION_WINDOW_MONTHS = DEFAULT_QUESTION.window_months
"""The record of month M explains the completed cases with home months M-11 to M, unless other months are asked for."""

PROCESS_VERSION = code_version()

WORKING_TIME_VERSION = source_version(working_calendar, working_time, utc_offsets)

CODE_VERSION = digest([EVENTS_VERSION, SCHEMA_VERSION, PROCESS_VERSION, WORKING_TIME_VERSION, EXPLAIN_CONFIG])
"""Of everything below: where it differs, what was found whole may be stale."""

Files = Mapping[str, StagedFile]


def stale_event_months(
    raw_parts: Sequence[RawPart], events: Files, places: str | None = None, *, is_identity_stale: bool = False
) -> list[str]:
    """Months whose events were made from other raw files or mappings, by other code, or not judged by who is who now.

    A new version of a keyed record may replace one of any month. So months with keyed records are stale until they were
    judged beside all files with keys; the stage carries over those that turn out unchanged.

    Args:
        raw_parts: What landed.
        events: The staged events.
        places: The state of the staged identity (``case_places``).
        is_identity_stale: It is about to be made anew: any month may have records that it joins.
    """
    by_month: dict[str, list[RawPart]] = {}
    for part in raw_parts:
        by_month.setdefault(part.month, []).append(part)
    stale = {
        m for m, parts in by_month.items() if m not in events or events_sources(parts) != _sources(events[m])
    }
    stale |= events.keys() - by_month.keys()
    # A run may have died between the events of a month and the case index.
    stale |= {month for month, file in events.items() if not file.stats.get("indexed")}
    keyed = keyed_sources(raw_parts)
    stale |= {
        part.month
        for part in raw_parts
        if is_keyed(part) and part.month not in stale and events[part.month].stats.get("keyed") != keyed
    }
    stale |= {
        month for month, file in events.items() if is_identity_stale or file.stats.get("places") != places
    }
    return sorted(stale)


def _sources(file: StagedFile) -> str:
    return str(file.stats.get("sources"))


def cases_fingerprint(index: StagedFile, parameters: AnalysisParameters) -> str:
    """What the cases, variants and process map of a home month depend on, but for the clock (``stages.clock``)."""
    asked = parameters.model_dump(mode="json", include={"completion", "happy_path", "calendar"})
    code = PROCESS_VERSION if parameters.calendar is None else [PROCESS_VERSION, WORKING_TIME_VERSION]
    return digest([code, asked, index.content_sha256])


def stale_case_months(
    case_index: Files, cases: Files, parameters: AnalysisParameters, as_of: datetime
) -> list[str]:
    """Home months whose cases are not those of the case index, or whose states the clock has changed."""
    stale = {
        month
        for month, index in case_index.items()
        if month not in cases
        or cases[month].fingerprint != cases_fingerprint(index, parameters)
        or not clock.holds(cases[month].stats, parameters.completion, as_of)
    }
    return sorted(stale | (cases.keys() - case_index.keys()))


def explanation_window(month: str, available: Iterable[str], question: ExplanationQuestion) -> list[str]:
    """The home months that the record of ``month`` looks at; all of them for the whole analysis."""
    if month == WHOLE_ANALYSIS:
        return sorted(available)
    first = add_months(month, 1 - question.window_months)
    return sorted(home for home in available if first <= home <= month)


def explanation_fingerprint(month: str, cases: Files, parameters: AnalysisParameters) -> str:
    """What the explanation of a month depends on; that of the whole analysis tells the comparison too."""
    question = parameters.explanation
    window = [
        [home, cases[home].fingerprint, cases[home].content_sha256]
        for home in explanation_window(month, cases, question)
    ]
    asked: list[Any] = [question.recorded()]
    if parameters.calendar:
        # How such explanations are told; before they said so, they named no clock.
        asked.append("told in working time")
    if parameters.comparison and month == WHOLE_ANALYSIS:
        asked.append(parameters.comparison.model_dump(mode="json"))
    return digest([*asked, window])


def stale_explanation_months(
    cases: Files, explanations: Files, profiles: Files, parameters: AnalysisParameters
) -> list[str]:
    """Months (and the whole analysis) whose explanations are not those of the cases.

    A run that died can leave profiles of a month that has no explanation yet; if its cases then go, only they tell.
    """
    wanted = {*cases, WHOLE_ANALYSIS} if cases else set()
    stale = {
        month
        for month in wanted
        if month not in explanations
        or explanations[month].fingerprint != explanation_fingerprint(month, cases, parameters)
    }
    return sorted(stale | (explanations.keys() - wanted) | (profiles.keys() - wanted))


def add_months(month: str, count: int) -> str:
    """``add_months("2024-01", -1) == "2023-12"``."""
    index = int(month[:4]) * 12 + int(month[5:]) - 1 + count
    return f"{index // 12:04d}-{index % 12 + 1:02d}"


def months_between(first: str, last: str) -> list[str]:
    """All months from ``first`` to ``last``, both included."""
    months, month = [], first
    while month <= last:
        months.append(month)
        month = add_months(month, 1)
    return months
