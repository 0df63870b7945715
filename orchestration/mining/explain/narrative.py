"""Explanations in words, with the number of cases, the effect and the fit beside every claim.

What belongs here: sentences made of figures worked out elsewhere. They never say that something is the cause
of a delay: an event log shows what goes together, not what would happen otherwise.
"""

from collections.abc import Sequence

from orchestration.mining.explain.bottleneck import Bottleneck, Factor
from orchestration.mining.explain.causes import Cause, Effect
from orchestration.mining.explain.model import Fit
from orchestration.mining.explain.waterfall import SlowCase
from orchestration.mining.explain.window import Window

CAVEAT = "These are associations in the log, not proof of what would happen if it were changed."


def duration(seconds: float) -> str:
    """A length of time in the unit that suits it: `48.0 h`, `3.2 days`."""
    size = abs(seconds)
    if size < 90:
        return f"{seconds:.0f} s"
    if size < 5_400:
        return f"{seconds / 60:.0f} min"
    if size < 72 * 3600:
        return f"{seconds / 3600:.1f} h"
    return f"{seconds / 86_400:.1f} days"


def more_or_less(seconds: float) -> str:
    """`48.0 h more`, `2.0 h less`."""
    return f"{duration(abs(seconds))} {'more' if seconds >= 0 else 'less'}"


def tell_global(window: Window, fit: Fit, tested: int, causes: Sequence[Cause]) -> str:
    """The summary of a model that passed the gate."""
    return " ".join(
        [
            _population(window),
            f"On {tested:,} later cases that it had not seen, the model explains {fit.r2:.0%} of the "
            f"variation of the cycle time and errs by {duration(fit.error_seconds)} on average, where the "
            f"median errs by {duration(fit.baseline_error_seconds)}.",
            *(f"{rank}. {_cause(cause)}" for rank, cause in enumerate(causes, start=1)),
            CAVEAT,
        ]
    )


def tell_refusal(window: Window, reason: str) -> str:
    """The summary where nothing is explained."""
    return f"{_population(window)} Their cycle time is not explained: {reason}"


def tell_bottleneck(rank: int, bottleneck: Bottleneck) -> str:
    """The summary of one transition."""
    passage = f"{bottleneck.source} → {bottleneck.target}"
    sampled = f", of {bottleneck.sampled:,} sampled" if bottleneck.sampled < bottleneck.count else ""
    figures = (
        f"{passage} is bottleneck {rank}: it takes {bottleneck.share:.0%} of all elapsed time. It was passed "
        f"{bottleneck.count:,} times, in {duration(bottleneck.mean_seconds)} on average (median "
        f"{duration(bottleneck.median_seconds)}, 90 % within {duration(bottleneck.p90_seconds)}{sampled})."
    )
    if not bottleneck.factors:
        return f"{figures} No known factor goes with its slow passages."
    return " ".join([figures, *(_factor(factor) for factor in bottleneck.factors), CAVEAT])


def tell_case(rank: int, case: SlowCase, month: str) -> str:
    """The summary of one slow case."""
    name = case.native_case_id or case.global_case_id
    parts = ", ".join(
        f"{segment.source} → {segment.target} {more_or_less(segment.difference_us / 1e6)}"
        for segment in case.segments[:3]
        if segment.difference_us
    )
    excess = more_or_less((case.cycle_us - case.mean_cycle_us) / 1e6)
    return (
        f"Case {name} is number {rank} of the slowest cases that started in {month}: it took "
        f"{duration(case.cycle_us / 1e6)}, {excess} than the mean of {case.cases:,} completed cases. "
        f"The largest differences: {parts or 'none'}."
    )


def _population(window: Window) -> str:
    span = window.first if window.first == window.last else f"{window.first} to {window.last}"
    left_out = f" ({window.open_cases:,} more are not completed and left out)" if window.open_cases else ""
    return f"{window.completed:,} completed cases started in {span}{left_out}."


def _cause(cause: Cause) -> str:
    what = f"{cause.name} (known at the start)" if cause.role == "known_at_start" else cause.name
    if not cause.effects:
        return f"{what} matters ({duration(cause.importance_seconds)} per case on average)."
    return f"{_subject(cause.effects[0])} is associated with {_effect(cause.effects[0])}."


def _subject(effect: Effect) -> str:
    return (
        effect.column if effect.column.endswith(f" {effect.value}") else f"{effect.column} = {effect.value}"
    )


def _effect(effect: Effect) -> str:
    return (
        f"{more_or_less(effect.adjusted_seconds)} (n = {effect.cases:,}, {effect.share:.0%} of cases; "
        f"plain difference of means {more_or_less(effect.raw_seconds)})"
    )


def _factor(factor: Factor) -> str:
    if not factor.values:
        return f"{factor.name} goes with {factor.gain:.0%} of the variation."
    first = factor.values[0]
    return (
        f"{factor.name} = {first.value} is associated with {more_or_less(first.adjusted_seconds)} "
        f"(n = {first.count:,}; {factor.name} goes with {factor.gain:.0%} of the variation)."
    )
