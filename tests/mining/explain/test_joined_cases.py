"""Cases that join records of several systems: what the later ones begin with explains, and is not called early."""

from collections.abc import Iterator

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
from orchestration.mining.explain.features import BEHAVIOUR, KNOWN_AT_START

CASES = 1_200
EVENTS = f"""
create table events as
with cases as (
    select md5(n::varchar)::uuid as global_case_id, n, if(n % 4 = 0, 'South', 'North') as region,
        ['web', 'mail'][1 + n % 2] as channel, timestamp '2024-01-01' + to_minutes(n * 30) as begun
    from range({CASES}) as cases (n)
),
steps as (
    select *, 'lead ' || n as native_case_id, 'visit' as activity, begun as timestamp,
        json_object('channel', channel) as attributes from cases
    union all
    select *, 'deal ' || n, 'quote', begun + interval 2 hour, json_object('region', region) from cases
    union all
    select *, 'deal ' || n, 'sign', begun + interval 9 hour + to_minutes((hash(n) % 300)::int)
        + if(region = 'South', interval 40 hour, interval 0 hour), json_object('region', region) from cases
)
select global_case_id, native_case_id, timestamp, 0 as tie_order, activity, null::varchar as resource_id,
    null::varchar as role, null::varchar as org_unit, attributes::varchar as attributes
from steps order by global_case_id, timestamp
"""
CASES_OF_EVENTS = """
create table cases as
select global_case_id, '2024-01' as home_month, min(timestamp) as start_ts, max(timestamp) as end_ts,
    epoch_us(max(timestamp)) - epoch_us(min(timestamp)) as cycle_time_us, 'completed' as state
from events group by global_case_id
"""


@pytest.fixture
def joined() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as connection:
        connection.execute(EVENTS)
        connection.execute(CASES_OF_EVENTS)
        yield connection


def test_an_attribute_of_a_later_record_is_a_cause_but_not_known_at_the_start(
    joined: duckdb.DuckDBPyConnection,
) -> None:
    with Explainer(joined, ExplainConfig()) as explainer:
        found = explainer.explain_all()[0]
    (cause,) = found.features["causes"]
    assert (cause["group"], cause["tag"]) == ("attribute:region", BEHAVIOUR)
    assert "known at the start" not in found.summary
    considered = found.features["considered"]
    assert considered["attribute:channel"] == KNOWN_AT_START


def test_profiles_give_the_very_same_explanation(joined: duckdb.DuckDBPyConnection) -> None:
    with Explainer(joined, ExplainConfig()) as explainer:
        whole = explainer.explain_all()
        sample = month_sample(joined, "2024-01", "events", ExplainConfig())
        waits, totals = month_waits(joined, "2024-01"), month_totals(joined, "2024-01")
    with duckdb.connect() as connection:
        connection.execute("set arrow_lossless_conversion = true")
        connection.register("sample", sample)
        connection.register("month_waits", waits)
        load_profiles(
            connection, "sample", "(select *, '2024-01' as home_month from month_waits)", {"2024-01": totals},
            ExplainConfig(),
        )  # fmt: skip
        with Explainer(connection, ExplainConfig(), from_profiles=True) as explainer:
            assert explainer.explain_all() == whole
