"""Event logs on DuckDB connections, in the shape in which the explanations read them."""

from collections.abc import Callable, Iterator
from pathlib import Path

import duckdb
import pytest

from orchestration.demo.lead_to_cash import PlantedTruth, write_lead_to_cash

Connect = Callable[[str], duckdb.DuckDBPyConnection]

_LEAD_TO_CASH = """
select
    case_id as native_case_id, activity, timestamp::timestamp as timestamp,
    resource as resource_id, role, org_unit,
    to_json(struct_pack(
        region := region, sales_office := sales_office, currency := currency, priority := priority,
        channel := channel, product_line := product_line, amount := amount, customer_id := customer_id
    ))::varchar as attributes
from read_csv('{path}', all_varchar = true)
"""

_CASES = """
create table cases as
select
    global_case_id, min(timestamp) as start_ts, max(timestamp) as end_ts,
    strftime(min(timestamp), '%Y-%m') as home_month,
    epoch_us(max(timestamp)) - epoch_us(min(timestamp)) as cycle_time_us,
    'completed' as state
from events
group by global_case_id
"""


def connect_events(query: str) -> duckdb.DuckDBPyConnection:
    """A connection with `events` from a query (in its row order) and `cases`, all of them completed."""
    conn = duckdb.connect(config={"threads": 2})
    conn.execute(
        f"""
        create table events as
        select
            md5(native_case_id)::uuid as global_case_id, * exclude (sequence),
            (row_number() over tied - 1)::integer as tie_order
        from (select *, row_number() over () as sequence from ({query}))
        window tied as (partition by native_case_id, timestamp order by sequence)
        order by global_case_id, timestamp, tie_order
        """
    )
    conn.execute(_CASES)
    return conn


@pytest.fixture(scope="session")
def connect() -> Connect:
    return connect_events


@pytest.fixture(scope="session")
def world(
    tmp_path_factory: pytest.TempPathFactory,
) -> Callable[..., tuple[duckdb.DuckDBPyConnection, PlantedTruth]]:
    """Makes a connection with a generated lead-to-cash log and says what was planted in it."""

    def make(**options: object) -> tuple[duckdb.DuckDBPyConnection, PlantedTruth]:
        path: Path = tmp_path_factory.mktemp("world") / "log.csv"
        truth = write_lead_to_cash(path, **options)  # type: ignore[arg-type]
        return connect_events(_LEAD_TO_CASH.format(path=path)), truth

    return make


@pytest.fixture(scope="session")
def small_world(
    world: Callable[..., tuple[duckdb.DuckDBPyConnection, PlantedTruth]],
) -> Iterator[duckdb.DuckDBPyConnection]:
    """6,000 cases in 15 months; read only."""
    conn, _ = world(cases=6_000, months=15, seed=3)
    yield conn
    conn.close()
