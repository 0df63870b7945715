"""The oracle: the whole analysis of a generated log names what was planted, in order, and nothing else."""

import pytest

from orchestration.mining.explain import Explainer


@pytest.fixture(scope="module", params=[7, 11])
def told(request, world):
    conn, truth = world(seed=request.param)
    with Explainer(conn) as explainer:
        yield truth, explainer.explain_all()
    conn.close()


def test_the_planted_causes_are_named_in_order_and_no_decoy(told):
    truth, explanations = told
    features = explanations[0].features
    assert features["status"] == "explained"
    assert [cause["group"] for cause in features["causes"]] == [cause.feature for cause in truth.causes]


def test_the_decoys_were_considered(told):
    truth, explanations = told
    assert set(truth.decoys) <= set(explanations[0].features["considered"])


def test_each_effect_is_within_a_sixth_of_the_planted_hours(told):
    truth, explanations = told
    for planted, cause in zip(truth.causes, explanations[0].features["causes"], strict=True):
        effect = cause["effects"][0]
        assert effect["value"] == planted.value
        assert effect["share"] == pytest.approx(planted.share, abs=0.001)
        assert effect["adjusted_seconds"] / 3600 == pytest.approx(planted.hours, rel=1 / 6)
        assert effect["raw_seconds"] / 3600 == pytest.approx(planted.hours, rel=1 / 6)


def test_the_tags_tell_what_was_known_at_the_start(told):
    _, explanations = told
    tags = {cause["group"]: cause["tag"] for cause in explanations[0].features["causes"]}
    assert tags.pop("attribute:region") == "known_at_start"
    assert set(tags.values()) == {"behaviour"}


def test_the_activity_that_repeats_with_the_rework_is_named_beside_it(told):
    _, explanations = told
    rework = next(c for c in explanations[0].features["causes"] if c["group"] == "activity:Fix quote")
    assert rework["twins"] == ["Check credit repeats"]


def test_the_bottlenecks_have_the_planted_factor_alone(told):
    _, explanations = told
    factors = {
        (e.features["source"], e.features["target"]): [f["name"] for f in e.features["factors"]]
        for e in explanations
        if e.scope == "bottleneck"
    }
    assert factors.pop(("Ship order", "Send invoice")) == ["region"]
    assert factors.pop(("Check credit", "Approve quote")) == ["resource of Approve quote"]
    assert factors
    assert not any(factors.values())


def test_the_slow_values_of_a_bottleneck_are_the_planted_ones(told):
    _, explanations = told
    first = {
        e.features["source"]: e.features["factors"][0]["values"][0]
        for e in explanations
        if e.scope == "bottleneck" and e.features["factors"]
    }
    assert first["Ship order"]["value"] == "South"
    assert first["Ship order"]["adjusted_seconds"] / 3600 == pytest.approx(48.0, abs=1.5)
    assert first["Check credit"]["value"] == "A7"
    assert first["Check credit"]["adjusted_seconds"] / 3600 == pytest.approx(29.6, abs=3.0)


def test_the_summary_names_the_values_with_their_figures(told):
    _, explanations = told
    summary = explanations[0].summary
    places = [summary.index(word) for word in ("South", "Fix quote", "Remind customer", "A7")]
    assert places == sorted(places)
    assert "is associated with" in summary
    assert "n = " in summary
    assert not any("caus" in explanation.summary for explanation in explanations)
