"""A real log (the receipt phase of a permit process): a model of raw hours is worse than the median there."""

import pytest

from orchestration.mining.explain import Explainer

_RECEIPT = """
select
    "case:concept:name" as native_case_id, "concept:name" as activity,
    "time:timestamp"::timestamp as timestamp, "org:resource" as resource_id, null::varchar as role,
    "org:group" as org_unit,
    json_object(
        'concept:instance', "concept:instance", 'case:startdate', "case:startdate"::varchar,
        'case:responsible', "case:responsible", 'case:enddate_planned', "case:enddate_planned"::varchar,
        'case:department', "case:department", 'case:group', "case:group", 'case:channel', "case:channel",
        'case:deadline', "case:deadline"::varchar, 'case:enddate', "case:enddate"::varchar
    )::varchar as attributes
from '{path}'
"""


@pytest.fixture(scope="module")
def told(connect, shared_data):
    with Explainer(connect(_RECEIPT.format(path=shared_data / "receipt" / "receipt.parquet"))) as explainer:
        return explainer.explain_all()


def test_raw_hours_are_refused_with_the_figures(told):
    features = told[0].features
    assert features["status"] == "not_explained"
    assert features["fit"]["r2"] < 0
    assert features["fit"]["error_seconds"] > features["fit"]["baseline_error_seconds"]
    assert features["causes"] == []
    assert "does not beat the median" in told[0].summary


def test_the_end_date_that_the_log_carries_is_not_used(told):
    assert "date" in told[0].features["refused"]["attribute:case:enddate"]["reason"]
    assert not any("date" in group for group in told[0].features["considered"])


def test_the_top_bottleneck_is_slow_on_average_though_its_median_is_seconds(told):
    top = told[1].features
    assert top["source"].startswith("T05")
    assert top["target"].startswith("T06")
    assert top["median_seconds"] < 60
    assert top["mean_seconds"] > 2 * 86_400
    assert top["p90_seconds"] > 7 * 86_400
