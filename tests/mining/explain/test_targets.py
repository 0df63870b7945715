"""What each target asks of which cases, and that nothing is known of them that happened after its moment."""

import numpy as np
import pytest
from pydantic import TypeAdapter, ValidationError

from orchestration.mining.explain import Explainer, ExplanationQuestion
from orchestration.mining.explain.config import ExplainConfig
from orchestration.mining.explain.objective import YesNo
from orchestration.mining.explain.question import CYCLE_TIME, Target
from orchestration.mining.explain.targets import pose, refused_activities

# Each letter is an activity; the steps of a case are an hour apart, or as many as the digit before the letter.
PATHS = {"c0": "ABC", "c1": "AB3CBC", "c2": "BAC", "c3": "AC", "c4": "ABAB", "c5": "C"}


def _events():
    rows = []
    for case, path in PATHS.items():
        hour = 0
        for place, sign in enumerate(path):
            if sign.isdigit():
                hour += int(sign) - 1
                continue
            rows.append(
                f"('{case}', '{sign}', timestamp '2024-01-01' + interval {hour} hour, 'by {case} {place}')"
            )
            hour += 1
    return f"""
    select native_case_id, activity, timestamp, resource_id, null::varchar as role, null::varchar as org_unit,
        null::varchar as attributes
    from (values {", ".join(rows)}) as t(native_case_id, activity, timestamp, resource_id)
    """


@pytest.fixture(scope="module")
def sample(connect):
    with Explainer(connect(_events())) as explainer:
        population = explainer._population
        cases = population.sample(population.window("2024-01", "2024-01"), [])
        ids = explainer._conn.execute(
            "select native_case_id from explain_case join explain_first using (case_no) order by case_no"
        ).fetchall()
        return cases, population.labels, [case for (case,) in ids]


def _asked(sample, **target):
    """By case: the value, and the activities that were known, in order."""
    cases, labels, ids = sample
    posed = pose(TypeAdapter(Target).validate_python(target), cases, labels)
    names = [ids[np.flatnonzero(cases.case_no == number)[0]] for number in posed.case_no]
    known = [
        "".join(labels["activity"][code] for code in posed.steps["activity"][posed.steps["case"] == index])
        for index in range(len(posed))
    ]
    return {
        name: (value, path) for name, value, path in zip(names, posed.values.tolist(), known, strict=True)
    }


def test_a_transition_is_its_first_direct_passage_and_knows_what_led_to_it(sample):
    assert _asked(sample, kind="transition", **{"from": "B", "to": "C"}) == {
        "c0": (3600.0, "AB"),
        "c1": (3 * 3600.0, "AB"),
    }


def test_rework_of_an_activity_is_asked_when_it_first_happens(sample):
    assert _asked(sample, kind="rework", activity="B") == {
        "c0": (0.0, "AB"),
        "c1": (1.0, "AB"),
        "c2": (0.0, "B"),
        "c4": (1.0, "AB"),
    }


def test_rework_of_any_activity_is_asked_at_the_first_event(sample):
    asked = _asked(sample, kind="rework")
    assert {case: value for case, (value, _) in asked.items()} == {
        "c0": 0.0,
        "c1": 1.0,
        "c2": 0.0,
        "c3": 0.0,
        "c4": 1.0,
        "c5": 0.0,
    }
    assert {known for _, known in asked.values()} == {"A", "B", "C"}


def test_an_outcome_is_asked_at_the_first_event_of_cases_that_have_it_not_yet(sample):
    assert _asked(sample, kind="outcome", activity="C") == {
        "c0": (1.0, "A"),
        "c1": (1.0, "A"),
        "c2": (1.0, "B"),
        "c3": (1.0, "A"),
        "c4": (0.0, "A"),
    }


def test_an_outcome_with_a_landmark_is_asked_of_cases_that_reach_it_undecided(sample):
    assert _asked(sample, kind="outcome", activity="C", landmark="B") == {
        "c0": (1.0, "AB"),
        "c1": (1.0, "AB"),
        "c2": (1.0, "B"),
        "c4": (0.0, "AB"),
    }
    assert _asked(sample, kind="outcome", activity="A", landmark="B") == {"c2": (1.0, "B")}


def test_performers_of_later_steps_are_not_known(sample):
    cases, labels, _ = sample
    posed = pose(TypeAdapter(Target).validate_python({"kind": "outcome", "activity": "C"}), cases, labels)
    known = {labels["resource"][code] for code in posed.visits["resource"]}
    assert known == {f"by {case} 0" for case in ("c0", "c1", "c2", "c3", "c4")}


def test_what_only_happens_later_is_an_outcome_leak(sample):
    cases, labels, _ = sample
    posed = pose(TypeAdapter(Target).validate_python({"kind": "outcome", "activity": "C"}), cases, labels)
    leaks = refused_activities(cases, posed, labels, ExplainConfig(value_cases=1))
    assert [(leak.group, leak.tag) for leak in leaks] == [("activity:C", "outcome_leak")]


def test_the_cycle_time_is_asked_of_all_and_knows_everything(sample):
    cases, labels, _ = sample
    assert pose(CYCLE_TIME, cases, labels) is cases


def test_an_activity_that_the_log_does_not_have_is_named(connect):
    for asked in ({"kind": "outcome", "activity": "Pya"}, {"kind": "transition", "from": "A", "to": "Pya"}):
        target = TypeAdapter(Target).validate_python(asked)
        with Explainer(connect(_events()), target=target) as explainer:
            (told, *_) = explainer.explain_all()
        assert told.features["status"] == "not_explained"
        assert "no event of theirs is named 'Pya'" in told.summary


def test_probability_points_add_up_to_the_probability():
    rng = np.random.default_rng(1)
    raw = np.column_stack([rng.normal(0, 1, (50, 4)), np.full(50, -0.4)])
    raw[0, :4] = 0.0
    points = YesNo().contributions(raw)
    assert points.sum(axis=1) == pytest.approx(1 / (1 + np.exp(-raw.sum(axis=1))), abs=1e-8)
    assert (np.sign(points[1:, :4]) == np.sign(raw[1:, :4])).all()


@pytest.mark.parametrize(
    "question",
    [
        {"target": {"kind": "duration"}},
        {"target": {"kind": "transition", "from": "A"}},
        {"target": {"kind": "outcome"}},
        {"target": {"kind": "cycle_time", "activity": "A"}},
        {"window_months": 0},
    ],
)
def test_a_question_that_is_none_is_refused(question):
    with pytest.raises(ValidationError):
        ExplanationQuestion.model_validate(question)
