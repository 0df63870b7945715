"""Which features a window has: decided from its sample, with the reason for every refusal.

What belongs here: thresholds on values, typing of attributes, leaks, and columns that say the same.
What does not: coding cases by the chosen features (`features`).
"""

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from orchestration.mining.explain.cases import Attribute, CaseSet, Floats, Ints
from orchestration.mining.explain.config import ExplainConfig
from orchestration.mining.explain.features import (
    OTHER,
    OUTCOME_LEAK,
    UNUSABLE,
    WEEKDAYS,
    Feature,
    FeatureSpace,
    Refusal,
    Source,
    describe,
)
from orchestration.mining.explain.population import Labels
from orchestration.mining.explain.question import Unit
from orchestration.mining.explain.ranks import (
    area_under_curve,
    correlation_ratio,
    mean_ranks,
    rank_correlation,
)

_DATE = r"^\d{4}-\d{2}(-\d{2}.*)?$"
_PERFORMERS: tuple[Source, ...] = ("resource", "role", "org_unit")


def learn_features(
    cases: CaseSet, labels: Labels, config: ExplainConfig, unit: Unit = "seconds"
) -> tuple[FeatureSpace, Floats]:
    """Decide on the columns of a window from its sample, and code the sample by them.

    Args:
        cases: The sample.
        labels: Names of the activity and performer codes.
        config: The thresholds.
        unit: That of the target.

    Returns:
        The features and the sample's matrix, shape (cases, features), with NaN for missing values.
    """
    refused: list[Refusal] = []
    candidates: list[Feature] = []
    order = mean_ranks(cases.values) if unit == "seconds" else cases.values
    for key, attribute in cases.attributes.items():
        if leak := _leaks(attribute, order, config, unit):
            refused.append(Refusal(f"attribute:{key}", OUTCOME_LEAK, leak))
            continue
        feature = _attribute_feature(key, attribute, cases, config)
        if isinstance(feature, Feature):
            candidates.append(replace(feature, is_late=key in cases.late))
        else:
            refused.append(Refusal(f"attribute:{key}", UNUSABLE, feature))
    candidates += [
        Feature("start:hour", "start hour (UTC)", "clock", "number", cuts=(5.0, 11.0, 17.0)),
        Feature("start:weekday", "start weekday (UTC)", "clock", "category", values=WEEKDAYS),
    ]
    activities = _activity_features(cases, labels, config)
    candidates += activities
    optional = {feature.group for feature in activities if feature.source == "occurs"}
    candidates += _performer_features(cases, labels, optional, config)
    space = FeatureSpace(tuple(candidates), tuple(refused))
    return _without_twins(space, space.matrix(cases), config)


def _attribute_feature(
    key: str, attribute: Attribute, cases: CaseSet, config: ExplainConfig
) -> Feature | str:
    """The attribute's column, or the reason why it gets none."""
    group = f"attribute:{key}"
    if attribute.is_number:
        return _number_feature(group, key, attribute.numbers, cases, config)
    return _word_feature(group, key, attribute, cases, config)


def _leaks(attribute: Attribute, order: Floats, config: ExplainConfig, unit: Unit) -> str | None:
    """Why the attribute was written after the outcome, if by itself it tells almost the whole of it.

    `order` are the ranks of the target's values, or the answers of a yes/no.
    """
    if attribute.is_number:
        present = ~np.isnan(attribute.numbers)
        numbers, answers = attribute.numbers[present], order[present]
        if unit == "seconds":
            found = rank_correlation(numbers, answers)
        else:
            found = abs(2 * area_under_curve(numbers, answers == 1.0) - 1)
        if found >= config.leak_rank_correlation:
            return "orders the cases as the target does: it was written after the outcome"
        groups = present.astype(np.int64)
    else:
        groups = attribute.codes + 1
    sizes = np.bincount(groups)
    groups = np.where(sizes[groups] >= config.value_cases, groups, 0)
    if correlation_ratio(order, groups) >= config.leak_rank_correlation**2:
        return "its values, or their absence, tell the target: it was written after the outcome"
    return None


def _word_feature(
    group: str, key: str, attribute: Attribute, cases: CaseSet, config: ExplainConfig
) -> Feature | str:
    words: list[str] = attribute.encoded.dictionary.to_pylist()
    missing = int(attribute.words.null_count)
    if len(words) < 2 and missing == 0:
        return "has one value"
    if pc.all(pc.match_substring_regex(attribute.encoded.dictionary, _DATE)).as_py():
        return "is a date: it carries the calendar"
    frequency = np.bincount(attribute.codes[attribute.codes >= 0], minlength=len(words))
    kept = _frequent(frequency, len(cases), config)
    if len(kept) < 2 and not (len(kept) == 1 and missing >= config.value_cases):
        return "has too many values, each of few cases"
    known = sorted(words[code] for code in kept)
    rest = (OTHER,) if len(known) < len(words) else ()
    return Feature(group, key, "attribute", "category", values=(*known, *rest))


def _number_feature(
    group: str, key: str, column: Floats, cases: CaseSet, config: ExplainConfig
) -> Feature | str:
    present = ~np.isnan(column)
    numbers = column[present]
    distinct = np.unique(numbers)
    if len(distinct) < 2:
        return "has one value"
    if rank_correlation(numbers, cases.start_us[present]) >= config.leak_rank_correlation:
        return "orders the cases as their start does: it is the calendar"
    if len(distinct) > 0.98 * len(numbers) and bool(np.all(numbers == np.floor(numbers))):
        return "is an identifier: a whole number of its own for every case"
    return Feature(group, key, "attribute", "number", cuts=_quartiles(numbers))


