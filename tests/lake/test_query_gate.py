import duckdb
import pytest

from orchestration.lake.query_functions import FUNCTIONS
from orchestration.lake.query_gate import LONGEST_STATEMENT, StatementRefused, check
from orchestration.lake.views import VIEWS

ALLOWED = {
    "select 1": set(),
    "select count(*) from events": {"events"},
    "select * from main.Events": {"events"},
    "from cases": {"cases"},
    "table variants": {"variants"},
    "values (1), (2)": set(),
    "describe events": {"events"},
    "summarize select cycle_time_seconds from cases": {"cases"},
    "select activity, count(*) as n from events group by all order by n desc limit 10": {"events"},
    "with slow as (from cases where cycle_time_seconds > 10) from slow join events using (global_case_id)": {
        "cases",
        "events",
    },
    "with recursive t(n) as (select 1 union all select n + 1 from t where n < 5) select sum(n) from t": set(),
    "select * from cases where variant_id in (select variant_id from variants where is_happy_path)": {
        "cases",
        "variants",
    },
    "pivot cases on state in ('open', 'completed') using count(*)": {"cases"},
    "select attributes->>'amount', json_extract(attributes, '$.x')::double from events": {"events"},
    "select unnest(activities), n from variants, range(3) as r(n)": {"variants"},
    "select lag(activity) over (partition by global_case_id order by timestamp, tie_order) from events": {
        "events"
    },
    "select date_trunc('month', start_ts), quantile_cont(cycle_time_seconds, 0.5) from cases group by 1": {
        "cases"
    },
    "select [x + 1 for x in feature_vector if x > 0], {'a': 1}.a, feature_vector[1:2] from cases": {"cases"},
    "select extract(hour from timestamp), current_date, now(), timestamp at time zone 'UTC' from events": {
        "events"
    },
    "select regexp_replace(upper(activity), 'A', 'b'), activity ilike 'x%', coalesce(role, '') from events": {
        "events"
    },
    "select reason, count(*) filter (where line_number > 3) from quarantine group by rollup (reason)": {
        "quarantine"
    },
    "select * from process_map as a positional join process_map as b": {"process_map"},
    "select 1 union all select 2 except select 3": set(),
}

