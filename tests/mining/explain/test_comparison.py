"""What changed between two sides: the planted change of the mix, of a rate, of a frequency, and nothing by chance."""

import dataclasses
import re
from pathlib import Path

import numpy as np
import pytest

from orchestration.mining.explain import Comparison, ExplainConfig, Narrator, compare, read_side
from orchestration.mining.explain.bottleneck import Candidate
from orchestration.mining.explain.mix import decompose
from orchestration.mining.explain.question import CYCLE_TIME, OutcomeTarget
from tests.mining.explain.worlds import CASES, World, write_world

CONFIG = ExplainConfig()
HALF = "timestamp '2024-07-02'"


def _change(t, rng):
    """In the second half: more South (slow as before), a slower P4, and customers are asked more often."""
    late = t["when"] >= 0.5
    moved = late & (rng.random(CASES) < 0.35)
    t["region"] = np.where(moved, "South", t["region"])
    t["office"] = np.where(moved & (rng.random(CASES) < 0.7), "S1", t["office"])
    t["asks"] = rng.random(CASES) < np.where(late, 0.45, 0.15)
    t["pays"] = rng.random(CASES) < np.where(t["region"] == "South", 0.3, 0.7)
    return {"Close": 48 * (t["region"] == "South") + 40 * (late & (t["product"] == "P4"))}


@pytest.fixture(scope="module")
def changed(connect, tmp_path_factory):
    world = World("a change", (), _change)
    return connect(write_world(world, Path(tmp_path_factory.mktemp("world")) / "world.parquet"))


def _told(conn, reference, compared, target=CYCLE_TIME, shared=0, narrator=None):
    sides = []
    for name, condition in (("reference", reference), ("compared", compared)):
        conn.execute(
            f"create or replace temp view cases as select * from memory.main.cases where {condition}"
        )
        sides.append(read_side(conn, name, CONFIG))
    conn.execute("drop view temp.main.cases")
    return compare(target, *sides, shared, CONFIG, narrator or Narrator())


@pytest.fixture(scope="module")
def told(changed):
    return _told(changed, f"start_ts < {HALF}", f"start_ts >= {HALF}")


def _means(conn):
    return [
        conn.execute(f"select avg(cycle_time_us) / 1e6 from cases where start_ts {sign} {HALF}").fetchone()[0]
        for sign in ("<", ">=")
    ]


def test_the_difference_is_that_of_the_means(changed, told):
    features, means = told[0].features, _means(changed)
    assert features["means_seconds"] == pytest.approx(means, rel=1e-5)
    assert features["difference_seconds"] == pytest.approx(means[1] - means[0], rel=1e-4)
    low, high = features["confidence_interval_90_seconds"]
    assert high - low == pytest.approx(2 * 1.645 * features["standard_error_seconds"], rel=1e-3)


def test_the_mix_is_that_of_the_planted_attribute_and_of_no_decoy(told):
    (region,) = told[0].features["mix"]
    assert region["name"] == "region"
    # A share of 0.35 of the others moved to the South, which takes 48 hours more.
    moved = region["values"][0]["shares"]
    assert region["values"][0]["value"] == "South"
    assert region["effect_seconds"] / 3600 == pytest.approx(48 * (moved[1] - moved[0]), rel=0.1)
    assert region["effect_seconds"] + told[0].features["within_seconds"] == pytest.approx(
        told[0].features["difference_seconds"], rel=1e-4
    )


def test_the_rate_that_changed_is_the_planted_one(told):
    (product,) = told[0].features["rates"]
    assert (product["name"], product["value"]) == ("product", "P4")
    assert product["excess_seconds"] / 3600 == pytest.approx(
        40, abs=4 * product["standard_error_seconds"] / 3600
    )


def test_the_changes_of_transitions_activities_and_paths_are_the_planted_ones(told):
    parts = {row.features["part"]: row.features for row in told}
    assert list(parts) == ["difference", "transitions", "activities", "paths"]
    assert {change["name"] for change in parts["activities"]["changes"]} >= {"Ask customer"}
    assert all(
        "Ask customer" in change["name"] or change["change"] < 0 for change in parts["paths"]["changes"]
    )
    slower = [c for c in parts["transitions"]["changes"] if c["change_seconds"] > 3600]
    assert {change["target"] for change in slower} <= {"Close", "Decide"}
    assert any(change["source"] in ("Pay", "Reject") and change["target"] == "Close" for change in slower)


def test_every_row_tells_what_it_is_about(changed, told):
    for row in told:
        sides = [row.features[side]["population"]["cases"] for side in ("reference", "compared")]
        assert sum(sides) == row.features["population"]["cases"] == CASES
        assert row.features["seed"] == CONFIG.seed
        assert row.summary
        assert "caus" not in row.summary


def test_the_fit_of_the_difference_is_what_side_and_mix_go_with(changed, told):
    fit = told[0].features["fit"]
    # Of side and region alone, as SQL counts it: the South takes longer on both sides.
    of_cells = changed.execute(
        f"""
        with cases as (
            select cycle_time_us / 1e6 as seconds, start_ts >= {HALF} as late, region
            from cases join (
                select global_case_id, arg_min(attributes->>'region', (timestamp, tie_order)) as region
                from events group by all
            ) using (global_case_id)
        ), cells as (select count(*) as n, avg(seconds) as mean from cases group by late, region)
        select (select sum(n * mean * mean) / sum(n) - pow(sum(n * mean) / sum(n), 2) from cells)
            / (select var_pop(seconds) from cases)
        """
    ).fetchone()[0]
    assert fit["baseline"] == "mean of both sides' cases"
    assert fit["explained_variance"] == pytest.approx(of_cells, abs=0.01)
    assert of_cells > 0.1


