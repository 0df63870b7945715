"""Explanations of months: refusals, exactness, and the same bytes whatever does not matter."""

import json
import re
from dataclasses import asdict

import duckdb
import pyarrow as pa
import pytest

from orchestration.mining.explain import EXPLAIN_CONFIG, Explainer, Narrator, contributions_schema
from orchestration.mining.explain import contributions as contributions_module
from orchestration.mining.explain.records import rounded

MONTH = "2025-02"
TABLE = pa.RecordBatchReader.read_all


def _bytes(conn, month=MONTH, *, threads=1):
    with Explainer(conn, threads=threads) as explainer:
        told = explainer.explain_month(month, TABLE)
    return json.dumps([asdict(explanation) for explanation in told.explanations]), told.contributions


def _copy(conn, condition="true", order="rowid"):
    """Another connection with those cases, and their events in another order."""
    copy = duckdb.connect(config={"threads": 1})
    events = conn.execute(
        f"select * from events where global_case_id in (select global_case_id from cases where {condition}) "
        f"order by {order}"
    ).to_arrow_table()
    cases = conn.execute(f"select * from cases where {condition} order by {order}").to_arrow_table()
    for name, rows in (("events", events), ("cases", cases)):
        assert rows.num_rows
        copy.execute(
            f"create table {name} as select * replace (global_case_id::uuid as global_case_id) from rows"
        )
    return copy


@pytest.fixture(scope="module")
def told(small_world):
    return _bytes(small_world)


_ELAPSED = re.compile(r"\d (s|min|h|days)\b")


def test_working_time_is_told_as_such_and_changes_nothing_but_the_words(small_world, told):
    with Explainer(small_world, narrator=Narrator(is_working=True)) as explainer:
        working = explainer.explain_month(MONTH, TABLE)
    plain = json.loads(told[0])
    assert [row.features for row in working.explanations] == [row["features"] for row in plain]
    assert {row.scope for row in working.explanations} == {"global", "bottleneck", "case"}
    for row, before in zip(working.explanations, plain, strict=True):
        assert _ELAPSED.search(before["summary"])
        assert not _ELAPSED.search(row.summary), row.summary
        assert "elapsed" not in row.summary
        assert re.search(r"[\d.]+ working hours", row.summary)


def test_a_refusal_tells_working_time_as_such(world):
    conn, _ = world(cases=2_000, months=6, causes=False)
    with Explainer(conn, narrator=Narrator(is_working=True)) as explainer:
        refused = explainer.explain_all()[0]
    assert "does not beat the median" in refused.summary
    assert re.search(r"errs by [\d.]+ working hours on average", refused.features["reason"])
    assert not _ELAPSED.search(refused.summary)


def test_one_and_two_threads_give_the_same(small_world, told):
    text, contributions = _bytes(small_world, threads=2)
    assert text == told[0]
    assert contributions.equals(told[1])


def test_the_order_of_the_rows_does_not_matter(small_world, told):
    with _copy(small_world, order="hash(rowid)") as shuffled:
        text, contributions = _bytes(shuffled)
    assert text == told[0]
    assert contributions.equals(told[1])


def test_a_month_depends_on_its_window_alone(small_world, told):
    with _copy(small_world, condition="home_month between '2024-03' and '2025-02'") as window:
        text, contributions = _bytes(window)
    assert text == told[0]
    assert contributions.equals(told[1])
    with _copy(small_world, condition="home_month between '2024-04' and '2025-02'") as less:
        assert _bytes(less)[0] != told[0]


def test_contributions_add_up_to_every_case_of_the_month(small_world, told):
    contributions = told[1]
    assert contributions.schema.equals(contributions_schema("seconds"))
    rows = {str(row["global_case_id"]): row for row in contributions.to_pylist()}
    cases = small_world.execute(
        "select global_case_id::varchar, cycle_time_us / 1e6 from cases where home_month = $1 order by all",
        [MONTH],
    ).fetchall()
    assert list(rows) == [case for case, _ in cases]
    for case, seconds in cases:
        row = rows[case]
        assert row["features"][0] == "attribute:region"
        assert row["features"][-1] == "(other features)"
        total = row["base_seconds"] + sum(row["contributions_seconds"])
        assert total == pytest.approx(row["prediction_seconds"], abs=1e-6)
        assert total + row["residual_seconds"] == pytest.approx(seconds, abs=1e-6)


def test_contributions_do_not_depend_on_the_batches(small_world, told, monkeypatch):
    monkeypatch.setattr(contributions_module, "BATCH_CASES", 97)
    text, contributions = _bytes(small_world)
    assert contributions.column(0).num_chunks > 3
    assert contributions.combine_chunks().equals(told[1].combine_chunks())
    assert text == told[0]


def test_contributions_are_made_as_they_are_read(small_world, monkeypatch):
    made = []

    def counted(conn, cases, *rest):
        made.append(len(cases))
        return batch(conn, cases, *rest)

    def write(reader):
        assert not made
        rows = 0
        for number, read in enumerate(reader, start=1):
            assert len(made) == number
            rows += len(read)
        return rows

    batch = contributions_module._batch
    monkeypatch.setattr(contributions_module, "BATCH_CASES", 97)
    monkeypatch.setattr(contributions_module, "_batch", counted)
    with Explainer(small_world) as explainer:
        assert explainer.explain_month(MONTH, write).contributions == sum(made)
    assert len(made) > 3


def test_the_account_of_a_slow_case_is_its_row_of_contributions(told):
    rows = {str(row["global_case_id"]): row for row in told[1].to_pylist()}
    cases = [e for e in json.loads(told[0]) if e["scope"] == "case"]
    assert len(cases) == 10
    for case in cases:
        row = rows[case["global_case_id"]]
        named = dict(zip(row["features"], row["contributions_seconds"], strict=True))
        told_of = {name: row[name] for name in ("base_seconds", "prediction_seconds", "residual_seconds")}
        account = {"target": "cycle_time", "contributions_seconds": named, **told_of}
        assert case["features"]["model"] == rounded(account)