HOSTILE = [
    # Files and objects
    "select * from read_csv('/etc/passwd')",
    "select * from read_text('/etc/passwd')",
    "select * from read_blob('s3://casetrail-eu/x')",
    "select * from read_parquet('s3://casetrail-eu/x/*.parquet')",
    "select * from parquet_scan('x.parquet')",
    "select * from read_json('x.json')",
    "select * from read_duckdb('x.db')",
    "select * from glob('/*')",
    "select * from sniff_csv('/etc/passwd')",
    "select * from parquet_metadata('x.parquet')",
    "select * from parquet_kv_metadata('x.parquet')",
    "select * from '/etc/passwd'",
    "select * from 's3://casetrail-eu/x/y.parquet'",
    'select * from "events.csv"',
    "describe '/etc/passwd'",
    "summarize 's3://casetrail-eu/x.parquet'",
    # Hidden in places
    "select (select count(*) from read_text('/etc/passwd'))",
    "select * from events where exists (from 'x.parquet')",
    "with a as (select * from read_text('/etc/passwd')) select 1",
    "select * from events order by (select max(content) from read_text('/etc/passwd'))",
    "select * from events limit (select count(*) from read_text('/etc/passwd'))",
    "select sum(1) filter (where (select true from read_text('/etc/passwd'))) from events",
    "select row_number() over (order by (select 1 from glob('/*'))) from events",
    "select list_transform([1], lambda x: (select max(file) from glob('/*')))",
    "select * from events, lateral (select * from read_text(activity))",
    "select * from events join read_text('/etc/passwd') on true",
    "pivot read_csv('/etc/passwd') on a in (1) using count(*)",
    "select 1 union all select count(*) from read_text('/etc/passwd')",
    "select * from (values ((select 1 from glob('/*'))))",
    # A name of WITH that means something else outside of it
    "select * from (with \"x.parquet\" as (select 1) select 1) as a, 'x.parquet'",
    "select * from (with duckdb_secrets as (select 1) select 1) as a, duckdb_secrets()",
    "select * from (with sqlite_master as (select 1) select 1) as a, sqlite_master",
    # SQL in text
    "select * from query('select 1')",
    "select * from query_table('x.parquet')",
    "from json_execute_serialized_sql('{}')",
    "select json_serialize_sql('select 1')",
    "select json_serialize_plan('select 1')",
    "select json_deserialize_sql('{}')",
    "select * from sql_auto_complete('sel')",
    "from histogram(events, activity)",
    # State, settings, catalog, log
    "select * from duckdb_secrets()",
    "select * from which_secret('s3://casetrail-eu/x', 's3')",
    "select * from duckdb_settings()",
    "select * from duckdb_logs",
    "select * from duckdb_views()",
    "select * from duckdb_temporary_files()",
    "select * from information_schema.tables",
    "select * from pg_catalog.pg_class",
    "select * from system.main.duckdb_tables",
    "select * from memory.main.events",
    "select * from temp.events",
    "show tables",
    "show all tables",
    "show databases",
    "select current_setting('s3_secret_access_key')",
    "select getenv('HOME')",
    "select getvariable('x')",
    "select 'x'.getvariable()",
    "select nextval('s')",
    "select current_query()",
    "select version()",
    "select write_log('x')",
    "select * from enable_logging(storage = 'file', storage_path = '/var/x')",
    "select * from enable_profiling()",
    "select * from truncate_duckdb_logs()",
    "select * from checkpoint()",
    "select * from force_checkpoint()",
    "select pg_sleep(100)",
    "select sleep_ms(100000)",
    "select * from test_all_types()",
    "select * from arrow_scan(1, 2, 3)",
    "select * from pandas_scan(1)",
    "select * from python_map_function(1)",
    # Not a SELECT, or more than one
    "",
    "-- nothing",
    "select 1; select 2",
    "select 1; drop view events",
    "insert into events select * from events",
    "update events set activity = 'x'",
    "delete from events",
    "create table x as select 1",
    "create or replace view events as select 1",
    "create macro f() as 1",
    "create secret s (type s3, key_id 'x', secret 'y', endpoint 'evil.example')",
    "create or replace secret workspace (type s3, endpoint 'evil.example', scope 's3://casetrail-eu/')",
    "drop secret workspace",
    "copy (select 1) to 's3://casetrail-eu/x.csv'",
    "copy events from '/etc/passwd'",
    "attach 'x.db' as x",
    "detach memory",
    "use memory",
    "install httpfs",
    "load httpfs",
    "set lock_configuration = false",
    "reset memory_limit",
    "set variable x = 1",
    "pragma database_list",
    "call enable_logging()",
    "export database '/var/x'",
    "import database '/var/x'",
    "checkpoint",
    "vacuum",
    "explain analyze select 1",
    "prepare p as select 1",
    "execute p",
    "begin transaction",
    "pivot cases on state using count(*)",
    "selct 1",
    "select * from no_such_relation",
    "select " + "+".join("1" for _ in range(20_000)),
    "select " + "[" * 900 + "]" * 900,
    "select 1 -- " + "x" * LONGEST_STATEMENT,
]


@pytest.fixture(scope="module")
def connection() -> duckdb.DuckDBPyConnection:
    return duckdb.connect()


@pytest.mark.parametrize("sql", ALLOWED)
def test_a_select_over_the_relations_is_allowed(sql: str, connection: duckdb.DuckDBPyConnection) -> None:
    assert check(connection, sql, VIEWS) == ALLOWED[sql]


@pytest.mark.parametrize("sql", HOSTILE, ids=lambda sql: sql[:60])
def test_everything_else_is_refused(sql: str, connection: duckdb.DuckDBPyConnection) -> None:
    with pytest.raises(StatementRefused):
        check(connection, sql, VIEWS)


def test_a_refusal_says_what_can_be_read(connection: duckdb.DuckDBPyConnection) -> None:
    with pytest.raises(
        StatementRefused,
        match="no relation orders: a query can read cases, events, process_map, quarantine, variants",
    ):
        check(connection, "select * from orders", VIEWS)
    with pytest.raises(StatementRefused, match="function read_text is not allowed"):
        check(connection, "select * from read_text('x')", VIEWS)


def test_every_allowed_function_is_one_of_this_duckdb(connection: duckdb.DuckDBPyConnection) -> None:
    rows = connection.execute("select function_name from duckdb_functions()").fetchall()

    known = {name for (name,) in rows}
    assert not FUNCTIONS - known
