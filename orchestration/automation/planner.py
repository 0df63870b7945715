"""Which run a workspace needs next: a pure function over its ledgers, tested without Dagster."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from orchestration.stages.clock import next_change
from orchestration.stages.release import WorkingTreeState, stale_months
from orchestration.stages.staleness import add_months
from orchestration.stages.tree import WHOLE_ANALYSIS
from orchestration.stages.workbench import digest

RunKind = Literal["refresh", "arrival", "cases"]


@dataclass(frozen=True)
class RunPlan:
    """A ranged run: the months ``first`` to ``last`` of one workspace. ``subject`` names what it would change."""

    kind: RunKind
    first: str
    last: str
    subject: str


def plan_run(state: WorkingTreeState, released_content: str | None) -> RunPlan | None:
    """The next run, or None when the current release is what the ledgers say.

    The first refresh of a workspace is one run: every home month is an event month. Later an arrival run finds out
    which home months its events touch, and the next tick plans the case run over those.
    """
    if not state.raw_parts and not state.files and released_content in (None, state.content_sha256()):
        return None
    stale = stale_months(state)
    cases = state.dataset("cases")
    if events := stale.get("events"):
        return _plan("arrival" if cases else "refresh", events, stale)
    touched = set(stale.get("cases", ())) | set(stale.get("explainability", ())) - {WHOLE_ANALYSIS}
    for month in stale.get("cases", ()):
        reach = add_months(month, state.parameters.explanation.window_months - 1)
        touched |= {home for home in state.dataset("case_index") if month <= home <= reach}
    if touched:
        return _plan("cases", touched, stale)
    if stale or state.content_sha256() != released_content:
        # Where everything was retracted no month is left: any will do for the release of nothing.
        month = max(cases, default=f"{state.as_of:%Y-%m}")
        return _plan("cases", [month], {"release": [state.content_sha256()]})
    return None


def next_look(state: WorkingTreeState) -> datetime | None:
    """When the clock alone will make a month stale (UTC); None where silence does not end any of its cases."""
    return next_change(state.dataset("cases").values(), state.parameters.completion, state.as_of)


def plan_catch_up(state: WorkingTreeState, released_content: str | None) -> RunPlan | None:
    """One run over all months of a workspace that needs any: what is unchanged is carried over, so it costs little."""
    needed = plan_run(state, released_content)
    if needed is None:
        return None
    months = {part.month for part in state.raw_parts} | {f.month for f in state.files} - {WHOLE_ANALYSIS}
    months |= {needed.first, needed.last}
    return RunPlan("refresh", min(months), max(months), needed.subject)


def _plan(kind: RunKind, months: Iterable[str], subject: object) -> RunPlan:
    months = sorted(months)
    return RunPlan(kind, months[0], months[-1], digest([kind, months, subject])[:16])
