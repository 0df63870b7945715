"""Choosing factors one at a time."""

import numpy as np
import pytest

from orchestration.mining.explain.bottleneck import Candidate, select_factors
from orchestration.mining.explain.config import ExplainConfig

CONFIG = ExplainConfig()


def _candidates(size, seed):
    rng = np.random.default_rng(seed)
    region = rng.integers(0, 4, size)
    # Two thirds of the offices follow the region: alone, the office looks like a factor.
    office = np.where(rng.random(size) < 2 / 3, region, rng.integers(0, 4, size))
    noise = rng.integers(-1, 6, size)
    named = [("region", region, 4), ("office", office, 4), ("noise", noise, 6)]
    return rng, [Candidate(n, "known_at_start", c, tuple(f"{n}{i}" for i in range(k))) for n, c, k in named]


@pytest.mark.parametrize("seed", range(5))
def test_a_correlated_attribute_adds_nothing_beside_the_real_factor(seed):
    rng, candidates = _candidates(5_000, seed)
    waits = rng.exponential(100.0, 5_000) + 90.0 * (candidates[0].codes == 2)
    (factor,) = select_factors(waits, candidates, CONFIG)
    assert factor.name == "region"
    assert factor.values[0].value == "region2"
    assert factor.values[0].adjusted_seconds == pytest.approx(90.0, abs=12.0)
    # Without the region, the office takes the blame.
    (fooled,) = select_factors(waits, candidates[1:], CONFIG)
    assert fooled.name == "office"


def test_two_factors_are_both_found_the_stronger_first():
    rng, candidates = _candidates(5_000, 1)
    waits = (
        rng.exponential(50.0, 5_000) + 90.0 * (candidates[0].codes == 2) + 40.0 * (candidates[2].codes == 3)
    )
    factors = select_factors(waits, candidates, CONFIG)
    assert [factor.name for factor in factors] == ["region", "noise"]
    assert factors[1].values[0].adjusted_seconds == pytest.approx(40.0, abs=6.0)


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("size", [60, 500, 5_000])
def test_chance_is_no_factor(seed, size):
    rng, candidates = _candidates(size, seed)
    assert select_factors(rng.gamma(2.0, 50.0, size), candidates, CONFIG) == []


def test_few_or_equal_waits_have_no_factor():
    _, candidates = _candidates(49, 1)
    assert select_factors(np.arange(49.0), candidates, CONFIG) == []
    _, candidates = _candidates(500, 1)
    assert select_factors(np.ones(500), candidates, CONFIG) == []


def test_a_missing_value_can_be_the_slow_one():
    rng, candidates = _candidates(5_000, 2)
    waits = rng.exponential(50.0, 5_000) + 80.0 * (candidates[2].codes == -1)
    (factor,) = select_factors(waits, candidates, CONFIG)
    assert factor.values[0].value == "(missing)"
