"""Why some cases are slow, in three scopes over a window of completed cases.

`global` finds what goes with long cycle times and refuses where it predicts no better than the median,
`bottleneck` ranks the transitions that take most time, `case` accounts for the slowest cases exactly.
"""

from orchestration.mining.explain.config import EXPLAIN_CONFIG, EXPLAIN_VERSION, ExplainConfig
from orchestration.mining.explain.contributions import CONTRIBUTIONS_SCHEMA
from orchestration.mining.explain.explainer import Explainer, Explanation, MonthExplanation
from orchestration.mining.explain.profile import (
    MonthTotals,
    load_profiles,
    month_sample,
    month_totals,
    month_waits,
)

__all__ = [
    "CONTRIBUTIONS_SCHEMA",
    "EXPLAIN_CONFIG",
    "EXPLAIN_VERSION",
    "ExplainConfig",
    "Explainer",
    "Explanation",
    "MonthExplanation",
    "MonthTotals",
    "load_profiles",
    "month_sample",
    "month_totals",
    "month_waits",
]
