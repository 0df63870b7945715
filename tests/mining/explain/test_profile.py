"""The explanation of the whole analysis, from profiles of its months, is the one that all events give."""

import json
from dataclasses import asdict

import duckdb
import pytest

from orchestration.mining.explain import (
    ExplainConfig,
    Explainer,
    load_profiles,
    month_sample,
    month_totals,
    month_waits,
)


def _told(explanations):
    return json.dumps([asdict(explanation) for explanation in explanations])


def _both(conn, config, monkeypatch=None):
    """What all events tell and what the profiles tell; the number of sampled cases that were read of the profiles."""
    whole = duckdb.connect(config={"threads": 2})
    totals = {}
    with Explainer(conn, config) as explainer:
        expected = _told(explainer.explain_all())
        months = [m for (m,) in conn.execute("select distinct home_month from cases order by 1").fetchall()]
        for place, month in enumerate(months):
            sample = month_sample(conn, month, "events", config)
            waits = month_waits(conn, month)
            totals[month] = month_totals(conn, month)
            verb = "insert into {0}" if place else "create table {0} as"
            whole.execute(f"{verb.format('samples')} from sample")
            whole.execute(f"{verb.format('all_waits')} select *, '{month}' as home_month from waits")
            del sample, waits
    load_profiles(whole, "samples", "all_waits", totals, config)
    with Explainer(whole, config, from_profiles=True) as explainer:
        told = _told(explainer.explain_all())
    read = whole.execute("select count(distinct global_case_id) from profile_event").fetchall()[0][0]
    return expected, told, read


@pytest.mark.parametrize("most", [300, 20_000])
def test_profiles_give_the_explanation_that_all_events_give(small_world, most):
    expected, told, _ = _both(small_world, ExplainConfig(most_sample_cases=most, constancy_cases_per_month=5))
    assert told == expected
    assert json.loads(told)[0]["features"]["cases"]["sampled"] == min(
        most, json.loads(told)[0]["features"]["window"]["completed"]
    )


def test_open_cases_are_counted_though_no_profile_holds_them(small_world):
    small_world.execute("create table before as from cases")
    small_world.execute("update cases set state = 'open' where hash(global_case_id) % 5 = 0")
    try:
        expected, told, _ = _both(small_world, ExplainConfig(most_sample_cases=300))
    finally:
        small_world.execute("create or replace table cases as from before")
        small_world.execute("drop table before")
    assert told == expected
    assert json.loads(told)[0]["features"]["window"]["open_cases"] > 0


def test_only_the_beginnings_of_the_profiles_are_read(small_world):
    config = ExplainConfig(most_sample_cases=300, constancy_cases_per_month=2)
    _, told, read = _both(small_world, config)
    completed = json.loads(told)[0]["features"]["window"]["completed"]
    assert 300 <= read < 300 + 6 * 300**0.5 + 2 * 16 + 60
    assert read < completed / 2
