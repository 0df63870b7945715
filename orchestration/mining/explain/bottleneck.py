"""Where the time goes: transitions by their share of all elapsed time, and what goes with the slow ones.

What belongs here: ranking transitions and choosing factors one at a time, each given those before it, so
that an attribute that only correlates with the real factor adds nothing. What does not: whole
cycle times (`causes`).
"""

from dataclasses import dataclass

import duckdb
import numpy as np

from orchestration.mining.explain.config import ExplainConfig
from orchestration.mining.explain.feature_choice import Labels
from orchestration.mining.explain.features import (
    MISSING,
    FeatureSpace,
    Floats,
    binned,
    code_performers,
    describe,
)
from orchestration.mining.explain.window import PERFORMER_COLUMNS, CaseSet, Ints, Window


@dataclass(frozen=True)
class FactorValue:
    """One value against the rest: mean seconds more, given the factors before it, and plainly compared."""

    value: str
    count: int
    adjusted_seconds: float
    raw_seconds: float


@dataclass(frozen=True)
class Factor:
    """One chosen factor and the share of the variance that it adds."""

    name: str
    role: str
    gain: float
    values: tuple[FactorValue, ...]


@dataclass(frozen=True)
class Bottleneck:
    """One transition over all completed cases of a window; times are in seconds."""

    source: str
    target: str
    count: int
    share: float
    total_seconds: float
    mean_seconds: float
    median_seconds: float
    p90_seconds: float
    sampled: int
    factors: tuple[Factor, ...]


@dataclass(frozen=True)
class Candidate:
    """What may go with a wait: a code per wait (-1: missing) and the codes' names."""

    name: str
    role: str
    codes: Ints
    labels: tuple[str, ...]


def find_bottlenecks(
    conn: duckdb.DuckDBPyConnection,
    window: Window,
    sample: CaseSet,
    space: FeatureSpace,
    matrix: Floats,
    labels: Labels,
    config: ExplainConfig,
) -> list[Bottleneck]:
    """The transitions that take most time in total, each with its factors.

    Args:
        conn: Holds the working tables.
        window: Whose completed cases are counted.
        sample: Its sample, on which factors are chosen.
        space: The window's features.
        matrix: The sample's feature matrix, with NaN for missing values.
        labels: Names of the codes.
        config: The thresholds.
    """
    rows = conn.execute(
        """
        with totals as (
            select previous, activity, sum(wait_us) as total_us, sum(sum(wait_us)) over () as all_us
            from explain_step
            where home_month between $first and $last and previous is not null
            group by previous, activity
        ),
        top as (
            from totals where total_us > 0 order by total_us desc, previous, activity limit $most
        )
        select
            previous, activity, count(*) as passed, any_value(total_us)::hugeint as total_us,
            any_value(all_us)::hugeint as all_us, quantile_cont(wait_us, [0.5, 0.9]) as quantiles
        from explain_step inner join top using (previous, activity)
        where home_month between $first and $last
        group by previous, activity
        order by total_us desc, previous, activity
        """,
        {**window.parameters, "most": config.bottlenecks},
    ).fetchall()
    bottlenecks = []
    for previous, activity, passed, total_us, all_us, (median_us, p90_us) in rows:
        waits, candidates = _sampled_steps(conn, window, sample, space, matrix, (previous, activity))
        bottlenecks.append(
            Bottleneck(
                source=labels["activity"][previous],
                target=labels["activity"][activity],
                count=passed,
                share=total_us / all_us,
                total_seconds=total_us / 1e6,
                mean_seconds=total_us / passed / 1e6,
                median_seconds=median_us / 1e6,
                p90_seconds=p90_us / 1e6,
                sampled=len(waits),
                factors=tuple(select_factors(waits, candidates, config)),
            )
        )
    return bottlenecks


