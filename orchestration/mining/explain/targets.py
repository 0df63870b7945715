"""A target on cases: which cases it is asked of, its value for each, and what was known of them at that moment.

What belongs here: the moment of each target, since whatever happens after it is a part of the answer (an outcome
leak). Both answers of a yes/no have the same moment, a landmark, so that the length of what was seen tells nothing.
What does not: features of what was known (``features``).
"""

from dataclasses import replace

import numpy as np

from orchestration.mining.explain.cases import CaseSet, Flags, Ints, count_visits, keep_cases
from orchestration.mining.explain.config import ExplainConfig
from orchestration.mining.explain.features import OUTCOME_LEAK, Refusal
from orchestration.mining.explain.population import Labels
from orchestration.mining.explain.question import CycleTimeTarget, Target, TransitionTarget

_NEVER = np.iinfo(np.int64).max


def pose(target: Target, cases: CaseSet, labels: Labels) -> CaseSet:
    """The cases that the target is asked of, with its values, and only the steps that were known at its moment.

    Of a cycle time all steps are known: it is explained by how the case went, not predicted.
    """
    if isinstance(target, CycleTimeTarget):
        return cases
    place = _places(cases)
    if isinstance(target, TransitionTarget):
        source, activity = (_code(name, labels) for name in (target.source, target.target))
        is_passage = (cases.steps["previous"] == source) & (cases.steps["activity"] == activity)
        arrives = _first(cases, place, is_passage)
        began, kept = arrives - 1, arrives < _NEVER
        values = np.zeros(len(cases))
        ends = place == arrives[cases.steps["case"]]
        values[cases.steps["case"][ends]] = cases.steps["wait_us"][ends] / 1e6
    else:
        began, decided = _moments(target.kind, target.activity, target.landmark, cases, place, labels)
        kept = (began < _NEVER) & (decided > began)
        values = (decided < _NEVER).astype(np.float64)
    known = _keep_steps(cases, place <= began[cases.steps["case"]])
    return keep_cases(replace(known, values=values), kept)


def refused_activities(
    cases: CaseSet, posed: CaseSet, labels: Labels, config: ExplainConfig
) -> list[Refusal]:
    """The more frequent activities that are only seen after the target's moment."""
    seen, known = (
        np.bincount(of.visits["activity"], minlength=len(labels["activity"])) for of in (cases, posed)
    )
    enough = max(config.value_cases, int(np.ceil(config.value_share * len(cases))))
    leaks = np.flatnonzero((seen >= enough) & (known == 0))
    reason = "happens only after the moment that the target is asked at"
    return [Refusal(f"activity:{labels['activity'][code]}", OUTCOME_LEAK, reason) for code in leaks]


def _moments(
    kind: str, activity: str | None, landmark: str | None, cases: CaseSet, place: Ints, labels: Labels
) -> tuple[Ints, Ints]:
    """Per case the place of the landmark's step, and of the step that answers yes; `_NEVER` where there is none."""
    happens = (
        cases.steps["activity"] == _code(activity, labels) if activity else np.ones(len(place), np.bool_)
    )
    decided = _first(cases, place, happens & _is_repetition(cases) if kind == "rework" else happens)
    at = landmark or (activity if kind == "rework" else None)
    if at is None:
        return np.zeros(len(cases), dtype=np.int64), decided
    return _first(cases, place, cases.steps["activity"] == _code(at, labels)), decided


def _code(activity: str, labels: Labels) -> int:
    """The activity's code; one that no step has if the log does not know it."""
    return labels["activity"].index(activity) if activity in labels["activity"] else -2


def _places(cases: CaseSet) -> Ints:
    """The place of each step in its case, from 0."""
    steps = cases.steps["case"]
    places: Ints = np.arange(len(steps)) - np.searchsorted(steps, steps)
    return places


def _first(cases: CaseSet, place: Ints, wanted: Flags) -> Ints:
    """Per case the first place that is wanted."""
    first = np.full(len(cases), _NEVER)
    np.minimum.at(first, cases.steps["case"][wanted], place[wanted])
    return first


def _is_repetition(cases: CaseSet) -> Flags:
    """Whether the case had the step's activity before."""
    order = np.lexsort((cases.steps["activity"], cases.steps["case"]))
    changes = [np.diff(cases.steps[name][order], prepend=-1) != 0 for name in ("case", "activity")]
    repeated = np.zeros(len(order), dtype=np.bool_)
    repeated[order] = ~(changes[0] | changes[1])
    return repeated


def _keep_steps(cases: CaseSet, kept: Flags) -> CaseSet:
    steps = {name: column[kept] for name, column in cases.steps.items()}
    return replace(cases, steps=steps, visits=count_visits(steps))