def test_the_slowest_cases_are_accounted_for_to_the_microsecond(small_world, told):
    cases = [e for e in json.loads(told[0]) if e["scope"] == "case"]
    slowest = small_world.execute(
        "select global_case_id::varchar, cycle_time_us from cases "
        "where home_month = $1 order by cycle_time_us desc limit 10",
        [MONTH],
    ).fetchall()
    assert [(e["global_case_id"], e["features"]["cycle_us"]) for e in cases] == slowest
    mean = small_world.execute(
        "select round(avg(cycle_time_us)) from cases where home_month between '2024-03' and $1", [MONTH]
    ).fetchone()[0]
    for case in cases:
        features = case["features"]
        differences = sum(segment["difference_us"] for segment in features["segments"])
        assert features["mean_cycle_us"] == mean
        assert features["cycle_us"] == features["mean_cycle_us"] + differences + features["other_us"]
        model = features["model"]
        assert model["prediction_seconds"] + model["residual_seconds"] == pytest.approx(
            features["cycle_us"] / 1e6, rel=1e-5
        )


def test_a_segment_is_the_case_against_the_mean_case(small_world, told):
    case = next(e for e in json.loads(told[0]) if e["scope"] == "case")
    segment = case["features"]["segments"][0]
    waits = """
        select coalesce(sum(wait), 0)
        from (
            select global_case_id, activity, lag(activity) over w as previous,
                epoch_us(timestamp) - lag(epoch_us(timestamp)) over w as wait
            from events window w as (partition by global_case_id order by timestamp, tie_order)
        ) join cases using (global_case_id)
        where previous = $source and activity = $target and {condition}
    """
    transition = {"source": segment["source"], "target": segment["target"]}
    own = small_world.execute(
        waits.format(condition="global_case_id = $case::uuid"), {**transition, "case": case["global_case_id"]}
    ).fetchone()[0]
    everybody = small_world.execute(
        waits.format(condition="home_month between '2024-03' and '2025-02'"), transition
    ).fetchone()[0]
    assert segment["case_us"] == own
    assert segment["mean_us"] == round(everybody / case["features"]["mean_of_cases"])


def test_bottlenecks_are_ranked_by_their_share_of_all_time(told):
    shares = [e["features"]["share"] for e in json.loads(told[0]) if e["scope"] == "bottleneck"]
    assert len(shares) == 5
    assert shares == sorted(shares, reverse=True)
    assert 0.5 < sum(shares) <= 1.0


def test_a_world_without_causes_is_not_explained(world):
    conn, truth = world(cases=6_000, months=12, causes=False)
    with Explainer(conn) as explainer:
        whole, *bottlenecks = explainer.explain_all()
        month = explainer.explain_month("2024-12", TABLE)
    assert truth.causes == ()
    assert whole.features["status"] == "not_explained"
    assert whole.features["causes"] == []
    assert "not explained" in whole.summary
    assert not any(bottleneck.features["factors"] for bottleneck in bottlenecks)
    assert month.contributions.num_rows == 0
    assert sum(explanation.scope == "case" for explanation in month.explanations) == 10


def test_too_few_cases_are_refused_with_the_numbers(small_world):
    with Explainer(small_world) as explainer:
        first = explainer.explain_month("2024-01", TABLE).explanations[0]
    assert first.features["status"] == "not_explained"
    assert first.features["fit"] is None
    assert "too few" in first.summary
    assert f"{first.features['cases']['train']:,} had ended" in first.summary


def test_a_month_without_cases_says_so(small_world):
    with Explainer(small_world) as explainer:
        told = explainer.explain_month("2031-01", TABLE)
    assert [explanation.scope for explanation in told.explanations] == ["global"]
    assert told.explanations[0].features["reason"] == "there are none."
    assert told.contributions.num_rows == 0


def test_an_analysis_without_cases_says_so(connect):
    conn = connect(
        "select 'a' as native_case_id, 'x' as activity, timestamp '2024-01-01' as timestamp, "
        "null as resource_id, null as role, null as org_unit, null::varchar as attributes"
    )
    conn.execute("update cases set state = 'open'")
    with Explainer(conn) as explainer:
        assert explainer.months() == []
        (told,) = explainer.explain_all()
    assert told.features["status"] == "not_explained"


def test_open_cases_are_left_out_and_counted(small_world):
    with _copy(small_world) as conn:
        conn.execute(
            "update cases set state = 'open' where home_month = $1 and epoch_us(start_ts) % 3 = 0", [MONTH]
        )
        (left_out,) = conn.execute("select count(*) from cases where state = 'open'").fetchone()
        text, contributions = _bytes(conn)
        (completed,) = conn.execute(
            "select count(*) from cases where home_month = $1 and state = 'completed'", [MONTH]
        ).fetchone()
    first = json.loads(text)[0]
    assert left_out > 50
    assert first["features"]["window"]["open_cases"] == left_out
    assert f"{left_out:,} more are not completed" in first["summary"]
    assert contributions.num_rows == completed


def test_the_temporary_tables_are_gone_afterwards(small_world):
    with Explainer(small_world):
        pass
    names = {name for (name,) in small_world.execute("select table_name from duckdb_tables()").fetchall()}
    assert names == {"events", "cases"}


def test_the_configuration_is_json_with_its_version():
    assert json.loads(json.dumps(EXPLAIN_CONFIG)) == EXPLAIN_CONFIG
    assert EXPLAIN_CONFIG["version"].startswith("explain-")