def _sampled_steps(
    conn: duckdb.DuckDBPyConnection,
    window: Window,
    sample: CaseSet,
    space: FeatureSpace,
    matrix: Floats,
    transition: tuple[int, int],
) -> tuple[Floats, list[Candidate]]:
    """The sample's waits (seconds) on one transition, and what may go with them.

    Candidates are what was known at the start of the case, and who performed the step's own target activity.
    """
    steps = conn.execute(
        """
        select
            case_no, wait_us, coalesce(resource, -1) as resource, coalesce(role, -1) as role,
            coalesce(org_unit, -1) as org_unit
        from explain_step
        where home_month between $first and $last and previous = $previous and activity = $activity
        order by case_no, position
        """,
        {**window.parameters, "previous": transition[0], "activity": transition[1]},
    ).fetchnumpy()
    at = np.minimum(np.searchsorted(sample.case_no, steps["case_no"]), len(sample) - 1)
    kept = sample.case_no[at] == steps["case_no"]
    candidates = []
    for index, feature in enumerate(space.features):
        if feature.role == "known_at_start":
            codes, names = binned(feature, matrix[:, index])
            candidates.append(Candidate(describe(feature), feature.role, codes[at[kept]], names))
        elif feature.source in PERFORMER_COLUMNS and feature.codes[0] == transition[1]:
            column = code_performers(feature, steps[feature.source][kept].astype(np.int64))
            codes, names = binned(feature, column)
            candidates.append(Candidate(describe(feature), feature.role, codes, names))
    return steps["wait_us"][kept] / 1e6, candidates


def select_factors(waits: Floats, candidates: list[Candidate], config: ExplainConfig) -> list[Factor]:
    """Choose factors one by one while the next one explains enough more of the variance.

    A value's mean is shrunk by n / (n + k), so that rare values do not win by chance, and the gain is charged
    for the number of values.
    """
    spread = float(((waits - waits.mean()) ** 2).sum()) if len(waits) else 0.0
    if len(waits) < config.least_transition_cases or spread == 0.0:
        return []
    residual = waits - waits.mean()
    remaining = list(candidates)
    factors: list[Factor] = []
    while remaining and len(factors) < config.most_factors:
        gains = [_adjusted_gain(residual, candidate, spread, config) for candidate in remaining]
        best = int(np.argmax(gains))
        if gains[best] <= 0.0:
            break
        chosen = remaining.pop(best)
        values = tuple(_factor_values(waits, residual, chosen, config))
        factors.append(Factor(chosen.name, chosen.role, gains[best], values))
        residual = residual - _shrunk_means(residual, chosen, config)[chosen.codes]
    return factors


def _shrunk_means(residual: Floats, candidate: Candidate, config: ExplainConfig) -> Floats:
    """The mean residual per code, shrunk towards none; the last entry is that of missing values (code -1)."""
    codes = np.where(candidate.codes < 0, len(candidate.labels), candidate.codes)
    count = np.bincount(codes, minlength=len(candidate.labels) + 1)
    total = np.bincount(codes, weights=residual, minlength=len(candidate.labels) + 1)
    means: Floats = total / (count + config.shrinkage_cases)
    return means


def _adjusted_gain(residual: Floats, candidate: Candidate, spread: float, config: ExplainConfig) -> float:
    """The share of the variance that the candidate explains beyond chance; 0 if that may be chance itself.

    Groups that mean nothing explain (groups - 1) / n of the variance on average, with a standard error of
    sqrt(2 (groups - 1)) / n.
    """
    before = float((residual**2).sum())
    after = float(((residual - _shrunk_means(residual, candidate, config)[candidate.codes]) ** 2).sum())
    degrees = len(np.unique(candidate.codes)) - 1
    gain = (before - after - before * degrees / len(residual)) / spread
    chance = config.least_factor_errors * float(np.sqrt(2 * degrees)) / len(residual)
    return gain if gain >= max(config.least_adjusted_gain, chance) else 0.0


def _factor_values(
    waits: Floats, residual: Floats, chosen: Candidate, config: ExplainConfig
) -> list[FactorValue]:
    weighed = []
    for code in (*range(len(chosen.labels)), -1):
        exposed = chosen.codes == code
        share = float(exposed.mean())
        if min(int(exposed.sum()), int((~exposed).sum())) < config.value_cases:
            continue
        adjusted = float(residual[exposed].mean() - residual[~exposed].mean())
        raw = float(waits[exposed].mean() - waits[~exposed].mean())
        name = chosen.labels[code] if code >= 0 else MISSING
        weighed.append(
            (abs(adjusted) * share * (1 - share), FactorValue(name, int(exposed.sum()), adjusted, raw))
        )
    weighed.sort(key=lambda pair: (-pair[0], pair[1].value))
    return [value for _, value in weighed[: config.most_values_shown]]
