"""The generated log holds what its truth says, and is the same each time."""

import duckdb
import pytest

from orchestration.demo.lead_to_cash import write_lead_to_cash

_WAITS = """
select *, lag(activity) over w as previous,
    date_diff('second', lag(timestamp) over w, timestamp) / 3600 as hours
from read_csv('{path}')
window w as (partition by case_id order by timestamp)
"""


@pytest.fixture(scope="module")
def log(tmp_path_factory):
    path = tmp_path_factory.mktemp("log") / "log.csv"
    truth = write_lead_to_cash(path)
    conn = duckdb.connect()
    conn.execute(f"create table steps as {_WAITS.format(path=path)}")
    yield conn, truth
    conn.close()


def _difference(conn, measure, exposed, condition="true"):
    return conn.execute(
        f"select avg({measure}) filter ({exposed}) - avg({measure}) filter (not ({exposed})) "
        f"from steps where {condition}"
    ).fetchone()[0]


def test_the_same_seed_gives_the_same_bytes(tmp_path):
    paths = [tmp_path / name for name in ("a.csv", "b.csv", "c.csv")]
    for path, seed in zip(paths, (5, 5, 6), strict=True):
        write_lead_to_cash(path, cases=500, months=3, seed=seed)
    first, second, third = (path.read_bytes() for path in paths)
    assert first == second
    assert first != third


def test_the_truth_counts_cases_and_events(log):
    conn, truth = log
    assert conn.execute("select count(distinct case_id), count(*) from steps").fetchone() == (
        truth.cases,
        truth.events,
    )
    assert truth.cases == 20_000


def test_cases_start_in_every_month_and_steps_never_share_a_time(log):
    conn, _ = log
    months = conn.execute(
        "select distinct strftime(timestamp, '%Y-%m') from steps where previous is null order by 1"
    ).fetchall()
    assert [month for (month,) in (months[0], months[-1])] == ["2024-01", "2025-12"]
    assert len(months) == 24
    assert conn.execute("select min(hours) > 0 from steps where previous is not null").fetchone() == (True,)


def test_times_are_utc_and_say_so(tmp_path):
    path = tmp_path / "log.csv"
    write_lead_to_cash(path, cases=10, months=1)
    conn = duckdb.connect()
    rows = conn.execute(f"select timestamp from read_csv('{path}', all_varchar = true)").fetchall()
    assert all(text[10] == "T" and text.endswith("Z") for (text,) in rows)
    assert rows == sorted(rows)


def test_the_planted_hours_are_in_the_waits(log):
    conn, truth = log
    south = _difference(conn, "hours", "region = 'South'", "activity = 'Send invoice'")
    assert south == pytest.approx(48.0, abs=0.5)
    late = _difference(conn, "hours", "resource = 'A7'", "activity = 'Approve quote'")
    assert late == pytest.approx(29.6, abs=2.0)
    planted = {cause.value: cause for cause in truth.causes}
    assert planted["South"].share == pytest.approx(0.20, abs=0.01)
    assert planted["A7"].share == pytest.approx(0.12, abs=0.01)


def test_the_rework_adds_its_hours_to_the_case(log):
    conn, truth = log
    planted = next(cause for cause in truth.causes if cause.feature == "activity:Fix quote")
    added = conn.execute(
        "select avg(hours) from (select sum(hours) as hours from steps "
        "where activity = 'Fix quote' or previous = 'Fix quote' group by case_id)"
    ).fetchone()[0]
    assert added == pytest.approx(planted.hours, rel=0.03)


@pytest.mark.parametrize(
    ("decoy", "least_hours"),
    [("sales_office = 'S2'", 20), ("currency = 'EUR'", 10), ("priority = 'low'", 5), ("channel = 'mail'", 3)],
)
def test_a_decoy_fools_a_comparison_of_means(log, decoy, least_hours):
    conn, _ = log
    cases = (
        "(select any_value(region) as region, any_value(sales_office) as sales_office, "
        "any_value(currency) as currency, any_value(priority) as priority, any_value(channel) as channel, "
        "sum(hours) as hours from steps group by case_id)"
    )
    (difference,) = conn.execute(
        f"select avg(hours) filter ({decoy}) - avg(hours) filter (not ({decoy})) from {cases}"
    ).fetchone()
    assert difference > least_hours


def test_a_world_without_causes_has_no_differences(tmp_path):
    path = tmp_path / "log.csv"
    truth = write_lead_to_cash(path, causes=False)
    conn = duckdb.connect()
    conn.execute(f"create table steps as {_WAITS.format(path=path)}")
    assert truth.causes == ()
    assert abs(_difference(conn, "hours", "region = 'South'", "activity = 'Send invoice'")) < 1
    assert abs(_difference(conn, "hours", "resource = 'A7'", "activity = 'Approve quote'")) < 2


def test_cutting_at_the_end_leaves_late_cases_open(tmp_path):
    path = tmp_path / "log.csv"
    truth = write_lead_to_cash(path, cases=2_000, months=2, cut_at_end=True)
    conn = duckdb.connect()
    latest, paid = conn.execute(
        "select max(timestamp) < '2024-03-01', count(*) filter (activity = 'Receive payment') "
        f"from read_csv('{path}', all_varchar = true)"
    ).fetchone()
    assert latest
    assert truth.open_cases > 50
    assert paid == truth.cases - truth.open_cases


@pytest.mark.parametrize("options", [{"cases": 0}, {"months": 0}])
def test_an_empty_world_is_refused(tmp_path, options):
    with pytest.raises(ValueError, match="at least one case"):
        write_lead_to_cash(tmp_path / "log.csv", **options)
    assert not (tmp_path / "log.csv").exists()
