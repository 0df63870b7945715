"""Features of a case: what was known at its start, and how it then behaved.

What belongs here: the columns, and coding any cases by them. What does not: deciding which columns a window
has (`feature_choice`), and anything made of the outcome. There are no event counts, gap lengths, end times
or months here: each of them predicts a cycle time and explains nothing.
"""

from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np

from orchestration.mining.explain.cases import NOBODY, PERFORMER_COLUMNS, Attribute, CaseSet, Floats, Ints

Kind = Literal["number", "category", "flag"]
Source = Literal["attribute", "clock", "occurs", "repeats", "resource", "role", "org_unit"]

KNOWN_AT_START = "known_at_start"
BEHAVIOUR = "behaviour"
OUTCOME_LEAK = "outcome_leak"
UNUSABLE = "unusable"
"""The tags. A feature is known when the case starts, or is how the case went; what is refused is one of the others."""

OTHER = "(other)"
MISSING = "(missing)"
WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_HOUR_US = 3_600_000_000


@dataclass(frozen=True)
class Feature:
    """One column.

    `group` is what is explained and ranked together, such as `attribute:region`, `activity:Fix quote` or
    `performer:Approve quote`. A category's column holds positions in `values`, a flag's 0 or 1, and NaN is a
    missing value. To the model, a case without an activity gets the activity's most frequent performer
    (`filler`), since whether the activity happened is a feature of its own. `codes` are the activity's code
    and the kept performers', `cuts` a number's quartiles, `twins` the columns that say the same. `is_late` attributes
    come with a record that joins the case after its start.
    """

    group: str
    name: str
    source: Source
    kind: Kind
    values: tuple[str, ...] = ()
    codes: tuple[int, ...] = ()
    filler: float = np.nan
    cuts: tuple[float, ...] = ()
    twins: tuple[str, ...] = ()
    is_late: bool = False

    @property
    def tag(self) -> str:
        """Whether the value was known when the case started."""
        known = self.source in ("attribute", "clock") and not self.is_late
        return KNOWN_AT_START if known else BEHAVIOUR


@dataclass(frozen=True)
class Refusal:
    """A group of features that is not used: its tag is `outcome_leak` or `unusable`."""

    group: str
    tag: str
    reason: str


@dataclass(frozen=True)
class FeatureSpace:
    """The columns of a window, and why other candidates are none of them."""

    features: tuple[Feature, ...]
    refused: tuple[Refusal, ...]

    def matrix(self, cases: CaseSet) -> Floats:
        """Code cases as an array of shape (cases, features), with NaN where a value is missing."""
        columns = np.full((len(cases), len(self.features)), np.nan)
        for index, feature in enumerate(self.features):
            columns[:, index] = _column(feature, cases)
        return columns

    def model_matrix(self, matrix: Floats) -> Floats:
        """The matrix with each performer's gaps filled, as the model sees it."""
        fillers = np.array([feature.filler for feature in self.features])
        return np.where(np.isnan(matrix), fillers, matrix)


def binned(feature: Feature, column: Floats) -> tuple[Ints, tuple[str, ...]]:
    """The column as small codes with a label each; numbers by quartile of the sample, -1 where missing."""
    if feature.kind != "number":
        return np.where(np.isnan(column), -1, column).astype(np.int64), feature.values
    codes = np.searchsorted(np.array(feature.cuts), column, side="left")
    return np.where(np.isnan(column), -1, codes), _interval_labels(feature.cuts)


def _interval_labels(cuts: tuple[float, ...]) -> tuple[str, ...]:
    if not cuts:
        return ("any",)
    words = [f"{cut:,.6g}" for cut in cuts]
    between = [f"over {low}, up to {high}" for low, high in pairwise(words)]
    return (f"up to {words[0]}", *between, f"over {words[-1]}")


def describe(feature: Feature) -> str:
    """The column in words."""
    if feature.kind == "flag":
        return f"{feature.name} {feature.values[1]}"
    if feature.source in PERFORMER_COLUMNS:
        return f"{feature.source.replace('_', ' ')} of {feature.name}"
    return feature.name


def _column(feature: Feature, cases: CaseSet) -> Floats:
    if feature.source == "clock":
        hours = cases.start_us // _HOUR_US
        # 1970-01-01 was a Thursday, which is day 3 when Monday is day 0.
        return (hours % 24 if feature.kind == "number" else (hours // 24 + 3) % 7).astype(np.float64)
    if feature.source == "attribute":
        return _code_attribute(feature, cases.attributes[feature.name])
    rows = np.flatnonzero(cases.visits["activity"] == feature.codes[0])
    visitors = cases.visits["case"][rows]
    if feature.kind == "flag":
        column = np.zeros(len(cases))
        column[visitors] = cases.visits["count"][rows] >= (1 if feature.source == "occurs" else 2)
        return column
    column = np.full(len(cases), np.nan)
    column[visitors] = code_performers(feature, cases.visits[feature.source][rows])
    return column


def _code_attribute(feature: Feature, attribute: Attribute) -> Floats:
    if feature.kind == "number":
        return attribute.numbers
    position = {value: float(index) for index, value in enumerate(feature.values)}
    rest = position.get(OTHER, np.nan)
    words = attribute.encoded.dictionary.to_pylist()
    return np.array([*(position.get(word, rest) for word in words), np.nan])[attribute.codes]


def code_performers(feature: Feature, performers: Ints) -> Floats:
    """Positions in the feature's values for performer codes; NaN where there is no performer."""
    known = np.array(feature.codes[1:], dtype=np.int64)
    at = np.minimum(np.searchsorted(known, performers), len(known) - 1)
    rest = float(len(known)) if len(feature.values) > len(known) else np.nan
    return np.where(performers == NOBODY, np.nan, np.where(known[at] == performers, at, rest))