def _activity_features(cases: CaseSet, labels: Labels, config: ExplainConfig) -> list[Feature]:
    """Flags: the activity occurs, the activity occurs more than once."""
    features: list[Feature] = []
    sources: tuple[tuple[Source, int], ...] = (("occurs", 1), ("repeats", 2))
    for source, least in sources:
        exposed = np.bincount(
            cases.visits["activity"][cases.visits["count"] >= least], minlength=len(labels["activity"])
        )
        enough = max(config.value_cases, int(np.ceil(config.value_share * len(cases))))
        telling = np.flatnonzero((exposed >= enough) & (exposed <= len(cases) - enough))
        for code in _most_frequent(telling, exposed, config.most_activities):
            features.append(
                Feature(
                    f"activity:{labels['activity'][code]}",
                    labels["activity"][code],
                    source,
                    "flag",
                    values=("", source),
                    codes=(int(code),),
                )
            )
    return features


def _performer_features(
    cases: CaseSet, labels: Labels, optional: set[str], config: ExplainConfig
) -> list[Feature]:
    """Who does an activity first in a case: resource, role and department, where some values are frequent."""
    features: list[Feature] = []
    visited = np.bincount(cases.visits["activity"], minlength=len(labels["activity"]))
    telling = np.flatnonzero(visited >= 2 * config.value_cases)
    for activity in _most_frequent(telling, visited, config.most_activities):
        rows = np.flatnonzero(cases.visits["activity"] == activity)
        # Of an activity that some cases skip, the performer also tells that it happened: they are one group.
        name = labels["activity"][activity]
        group = f"activity:{name}" if f"activity:{name}" in optional else f"performer:{name}"
        for source in _PERFORMERS:
            codes = cases.visits[source][rows]
            codes = codes[codes >= 0]
            frequency = np.bincount(codes, minlength=len(labels[source]))
            kept = _frequent(frequency, len(codes), config)
            named = [labels[source][code] for code in kept]
            others = len(codes) - int(frequency[kept].sum())
            if len(kept) + (others >= config.value_cases) < 2:
                continue
            features.append(
                Feature(
                    group,
                    name,
                    source,
                    "category",
                    values=(*named, OTHER) if others else tuple(named),
                    codes=(int(activity), *(int(code) for code in kept)),
                    filler=float(np.argmax(frequency[kept])),
                )
            )
    return features


def _without_twins(space: FeatureSpace, matrix: Floats, config: ExplainConfig) -> tuple[FeatureSpace, Floats]:
    """Keep one of several columns that say the same: equal up to renaming, or almost perfectly correlated.

    Two such columns would share the credit of one cause by chance.
    """
    correlation = _correlations(space, matrix)
    seen: dict[bytes, int] = {}
    keeper: list[int] = []
    for index in range(len(space.features)):
        same = seen.setdefault(_shape_of(matrix[:, index]), index)
        close = np.flatnonzero(correlation[index, :index] >= config.twin_correlation)
        if same == index and len(close):
            same = keeper[int(close[0])]
        keeper.append(keeper[same] if same != index else index)
    kept = [index for index in range(len(keeper)) if keeper[index] == index]
    features = []
    for index in kept:
        twins = [describe(space.features[other]) for other, same in enumerate(keeper) if same == index]
        features.append(replace(space.features[index], twins=tuple(twins[1:])))
    return FeatureSpace(tuple(features), space.refused), matrix[:, kept]


def _correlations(space: FeatureSpace, matrix: Floats) -> Floats:
    """Absolute correlations of flags and numbers; zero wherever a category takes part."""
    ordered = [index for index, feature in enumerate(space.features) if feature.kind != "category"]
    result = np.zeros((len(space.features), len(space.features)))
    values = matrix[:, ordered]
    values = values - np.nan_to_num(np.nanmean(values, axis=0))
    values = np.nan_to_num(values)
    scale = np.sqrt((values**2).sum(axis=0))
    values = values / np.where(scale > 0, scale, 1.0)
    result[np.ix_(ordered, ordered)] = np.abs(values.T @ values)
    return result


def _shape_of(column: Floats) -> bytes:
    """The same bytes for two columns whose values correspond one to one."""
    # A dictionary's codes are in the order in which the values first appear.
    codes = pa.array(np.nan_to_num(column, nan=-1.0)).dictionary_encode().indices
    return bytes(codes.to_numpy().data)


def _frequent(frequency: Ints, cases: int, config: ExplainConfig) -> Ints:
    """Codes with enough cases, the `most_values` most frequent ones, in order of code."""
    enough = max(config.value_cases, int(np.ceil(config.value_share * cases)))
    return np.sort(_most_frequent(np.flatnonzero(frequency >= enough), frequency, config.most_values))


def _most_frequent(codes: Ints, frequency: Ints, most: int) -> Ints:
    return np.sort(codes[np.argsort(-frequency[codes], kind="stable")][:most])


def _quartiles(numbers: Floats) -> tuple[float, ...]:
    cuts = np.unique(np.quantile(numbers, (0.25, 0.5, 0.75), method="inverted_cdf"))
    return tuple(float(cut) for cut in cuts if cut < numbers.max())
