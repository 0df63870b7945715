"""The tags of runs that several modules go by. Light to import: webserver and daemon load the run queue, which does."""

WORKSPACE_TAG = "casetrail/workspace"
PLAN_TAG = "casetrail/plan"

ANALYSIS_TAG = "casetrail/analysis"
"""The analysis on demand that a run answers. Such runs have no turn among the refreshes of their workspace."""

EXPECTED_SECONDS_TAG = "casetrail/expected_seconds"
"""What a run is expected to take, where whoever requests it knows better than the number of its months tells."""
