"""Names and version of `cases.feature_vector`.

The numbers themselves are worked out in `dbt_project/models/marts/cases.sql`. Features for explanations,
which need attributes and resources, are not here.
"""

FEATURE_VERSION = 2
"""Rises when a feature is added, dropped, moved or defined anew."""

FEATURE_NAMES = (
    "event_count",
    "distinct_activities",
    "rework_events",
    "self_loops",
    "start_hour",
    "start_weekday",
    "happy_path_fitness",
)
"""In the order of the vector. `start_hour` is 0-23 UTC, `start_weekday` 1 (Monday) to 7.

`happy_path_fitness` is 0 to 1, and null in a month without a happy path.
"""

CALENDAR_FEATURE_NAMES = (*FEATURE_NAMES, "elapsed_seconds")
"""Where an analysis has a calendar, its cases' cycle times are working time; what elapsed is the last of the vector."""
