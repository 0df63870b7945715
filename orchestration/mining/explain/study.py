"""What a sample of cases tells of a target: features, split, model, gate and causes, or why nothing is explained."""

from dataclasses import dataclass, field, replace

import numpy as np

from orchestration.mining.explain.cases import CaseSet, Floats
from orchestration.mining.explain.causes import Cause, rank_causes
from orchestration.mining.explain.config import ExplainConfig
from orchestration.mining.explain.feature_choice import learn_features
from orchestration.mining.explain.features import FeatureSpace
from orchestration.mining.explain.model import Split, TargetModel, fit_model, split_in_time
from orchestration.mining.explain.narrative import Narrator
from orchestration.mining.explain.objective import OBJECTIVES
from orchestration.mining.explain.population import Labels
from orchestration.mining.explain.question import CYCLE_TIME, Target
from orchestration.mining.explain.redundancy import needed_causes
from orchestration.mining.explain.targets import pose, refused_activities

_NOTHING = np.array([], dtype=np.int64)
_NO_FEATURES = FeatureSpace((), ())
_NO_SPLIT = Split(0, _NOTHING, _NOTHING)


@dataclass(frozen=True)
class Study:
    """`cases` are the sampled ones that the target is asked of; `refusal` says why there is no model to trust.

    `redundant` are features that the model uses though the causes say the same.
    """

    target: Target
    sampled: int
    cases: CaseSet
    space: FeatureSpace = _NO_FEATURES
    matrix: Floats = field(default_factory=lambda: np.empty((0, 0)))
    split: Split = _NO_SPLIT
    model: TargetModel | None = None
    causes: tuple[Cause, ...] = ()
    redundant: tuple[str, ...] = ()
    refusal: str | None = None


def study_target(
    target: Target, sample: CaseSet, labels: Labels, config: ExplainConfig, threads: int, narrator: Narrator
) -> Study:
    """Study the sample's cases that the target is asked of."""
    cases = pose(target, sample, labels)
    if nobody := _nobody(target, sample, cases, labels):
        return Study(target, len(sample), cases, refusal=nobody)
    space, matrix = learn_features(cases, labels, config, target.unit)
    if target != CYCLE_TIME:
        leaks = refused_activities(sample, cases, labels, config)
        space = replace(space, refused=(*space.refused, *leaks))
    split = split_in_time(cases, config)
    study = Study(target, len(sample), cases, space, matrix, split)
    if too_few := _too_few(study, config):
        return replace(study, refusal=too_few)
    objective = OBJECTIVES[target.unit]
    model = fit_model(cases, space, space.model_matrix(matrix), split, objective, config, threads)
    if model.fit.skill < config.least_skill or not model.fit.beats_baseline:
        return replace(study, model=model, refusal=narrator.lost_to_baseline(model.fit))
    found = rank_causes(model, matrix, cases.values, split, config)
    causes = needed_causes(model, cases, matrix, split, found, config)
    redundant = tuple(cause.group for cause in found if cause not in causes)
    nothing = None if causes else "no feature improves the prediction of later cases beyond chance."
    return replace(study, model=model, causes=tuple(causes), redundant=redundant, refusal=nothing)


def _nobody(target: Target, sample: CaseSet, asked: CaseSet, labels: Labels) -> str | None:
    if not len(sample):
        return "there are none."
    unknown = [f"'{name}'" for name in target.activities.values() if name not in labels["activity"]]
    if unknown:
        return f"no event of theirs is named {' or '.join(unknown)}. Activities are named as the process map shows."
    return None if len(asked) else f"of {len(sample):,} sampled ones there is none that it can be asked of."


def _too_few(study: Study, config: ExplainConfig) -> str | None:
    train, test = study.split.train, study.split.test
    if len(train) < config.least_train_cases or len(test) < config.least_test_cases:
        return (
            f"there are too few to learn from and to test on: {len(train):,} had ended when "
            f"{len(test):,} later ones began, and {config.least_train_cases:,} and "
            f"{config.least_test_cases:,} are needed."
        )
    if study.target.unit == "seconds":
        return None
    yes = [int(study.cases.values[part].sum()) for part in (train, test)]
    if min(*yes, len(train) - yes[0], len(test) - yes[1]) >= config.least_answers:
        return None
    return (
        f"one of the answers is too rare: it was yes for {yes[0]:,} of {len(train):,} cases to learn from and "
        f"{yes[1]:,} of {len(test):,} later ones, and {config.least_answers} of either are needed."
    )
