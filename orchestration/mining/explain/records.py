"""Explanations as rows: what is stored of each as JSON, with what it is about, how good it is, and what made it.

What belongs here: the shape of `features`. What does not: the figures, and the sentences (``narrative``).
"""

from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any, Literal

from orchestration.mining.explain.bottleneck import Bottleneck
from orchestration.mining.explain.config import VERSIONS, ExplainConfig
from orchestration.mining.explain.narrative import Narrator, tell_refusal
from orchestration.mining.explain.population import About, about_cases
from orchestration.mining.explain.question import CYCLE_TIME, Target
from orchestration.mining.explain.study import Study
from orchestration.mining.explain.waterfall import SlowCase
from orchestration.mining.explain.window import Window

Scope = Literal["global", "bottleneck", "case", "comparison"]
_SIGNIFICANT_DIGITS = 6


@dataclass(frozen=True)
class Explanation:
    """One row of the explainability table; `features` is JSON, `month` is None for the whole analysis."""

    scope: Scope
    target: str
    month: str | None
    global_case_id: str | None
    features: dict[str, Any]
    summary: str


def global_record(
    window: Window, study: Study, month: str | None, config: ExplainConfig, narrator: Narrator
) -> Explanation:
    """What a window tells of the target, or why it tells nothing."""
    target, split, model = study.target, study.split, study.model
    at = (
        datetime.fromtimestamp(split.at_us / 1e6, UTC).isoformat(timespec="seconds")
        if len(study.cases)
        else None
    )
    features = {
        "status": "not_explained" if study.refusal else "explained",
        "reason": study.refusal,
        "target": {**target.model_dump(mode="json", by_alias=True), "unit": target.unit},
        "window": asdict(window),
        "cases": {
            "sampled": study.sampled,
            "asked": len(study.cases),
            "train": len(split.train),
            "test": len(split.test),
            "split_at": at,
        },
        "fit": model.fit.measures() if model else None,
        "causes": [
            {"rank": rank, **cause.figures(target.unit)} for rank, cause in enumerate(study.causes, start=1)
        ],
        "redundant": study.redundant,
        "considered": {feature.group: feature.tag for feature in study.space.features},
        "refused": {
            refusal.group: {"tag": refusal.tag, "reason": refusal.reason} for refusal in study.space.refused
        },
        **made_of(about_cases(study.cases), config),
    }
    if study.refusal or model is None:
        summary = tell_refusal(window, target, study.refusal or "")
    else:
        summary = narrator.tell_global(window, target, model.fit, len(split.test), study.causes)
    return Explanation("global", target.kind, month, None, rounded(features), summary)


def bottleneck_record(
    rank: int,
    bottleneck: Bottleneck,
    window: Window,
    month: str | None,
    about: About,
    config: ExplainConfig,
    narrator: Narrator,
) -> Explanation:
    """One transition; its fit is the share of the sampled waits' variance that its factors go with."""
    explained = sum(factor.gain for factor in bottleneck.factors)
    features = {
        "rank": rank,
        "window": asdict(window),
        **asdict(bottleneck),
        "fit": {"explained_variance": explained, "baseline": "mean of the passages"},
        **made_of(about, config),
    }
    summary = narrator.tell_bottleneck(rank, bottleneck)
    return Explanation("bottleneck", CYCLE_TIME.kind, month, None, rounded(features), summary)


def case_record(
    rank: int,
    case: SlowCase,
    month: str,
    study: Study,
    contributions: dict[str, Any] | None,
    about: About,
    config: ExplainConfig,
    narrator: Narrator,
) -> Explanation:
    """The exact account of a case, and its row of contributions where the window's model says something of it."""
    features = {
        "rank": rank,
        "native_case_id": case.native_case_id,
        "cycle_us": case.cycle_us,
        "mean_cycle_us": case.mean_cycle_us,
        "mean_of_cases": case.cases,
        "segments": [
            {**asdict(segment), "difference_us": segment.difference_us} for segment in case.segments
        ],
        "other_us": case.other_us,
        "model": _account(contributions, study.target) if contributions else None,
        "fit": study.model.fit.measures() if study.model and study.causes else None,
        **made_of(about, config),
    }
    summary = narrator.tell_case(rank, case, month)
    return Explanation("case", CYCLE_TIME.kind, month, case.global_case_id, rounded(features), summary)


def made_of(about: About, config: ExplainConfig) -> dict[str, Any]:
    """What every row carries: the cases that it is about, and what would make it again."""
    return {"population": asdict(about), "seed": config.seed, "versions": VERSIONS}


def _account(row: dict[str, Any], target: Target) -> dict[str, Any]:
    """The contributions to one case, each by the name of its feature."""
    base, prediction, residual = (f"{name}_{target.unit}" for name in ("base", "prediction", "residual"))
    return {
        "target": target.kind,
        base: row[base],
        f"contributions_{target.unit}": dict(
            zip(row["features"], row[f"contributions_{target.unit}"], strict=True)
        ),
        prediction: row[prediction],
        residual: row[residual],
    }


def rounded(value: Any) -> Any:
    """The value with its floats cut to six significant digits, tuples as lists; whole numbers stay exact."""
    if isinstance(value, float):
        return float(f"{value:.{_SIGNIFICANT_DIGITS}g}")
    if isinstance(value, dict):
        return {key: rounded(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [rounded(item) for item in value]
    return value
