"""Explanations in words, with the number of cases, the effect and the fit beside every claim.

What belongs here: sentences made of figures worked out elsewhere. They never say that something is the cause
of a delay: an event log shows what goes together, not what would happen otherwise.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from orchestration.mining.explain.bottleneck import Bottleneck, Factor
from orchestration.mining.explain.causes import Cause, Effect
from orchestration.mining.explain.changes import FrequencyChange, TransitionChange
from orchestration.mining.explain.features import KNOWN_AT_START
from orchestration.mining.explain.mix import Difference
from orchestration.mining.explain.objective import Fit, YesNoFit
from orchestration.mining.explain.question import Target, Unit
from orchestration.mining.explain.waterfall import SlowCase
from orchestration.mining.explain.window import Window

_TOLD_CHANGES = 5
CAVEAT = "These are associations in the log, not proof of what would happen if it were changed."


@dataclass(frozen=True)
class Narrator:
    """Tells figures in sentences; if ``is_working``, durations are working time, and each is told as that.

    Working time is told in hours however long it is: a reader of "working days" would think of eight hours each.
    """

    is_working: bool = False

    def duration(self, seconds: float) -> str:
        """A length of time in the unit that suits it: `48.0 h`, `3.2 days`, `76.8 working hours`."""
        size = abs(seconds)
        if size < 90:
            told, units = f"{seconds:.0f}", ("s", "working seconds")
        elif size < 5_400:
            told, units = f"{seconds / 60:.0f}", ("min", "working minutes")
        elif size < 72 * 3600 or self.is_working:
            told, units = f"{seconds / 3600:,.1f}", ("h", "working hours")
        else:
            return f"{seconds / 86_400:.1f} days"
        return f"{told} {units[self.is_working]}"

    def amount(self, value: float, unit: Unit) -> str:
        """A size in words: `48.0 h`, `12.5 percentage points`."""
        return self.duration(value) if unit == "seconds" else f"{100 * value:.1f} percentage points"

    def more_or_less(self, value: float, unit: Unit = "seconds") -> str:
        """`48.0 h more`, `12.5 percentage points less`."""
        return f"{self.amount(abs(value), unit)} {'more' if value >= 0 else 'less'}"

    def tell_global(
        self, window: Window, target: Target, fit: Fit, tested: int, causes: Sequence[Cause]
    ) -> str:
        """The summary of a model that passed the gate."""
        return " ".join(
            [
                _population(window),
                f"On {tested:,} later cases that it had not seen, {self._fit(target, fit)}.",
                *(f"{rank}. {self._cause(cause, target.unit)}" for rank, cause in enumerate(causes, start=1)),
                CAVEAT,
            ]
        )

    def lost_to_baseline(self, fit: Fit) -> str:
        """Why a model that does not beat its baseline is refused, with the figures."""
        if isinstance(fit, YesNoFit):
            return (
                f"on later cases the model does not beat the base rate (Brier skill {fit.skill:.2f}; its log loss "
                f"is {fit.error:.3f}, that of the base rate {fit.baseline_error:.3f})."
            )
        return (
            f"on later cases the model does not beat the median (R2 {fit.skill:.2f}; it errs by "
            f"{self.duration(fit.error)} on average, the median by {self.duration(fit.baseline_error)})."
        )

    def _fit(self, target: Target, fit: Fit) -> str:
        if isinstance(fit, YesNoFit):
            return (
                f"the model predicts the {target.words} with a Brier score of {fit.brier:.3f}, where the base rate "
                f"has {fit.baseline_brier:.3f}, and tells a yes from a no in {fit.auc:.0%} of pairs (AUC)"
            )
        return (
            f"the model explains {fit.skill:.0%} of the variation of the {target.words} and errs by "
            f"{self.duration(fit.error)} on average, where the median errs by "
            f"{self.duration(fit.baseline_error)}"
        )

    def tell_bottleneck(self, rank: int, bottleneck: Bottleneck) -> str:
        """The summary of one transition."""
        passage = f"{bottleneck.source} → {bottleneck.target}"
        sampled = f", of {bottleneck.sampled:,} sampled" if bottleneck.sampled < bottleneck.count else ""
        time = "working" if self.is_working else "elapsed"
        mean, median, p90 = (
            self.duration(seconds)
            for seconds in (bottleneck.mean_seconds, bottleneck.median_seconds, bottleneck.p90_seconds)
        )
        figures = (
            f"{passage} is bottleneck {rank}: it takes {bottleneck.share:.0%} of all {time} time. It was passed "
            f"{bottleneck.count:,} times, in {mean} on average (median {median}, 90 % within {p90}{sampled})."
        )
        if not bottleneck.factors:
            return f"{figures} No known factor goes with its slow passages."
        return " ".join([figures, *(self._factor(factor) for factor in bottleneck.factors), CAVEAT])

    def tell_case(self, rank: int, case: SlowCase, month: str) -> str:
        """The summary of one slow case."""
        name = case.native_case_id or case.global_case_id
        parts = ", ".join(
            f"{segment.source} → {segment.target} {self.more_or_less(segment.difference_us / 1e6)}"
            for segment in case.segments[:3]
            if segment.difference_us
        )
        excess = self.more_or_less((case.cycle_us - case.mean_cycle_us) / 1e6)
        return (
            f"Case {name} is number {rank} of the slowest cases that started in {month}: it took "
            f"{self.duration(case.cycle_us / 1e6)}, {excess} than the mean of {case.cases:,} completed cases. "
            f"The largest differences: {parts or 'none'}."
        )

    def tell_difference(self, reference: str, compared: str, target: Target, found: Difference) -> str:
        """The summary of a compared target: the difference, what the mix makes of it, and what is left."""
        unit = target.unit
        low, high = (self.amount(bound, unit) for bound in found.interval)
        before, after = (self._level(mean, unit) for mean in found.means)
        sentences = [
            f"From {reference} (n = {found.cases[0]:,}) to {compared} (n = {found.cases[1]:,}) "
            f"the mean of the {target.words} went from {before} to {after}: "
            f"{self.more_or_less(found.difference, unit)} (90 % confidence interval {low} to {high})."
        ]
        for effect in found.mix:
            top = effect.values[0]
            sentences.append(
                f"Other shares of {effect.name} go with {self.more_or_less(effect.effect, unit)}, foremost "
                f"{top.value} ({top.shares[0]:.0%} of cases, then {top.shares[1]:.0%})."
            )
        sentences.append(
            f"Between cases with the same {' and '.join(effect.name for effect in found.mix)}, "
            f"{self.more_or_less(found.within, unit)} are left."
            if found.mix
            else "No known attribute's shares changed enough to matter: the difference is between like cases."
        )
        sentences += [
            f"Where {rate.name} = {rate.value}, the change is {self.more_or_less(rate.excess, unit)} than "
            "elsewhere."
            for rate in found.rates
        ]
        return " ".join([*sentences, CAVEAT])

    def tell_changes(
        self, part: str, reference: str, compared: str, changes: Sequence[TransitionChange | FrequencyChange]
    ) -> str:
        """The summary of what changed in transitions, activities or paths."""
        if not changes:
            return f"From {reference} to {compared} no change of {part} is beyond chance."
        told = "; ".join(self._change(change) for change in changes[:_TOLD_CHANGES])
        return f"Changes of {part} from {reference} to {compared}: {told}."

    def _change(self, change: TransitionChange | FrequencyChange) -> str:
        if isinstance(change, FrequencyChange):
            return f"{change.name} in {change.shares[1]:.1%} of cases, before {change.shares[0]:.1%}"
        return (
            f"{change.source} → {change.target} {self.more_or_less(change.change_seconds)} per case "
            f"({self.duration(change.seconds_per_case[0])}, then {self.duration(change.seconds_per_case[1])})"
        )

    def _level(self, value: float, unit: Unit) -> str:
        return self.duration(value) if unit == "seconds" else f"{value:.1%}"

    def _cause(self, cause: Cause, unit: Unit) -> str:
        what = f"{cause.name} (known at the start)" if cause.tag == KNOWN_AT_START else cause.name
        if not cause.effects:
            return f"{what} matters ({self.amount(cause.importance, unit)} per case on average)."
        return f"{_subject(cause.effects[0])} is associated with {self._effect(cause.effects[0], unit)}."

    def _effect(self, effect: Effect, unit: Unit) -> str:
        return (
            f"{self.more_or_less(effect.adjusted, unit)} (n = {effect.cases:,}, {effect.share:.0%} of cases; "
            f"plain difference of means {self.more_or_less(effect.raw, unit)})"
        )

    def _factor(self, factor: Factor) -> str:
        if not factor.values:
            return f"{factor.name} goes with {factor.gain:.0%} of the variation."
        first = factor.values[0]
        return (
            f"{factor.name} = {first.value} is associated with {self.more_or_less(first.adjusted_seconds)} "
            f"(n = {first.count:,}; {factor.name} goes with {factor.gain:.0%} of the variation)."
        )


def tell_refusal(window: Window, target: Target, reason: str) -> str:
    """The summary where nothing is explained."""
    return f"{_population(window)} Their {target.words} is not explained: {reason}"


def tell_not_compared(reference: str, compared: str, target: Target, reason: str) -> str:
    """The summary where two sides are not compared."""
    return f"The {target.words} of {compared} is not compared with that of {reference}: {reason}"


def _population(window: Window) -> str:
    span = window.first if window.first == window.last else f"{window.first} to {window.last}"
    left_out = f" ({window.open_cases:,} more are not completed and left out)" if window.open_cases else ""
    return f"{window.completed:,} completed cases started in {span}{left_out}."


def _subject(effect: Effect) -> str:
    return (
        effect.column if effect.column.endswith(f" {effect.value}") else f"{effect.column} = {effect.value}"
    )
