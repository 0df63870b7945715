"""What changed between two sets of cases: the target, the time on transitions, and how often things happen.

What belongs here: reading the two sides and putting their differences together. What does not: which cases they are
(``sides``), and the arithmetic (``mix``, ``changes``).
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import duckdb
import numpy as np

from orchestration.mining.explain.bottleneck import candidate_of
from orchestration.mining.explain.cases import CaseSet, Floats, join_cases
from orchestration.mining.explain.changes import (
    Changes,
    FrequencyChange,
    TransitionChange,
    activity_changes,
    path_changes,
    transition_changes,
)
from orchestration.mining.explain.config import ExplainConfig
from orchestration.mining.explain.feature_choice import learn_features
from orchestration.mining.explain.features import KNOWN_AT_START
from orchestration.mining.explain.intervals import mean_difference, standard_error
from orchestration.mining.explain.mix import Difference, decompose, rate_changes
from orchestration.mining.explain.narrative import Narrator, tell_not_compared
from orchestration.mining.explain.population import About, Labels, Population
from orchestration.mining.explain.question import Target
from orchestration.mining.explain.records import Explanation, made_of, rounded
from orchestration.mining.explain.targets import pose
from orchestration.mining.explain.working_tables import build_working_tables, drop_working_tables


@dataclass(frozen=True)
class ComparedCases:
    """One side: its completed cases, of which a sample was read, and the cases that are not completed."""

    name: str
    about: About
    open_cases: int
    sample: CaseSet
    labels: Labels


def read_side(conn: duckdb.DuckDBPyConnection, name: str, config: ExplainConfig) -> ComparedCases:
    """Read the side whose cases are `cases` on the connection; `events` holds theirs and may hold others'.

    At most `most_sample_cases` are read, those with the smallest hashes. The labels are those of all of `events`.
    """
    build_working_tables(conn, config)
    try:
        population = Population(conn, config)
        months = population.months()
        first, last = (months[0], months[-1]) if months else ("0000-00", "9999-99")
        window = population.window(first, last)
        sample = population.sample(window, population.case_attributes(window))
        open_cases = population.window("0000-00", "9999-99").open_cases
        return ComparedCases(name, population.about(window), open_cases, sample, population.labels)
    finally:
        drop_working_tables(conn)


def compare(
    target: Target,
    reference: ComparedCases,
    compared: ComparedCases,
    shared: int,
    config: ExplainConfig,
    narrator: Narrator,
) -> list[Explanation]:
    """The rows of a comparison: the difference of the target, and the changes of transitions, activities and paths.

    Args:
        target: Whose mean is compared.
        reference: The side that is compared with.
        compared: The side that is compared.
        shared: How many cases are on both sides; with any, nothing is compared.
        config: The thresholds.
        narrator: Tells the rows in words.

    The samples of both have codes of the same labels.
    """
    labels, sides = reference.labels, (reference, compared)
    asked = [pose(target, side.sample, labels) for side in sides]
    refusal = _refusal(sides, asked, shared, config)
    found = None if refusal else _difference(target, asked, labels, config)
    rows = [_row(target, sides, "difference", _figures(target, found, refusal), config)]
    summary = (
        tell_not_compared(reference.name, compared.name, target, refusal or "")
        if found is None
        else narrator.tell_difference(reference.name, compared.name, target, found)
    )
    rows[0] = replace(rows[0], summary=summary)
    if refusal:
        return rows
    samples = reference.sample, compared.sample
    found_changes: dict[str, Changes[TransitionChange] | Changes[FrequencyChange]] = {
        "transitions": transition_changes(*samples, labels, config),
        "activities": activity_changes(*samples, labels, config),
        "paths": path_changes(*samples, labels, config),
    }
    for part, changes in found_changes.items():
        shown = changes.found[: config.most_changes]
        figures = {"changes": [asdict(change) for change in shown], "fit": changes.fit(config)}
        summary = narrator.tell_changes(part, reference.name, compared.name, shown)
        rows.append(replace(_row(target, sides, part, figures, config), summary=summary))
    return rows


def _refusal(
    sides: Sequence[ComparedCases], asked: Sequence[CaseSet], shared: int, config: ExplainConfig
) -> str | None:
    if shared:
        return f"{shared:,} cases are on both sides; choose filters or periods that exclude each other."
    counts = [len(cases) for cases in asked]
    if min(counts) >= config.least_compared_cases:
        return None
    told = " and ".join(f"{count:,} in {side.name}" for side, count in zip(sides, counts, strict=True))
    least = config.least_compared_cases
    return f"there are too few completed cases that it can be asked of: {told}; {least} are needed."


def _difference(
    target: Target, asked: Sequence[CaseSet], labels: Labels, config: ExplainConfig
) -> Difference:
    # An attribute that only one side has is the side, not a trait of its cases.
    both = asked[0].attributes.keys() & asked[1].attributes.keys()
    sides = [
        replace(cases, attributes={key: cases.attributes[key] for key in sorted(both)}) for cases in asked
    ]
    together = join_cases(sides)
    is_compared = np.arange(len(together)) >= len(sides[0])
    space, matrix = learn_features(together, labels, config, target.unit)
    candidates = [
        candidate_of(feature, matrix[:, index])
        for index, feature in enumerate(space.features)
        if feature.tag == KNOWN_AT_START
    ]
    values: Floats = together.values
    mix, rest = decompose(values, is_compared, candidates, config)
    rates = rate_changes(rest, is_compared, candidates, config)
    difference, interval = mean_difference(values[is_compared], values[~is_compared])
    within, _ = mean_difference(rest[is_compared], rest[~is_compared])
    left = rest - np.where(is_compared, rest[is_compared].mean(), rest[~is_compared].mean())
    variance = float(values.var())
    return Difference(
        means=(float(values[~is_compared].mean()), float(values[is_compared].mean())),
        cases=(len(sides[0]), len(sides[1])),
        difference=difference,
        standard_error=standard_error(values[is_compared], values[~is_compared]),
        interval=interval,
        mix=mix,
        within=within,
        within_error=standard_error(rest[is_compared], rest[~is_compared]),
        rates=rates,
        explained_variance=1 - float(left.var()) / variance if variance else 0.0,
    )


def _figures(target: Target, found: Difference | None, refusal: str | None) -> dict[str, Any]:
    """The difference as JSON; names end in the target's unit."""
    status = {"status": "explained" if found else "not_explained", "reason": refusal}
    if found is None:
        return {**status, "fit": None}
    unit = target.unit
    return {
        **status,
        "fit": {"explained_variance": found.explained_variance, "baseline": "mean of both sides' cases"},
        "cases": found.cases,
        f"means_{unit}": found.means,
        f"difference_{unit}": found.difference,
        f"standard_error_{unit}": found.standard_error,
        f"confidence_interval_90_{unit}": found.interval,
        "mix": [
            {
                "name": effect.name,
                f"effect_{unit}": effect.effect,
                f"standard_error_{unit}": effect.standard_error,
                "values": [
                    {
                        "value": shift.value,
                        "cases": shift.cases,
                        "shares": shift.shares,
                        f"effect_{unit}": shift.effect,
                    }
                    for shift in effect.values
                ],
            }
            for effect in found.mix
        ],
        f"within_{unit}": found.within,
        f"within_standard_error_{unit}": found.within_error,
        "rates": [
            {
                "name": rate.name,
                "value": rate.value,
                "cases": rate.cases,
                f"excess_{unit}": rate.excess,
                f"standard_error_{unit}": rate.standard_error,
            }
            for rate in found.rates
        ],
    }


def _row(
    target: Target,
    sides: Sequence[ComparedCases],
    part: str,
    figures: dict[str, Any],
    config: ExplainConfig,
) -> Explanation:
    reference, compared = (
        {
            "name": side.name,
            "open_cases": side.open_cases,
            "sampled": len(side.sample),
            "population": asdict(side.about),
        }
        for side in sides
    )
    both = About(
        sides[0].about.cases + sides[1].about.cases,
        f"{int(sides[0].about.hash, 16) ^ int(sides[1].about.hash, 16):016x}",
    )
    features = {
        "part": part,
        "target": {**target.model_dump(mode="json", by_alias=True), "unit": target.unit},
        "reference": reference,
        "compared": compared,
        **figures,
        **made_of(both, config),
    }
    return Explanation("comparison", target.kind, None, None, rounded(features), "")
