"""Samples and batches, against the tables that they are read from."""

from contextlib import contextmanager

import numpy as np
import pytest

from orchestration.mining.explain.config import ExplainConfig
from orchestration.mining.explain.population import Population
from orchestration.mining.explain.window import months_before
from orchestration.mining.explain.working_tables import build_working_tables, drop_working_tables

MONTHS = [months_before("2024-01", -number) for number in range(15)]


@contextmanager
def _population(conn, **options):
    config = ExplainConfig(**options)
    build_working_tables(conn, config)
    try:
        yield Population(conn, config)
    finally:
        drop_working_tables(conn)


def _smallest_hashes(conn, first, last, most):
    rows = conn.execute(
        "select case_no from explain_case where home_month between $1 and $2 order by sample_key limit $3",
        [first, last, most],
    ).fetchall()
    return sorted(case_no for (case_no,) in rows)


def test_a_smaller_sample_is_part_of_a_larger_one(small_world):
    samples = []
    for most in (100, 1_000):
        with _population(small_world, most_sample_cases=most) as population:
            samples.append(population.sample(population.window("2024-02", "2024-06"), []))
    small, large = samples
    assert (len(small), len(large)) == (100, 1_000)
    assert set(small.case_no) < set(large.case_no)


@pytest.mark.parametrize("order", [1, -1])
def test_a_sample_has_the_smallest_hashes_of_its_window_whatever_was_asked_before(small_world, order):
    with _population(small_world, most_sample_cases=700) as population:
        windows = [(months_before(month, 11), month) for month in MONTHS] + [(MONTHS[0], MONTHS[-1])]
        for first, last in windows[::order]:
            sample = population.sample(population.window(first, last), [])
            assert sample.case_no.tolist() == _smallest_hashes(small_world, first, last, 700)


def test_no_more_of_a_month_is_read_than_some_sample_needs(small_world):
    with _population(small_world, most_sample_cases=700) as population:
        for month in MONTHS:
            population.sample(population.window(months_before(month, 11), month), ["region"])
        read = {month: len(part) for month, part in population._parts.items()}
    # The first month's own window has that month alone, a month in the middle shares its windows with others.
    assert read["2024-01"] > 350
    assert 50 < read["2025-01"] < 80


def test_a_window_that_ends_after_all_cases_is_no_month_s(small_world):
    with _population(small_world) as population:
        window = population.window("2024-12", "2025-11")
        assert window.completed
        with pytest.raises(ValueError, match="up to 2025-03"):
            population.sample(window, [])


def test_a_sample_has_the_steps_visits_and_attributes_of_its_cases(small_world):
    with _population(small_world, most_sample_cases=700) as population:
        sample = population.sample(population.window("2024-03", "2025-02"), ["amount", "region"])
        chosen = {"chosen": sample.case_no.tolist()}
        steps = small_world.execute(
            "select case_no, activity, coalesce(previous, -1), coalesce(wait_us, 0), resource "
            "from explain_step where case_no in $chosen order by case_no, position",
            chosen,
        ).fetchall()
        visits = small_world.execute(
            "select case_no, activity, count(*), arg_min(resource, position) "
            "from explain_step where case_no in $chosen group by all order by all",
            chosen,
        ).fetchall()
        attributes = small_world.execute(
            "select attributes ->> 'region', (attributes ->> 'amount')::double "
            "from explain_first where case_no in $chosen order by case_no",
            chosen,
        ).fetchall()
    columns = ("activity", "previous", "wait_us", "resource")
    case_no = sample.case_no[sample.steps["case"]]
    assert list(zip(case_no, *(sample.steps[name] for name in columns), strict=True)) == steps
    columns = ("activity", "count", "resource")
    case_no = sample.case_no[sample.visits["case"]]
    assert list(zip(case_no, *(sample.visits[name] for name in columns), strict=True)) == visits
    region, amount = sample.attributes["region"], sample.attributes["amount"]
    assert list(zip(region.words.to_pylist(), amount.numbers, strict=True)) == attributes
    assert amount.is_number
    assert not region.is_number
    assert set(region.encoded.dictionary.to_pylist()) == {word for word, _ in attributes}


@pytest.mark.parametrize(("cap", "most"), [(20_000, 20_000), (20_000, 97), (200, 20_000), (200, 97)])
def test_batches_are_all_of_a_month(small_world, cap, most):
    with _population(small_world, most_sample_cases=cap) as population:
        batches = list(population.batches("2024-05", ["amount"], most))
        wanted = small_world.execute(
            "select c.case_no, c.cycle_time_us, (f.attributes ->> 'amount')::double "
            "from explain_case as c join explain_first as f using (case_no) "
            "where c.home_month = '2024-05' order by c.case_no"
        ).fetchall()
        assert list(population.batches("2031-01", [], most)) == []
    assert len(batches) == -(-len(wanted) // most)
    found = [np.concatenate(columns) for columns in zip(*map(_columns, batches), strict=True)]
    assert list(zip(*found, strict=True)) == wanted


def _columns(batch):
    return batch.case_no, batch.cycle_us, batch.attributes["amount"].numbers


def test_transitions_are_of_all_cases(small_world):
    with _population(small_world, most_sample_cases=100) as population:
        window = population.window("2024-03", "2024-08")
        transitions = population.transitions(window)
        steps, waits = small_world.execute(
            "select count(*), sum(wait_us) from explain_step "
            "where home_month between '2024-03' and '2024-08' and previous is not null"
        ).fetchone()
    assert sum(passes for passes, _ in transitions.values()) == steps
    assert sum(total_us for _, total_us in transitions.values()) == waits == population.cycle_us(window)
