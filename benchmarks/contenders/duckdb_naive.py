"""DuckDB as one would write it first: an ordered list per case and a window over the events."""

import duckdb

from benchmarks.contenders.clock import LOG, clock, report

CASES = """
create table cases as
select
    global_case_id,
    min("timestamp") as start_ts,
    max("timestamp") as end_ts,
    list(activity order by "timestamp", tie_order) as activities
from events
group by global_case_id
"""

VARIANTS = """
create table variants as
select activities, count(*) as frequency, avg(epoch_us(end_ts) - epoch_us(start_ts)) / 1e6 as mean_seconds
from cases
group by activities
"""

PROCESS_MAP = """
create table process_map as
with followed as (
    select
        activity as source,
        lead(activity) over trace as target,
        epoch_us(lead("timestamp") over trace) - epoch_us("timestamp") as elapsed_us
    from events
    window trace as (partition by global_case_id order by "timestamp", tie_order)
)
select source, target, count(*) as frequency, avg(elapsed_us) / 1e6 as mean_seconds
from followed
where target is not null
group by source, target
"""

connection = duckdb.connect(config={"threads": 2, "preserve_insertion_order": False})
with clock():
    connection.execute(f"create view events as from read_parquet('{LOG}')")
    for statement in (CASES, VARIANTS, PROCESS_MAP):
        connection.execute(statement)
report(
    connection.execute("from variants").to_arrow_table(),
    connection.execute("from process_map").to_arrow_table(),
    cases=connection.execute("select count(*) from cases").fetchall()[0][0],
)