def test_the_fit_of_changes_counts_what_was_looked_at_and_what_chance_would_give(changed, told):
    fits = {row.features["part"]: row.features["fit"] for row in told[1:]}
    names = changed.execute(
        f"select activity from events join cases using (global_case_id) group by activity "
        f"having greatest(count(distinct global_case_id) filter (start_ts < {HALF}), "
        f"count(distinct global_case_id) filter (start_ts >= {HALF})) >= {CONFIG.value_cases}"
    ).fetchall()
    assert fits["activities"]["looked_at"] == len(names)
    for row, fit in zip(told[1:], fits.values(), strict=True):
        assert fit["looked_at"] >= fit["beyond_chance"] >= len(row.features["changes"]) > 0
        # Beyond four standard errors lie 63 of a million.
        assert fit["expected_by_chance"] == pytest.approx(63.3e-6 * fit["looked_at"], rel=1e-2)


def test_working_time_is_told_as_such(changed, told):
    working = _told(changed, f"start_ts < {HALF}", f"start_ts >= {HALF}", narrator=Narrator(is_working=True))
    assert [row.features for row in working] == [row.features for row in told]
    for before, row in zip(told[:2], working[:2], strict=True):
        assert re.search(r"\d (s|min|h|days)\b", before.summary)
        assert not re.search(r"\d (s|min|h|days)\b", row.summary)
        assert "working hours more" in row.summary
    assert [row.summary for row in working[2:]] == [row.summary for row in told[2:]]


def test_two_random_halves_differ_in_nothing(changed):
    told = _told(changed, "hash(global_case_id) % 2 = 0", "hash(global_case_id) % 2 = 1")
    assert told[0].features["mix"] == told[0].features["rates"] == []
    assert abs(told[0].features["difference_seconds"]) < 4 * told[0].features["standard_error_seconds"]
    assert [row.features["changes"] for row in told[1:]] == [[], [], []]
    assert [row.features["fit"]["beyond_chance"] for row in told[1:]] == [0, 0, 0]
    assert told[0].features["fit"]["explained_variance"] < 0.01
    assert "no change of paths is beyond chance" in told[3].summary


def test_the_same_input_gives_the_same_rows(changed, told):
    again = _told(changed, f"start_ts < {HALF}", f"start_ts >= {HALF}")
    assert [dataclasses.asdict(row) for row in again] == [dataclasses.asdict(row) for row in told]


def test_a_yes_no_is_compared_in_probability(changed):
    target = OutcomeTarget(kind="outcome", activity="Pay")
    features = _told(changed, f"start_ts < {HALF}", f"start_ts >= {HALF}", target)[0].features
    assert features["difference_probability"] < 0
    assert [effect["name"] for effect in features["mix"]] == ["region"]
    assert abs(features["within_probability"]) < 4 * features["within_standard_error_probability"]


@pytest.mark.parametrize(
    ("compared", "shared", "reason"),
    [
        ("false", 0, "too few"),
        ("global_case_id < '05000000-0000-0000-0000-000000000000'", 3, "on both sides"),
    ],
)
def test_what_cannot_be_compared_is_refused_with_the_reason(changed, compared, shared, reason):
    (row,) = _told(changed, f"start_ts < {HALF}", compared, shared=shared)
    assert row.features["status"] == "not_explained"
    assert reason in row.features["reason"]
    assert row.features["fit"] is None
    assert reason in row.summary


def test_a_value_that_one_side_alone_has_is_mix():
    rng = np.random.default_rng(2)
    compared = np.arange(2_000) >= 1_000
    codes = np.where(compared & (rng.random(2_000) < 0.5), 1, 0)
    values = 10.0 * compared + 30.0 * codes + rng.normal(0, 1, 2_000)
    (effect,), rest = decompose(
        values, compared, [Candidate("a", "known_at_start", codes, ("old", "new"))], CONFIG
    )
    assert effect.effect == pytest.approx(30 * codes[compared].mean(), abs=0.5)
    assert rest[compared].mean() - rest[~compared].mean() == pytest.approx(10.0, abs=0.2)


def test_a_side_is_a_period_or_named_filters():
    sides = Comparison.model_validate(
        {
            "reference": {"from": "2024-01", "to": "2024-12"},
            "compared": {
                "name": "South",
                "filters": [{"kind": "attribute", "name": "region", "in": ["South"]}],
            },
        }
    )
    assert sides.reference.label == "2024-01 to 2024-12"
    (period,) = sides.reference.conditions
    assert period.model_dump(mode="json")["end"] == "2025-01-01T00:00:00Z"
    assert Comparison.model_validate(sides.model_dump(mode="json")) == sides


@pytest.mark.parametrize(
    "side",
    [
        {},
        {"from": "2024-13"},
        {"from": "2024-02", "to": "2024-01"},
        {"filters": [{"kind": "case_size", "min": 1}]},
    ],
)
def test_a_side_that_is_none_is_refused(side):
    with pytest.raises(ValueError, match="reference"):
        Comparison.model_validate({"reference": side, "compared": {"from": "2024-06"}})
