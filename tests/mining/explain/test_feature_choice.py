"""Which features a window has, and the reason for each that it has not."""

import duckdb
import numpy as np
import pytest

from orchestration.mining.explain import ExplainConfig, Explainer
from orchestration.mining.explain.feature_choice import learn_features

CASES = 2_000

# Every attribute is one rule. The cycle time is drawn apart from them, save where the name says otherwise.
_LOG = f"""
with cases as (
    select
        i, hash(i) % 1000 as draw, hash(i + 7919) % 4 as quarter,
        timestamp '2024-01-01' + interval (i * 240) minute as start,
        60 + hash(i + 104729) % 100000 as minutes
    from range({CASES}) as t(i)
),
described as (
    select *, json_object(
        'team', 'T' || quarter, 'team_name', 'Team number ' || quarter,
        'constant', 'same', 'ticket', (hash(i + 1299709) % 1000000000)::varchar, 'customer', 'K' || i,
        'handled_seconds', (minutes * 60 + draw / 7.0)::varchar, 'serial', (i // 2)::varchar,
        'due', strftime(start + interval 5 day, '%Y-%m-%dT%H:%M:%SZ'), 'period', strftime(start, '%Y-%m'),
        'price', draw::varchar, 'price_with_tax', (draw * 1.2)::varchar,
        'mixed', case when draw < 500 then '12' else 'unknown' end,
        'sometimes', case when draw < 300 then 'yes' end,
        'rare', case when draw < 2 then 'odd' else 'even' end,
        'a/b~c', 'v' || quarter % 2
    ) as known
    from cases
),
visits as (
    select i, 0 as place, 'Open' as activity, start as timestamp, 'P' || quarter as person from described
    union all select i, 1, 'Check', start + interval 1 minute, 'Q' || draw % 3 from described
    union all select i, 2, 'Check', start + interval 2 minute, 'Q1' from described where draw < 400
    union all select i, 3, 'Repair', start + interval 3 minute, 'Q1' from described where draw < 400
    union all select i, 4, 'Rare step', start + interval 4 minute, 'Q1' from described where draw >= 997
    union all select i, 5, 'Close', start + interval (minutes) minute, 'P' || quarter from described
)
select
    'c' || i as native_case_id, activity, timestamp,
    person as resource_id, 'Clerk' as role, null::varchar as org_unit,
    json_merge_patch(known, json_object(
        'step', place::varchar, 'case:stage', place::varchar, 'month', monthname(timestamp)
    ))::varchar as attributes
from visits join described using (i)
order by i, place
"""


@pytest.fixture(scope="module")
def features(connect):
    conn: duckdb.DuckDBPyConnection = connect(_LOG)
    with Explainer(conn) as explainer:
        return explainer.explain_all()[0].features


@pytest.mark.parametrize(
    ("attribute", "reason"),
    [
        ("constant", "one value"),
        ("ticket", "identifier"),
        ("customer", "too many values"),
        ("handled_seconds", "written after the outcome"),
        ("serial", "it is the calendar"),
        ("due", "date"),
        ("period", "date"),
        ("rare", "too many values"),
        ("case:stage", "one value"),
    ],
)
def test_an_attribute_is_refused_with_its_reason(features, attribute, reason):
    assert reason in features["refused"][f"attribute:{attribute}"]["reason"]
    assert f"attribute:{attribute}" not in features["considered"]


@pytest.mark.parametrize("attribute", ["team", "price", "mixed", "sometimes", "a/b~c"])
def test_an_attribute_of_the_case_is_a_feature(features, attribute):
    assert f"attribute:{attribute}" in features["considered"]


def test_an_attribute_that_changes_within_cases_is_none_of_the_case(features):
    assert "attribute:step" not in features["considered"]
    assert "attribute:step" not in features["refused"]


def test_of_columns_that_say_the_same_one_is_kept(features):
    assert "attribute:team_name" not in features["considered"]
    assert "attribute:price_with_tax" not in features["considered"]
    # The performers of Open and of Close are the team again.
    assert "performer:Open" not in features["considered"]
    assert "performer:Close" not in features["considered"]
    # Check repeats exactly where Repair occurs.
    assert "activity:Check" not in features["considered"]


def test_activities_are_features_where_enough_cases_differ(features):
    assert "activity:Repair" in features["considered"]
    assert "activity:Open" not in features["considered"]
    assert "activity:Rare step" not in features["considered"]


def test_nothing_is_made_of_the_outcome(features):
    groups = set(features["considered"])
    kinds = {group.split(":")[0] for group in groups}
    assert kinds == {"attribute", "start", "activity", "performer"}
    assert {group for group in groups if group.startswith("start:")} == {"start:hour", "start:weekday"}


def test_a_known_duration_would_have_explained_everything(connect):
    """The leak is real: under the limit of the rule it is used, and beats every honest feature."""
    with Explainer(connect(_LOG), ExplainConfig(leak_rank_correlation=2.0)) as explainer:
        leaking = explainer.explain_all()[0].features
    assert leaking["causes"][0]["group"] == "attribute:handled_seconds"
    assert leaking["fit"]["r2"] > 0.9


def test_codes_follow_the_order_of_the_labels(connect):
    with Explainer(connect(_LOG)) as explainer:
        population = explainer._population
        window = population.window("2024-01", population.months()[-1])
        sample = population.sample(window, population.case_attributes(window))
        space, matrix = learn_features(sample, population.labels, ExplainConfig())
    assert np.array_equal(matrix, space.matrix(sample), equal_nan=True)
    columns = {(feature.group, feature.source): index for index, feature in enumerate(space.features)}
    team = space.features[columns["attribute:team", "attribute"]]
    assert team.values == ("T0", "T1", "T2", "T3")
    assert team.twins
    sometimes = matrix[:, columns["attribute:sometimes", "attribute"]]
    assert np.isnan(sometimes).mean() == pytest.approx(0.7, abs=0.05)
    flags = matrix[:, columns["activity:Repair", "occurs"]]
    assert flags.mean() == pytest.approx(0.4, abs=0.05)
