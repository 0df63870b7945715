"""Why cases differ, in four scopes over completed cases.

`global` finds what goes with a target (cycle time, a transition's time, rework, an outcome) and refuses where it
predicts no better than a baseline, `bottleneck` ranks the transitions that take most time, `case` accounts for the
slowest cases exactly, `comparison` tells what changed between two periods or groups.
"""

from orchestration.mining.explain.comparison import compare, read_side
from orchestration.mining.explain.config import EXPLAIN_CONFIG, EXPLAIN_VERSION, ExplainConfig
from orchestration.mining.explain.contributions import contributions_schema
from orchestration.mining.explain.explainer import Explainer, MonthExplanation
from orchestration.mining.explain.narrative import Narrator
from orchestration.mining.explain.profile import (
    MonthTotals,
    load_profiles,
    month_sample,
    month_totals,
    month_waits,
)
from orchestration.mining.explain.question import DEFAULT_QUESTION, ExplanationQuestion
from orchestration.mining.explain.records import Explanation
from orchestration.mining.explain.sides import Comparison

__all__ = [
    "DEFAULT_QUESTION",
    "EXPLAIN_CONFIG",
    "EXPLAIN_VERSION",
    "Comparison",
    "ExplainConfig",
    "Explainer",
    "Explanation",
    "ExplanationQuestion",
    "MonthExplanation",
    "MonthTotals",
    "Narrator",
    "compare",
    "contributions_schema",
    "load_profiles",
    "month_sample",
    "month_totals",
    "month_waits",
    "read_side",
]
