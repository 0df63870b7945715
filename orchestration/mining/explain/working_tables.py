"""The temporary tables that every explanation reads, made once from `events` and `cases`.

What belongs here: copying the completed cases into compact, ordered tables, row by row, so that an
explanation of a window is a range scan. What does not: anything that depends on rows outside a window. Codes
follow the order of the labels, and thresholds, dictionaries and samples are made later from the window alone,
so a month's explanation is the same whether the connection holds its window or the whole analysis.
"""

import duckdb

from orchestration.mining.explain.config import ExplainConfig
from orchestration.mining.working_time import create_elapsed_time

# case_no numbers the completed cases by home month, so that a range of months is a range of numbers.
# sample_key is a hash of the id: the smallest n are a random sample that never changes.
_CASES = """
create or replace temp table explain_case as
with completed as (
    select global_case_id, home_month, start_ts, cycle_time_us,
        epoch_us(start_ts) as start_us, epoch_us(end_ts) as end_us,
        md5_number_lower(global_case_id::varchar) as sample_key
    from cases
    where state = 'completed' and cycle_time_us is not null
)
select
    (row_number() over (order by home_month, global_case_id) - 1)::integer as case_no,
    (row_number() over in_month)::integer as rank_in_month,
    *
from completed
window in_month as (partition by home_month order by sample_key, global_case_id)
order by case_no
"""

_OPEN = """
create or replace temp table explain_open as
select home_month, count(*) as open_cases
from cases
where state <> 'completed' or cycle_time_us is null
group by home_month
"""

_LABELS = """
create or replace temp table explain_label as
with seen as materialized (
    select distinct activity, resource_id, role, org_unit from events
)
select kind, label, (row_number() over (partition by kind order by label) - 1)::integer as code
from (
    select 'activity' as kind, activity as label from seen
    union select 'resource', resource_id from seen
    union select 'role', role from seen
    union select 'org_unit', org_unit from seen
)
where label is not null
"""

# Profiles tell of all cases, not only of those that they hold events of.
_LABELS_OF_WAITS = """
create or replace temp table explain_label as
select kind, label, (row_number() over (partition by kind order by label) - 1)::integer as code
from (
    select kind, label from explain_label
    union select 'activity', source_activity from waits
    union select 'activity', target_activity from waits
)
"""

_WAITS = """
create or replace temp table explain_transition as
select w.home_month, source.code as previous, target.code as activity, w.passes, w.total_us
from waits as w
inner join explain_label as source on source.kind = 'activity' and source.label = w.source_activity
inner join explain_label as target on target.kind = 'activity' and target.label = w.target_activity
"""

# wait_us is the time since the event before (of work, where there is a calendar: see working_time), null at the first
# event; position counts from 1.
_STEPS = """
create or replace temp table explain_step as
select
    c.case_no, c.home_month,
    (row_number() over following)::integer as position,
    a.code as activity,
    lag(a.code) over following as previous,
    working_us(epoch_us(e.timestamp)) - lag(working_us(epoch_us(e.timestamp))) over following as wait_us,
    r.code as resource, o.code as role, u.code as org_unit
from events as e
inner join explain_case as c using (global_case_id)
inner join explain_label as a on a.kind = 'activity' and a.label = e.activity
left join explain_label as r on r.kind = 'resource' and r.label = e.resource_id
left join explain_label as o on o.kind = 'role' and o.label = e.role
left join explain_label as u on u.kind = 'org_unit' and u.label = e.org_unit
window following as (partition by c.case_no order by e.timestamp, e.tie_order)
order by case_no, position
"""

_TRANSITIONS = """
create or replace temp table explain_transition as
select home_month, previous, activity, count(*) as passes, sum(wait_us) as total_us
from explain_step
where previous is not null
group by home_month, previous, activity
"""

_FIRST_EVENTS = """
create or replace temp table explain_first as
select c.case_no, e.native_case_id, e.attributes
from events as e
inner join explain_case as c on c.global_case_id = e.global_case_id and c.start_ts = e.timestamp
where e.tie_order = 0
order by c.case_no
"""

_HAS_JOINED_CASES = """
select exists (select 1 from events group by global_case_id having min(native_case_id) <> max(native_case_id))
"""

# A case that joins records of several systems has what each of them was created with; the earlier one wins.
_FIRST_EVENTS_OF_RECORDS = """
create or replace temp table explain_first as
with starts as (
    select c.case_no, e.native_case_id, e.attributes, e.timestamp, e.tie_order
    from events as e
    inner join explain_case as c using (global_case_id)
    {records}
)
select
    case_no,
    arg_min(native_case_id, row(timestamp, tie_order)) as native_case_id,
    list_reduce(
        list(attributes order by timestamp desc, tie_order desc),
        lambda later, earlier : json_merge_patch(later, earlier)::varchar
    ) as attributes
from starts
group by case_no
order by case_no
"""

_FIRST_EVENTS_JOINED = _FIRST_EVENTS_OF_RECORDS.format(
    records="qualify row_number() over (partition by c.case_no, e.native_case_id order by timestamp, tie_order) = 1"
)
_FIRST_EVENTS_PROFILED = _FIRST_EVENTS_OF_RECORDS.format(records="where e.starts_record")

# Whether an attribute belongs to the case is judged on a few cases of each month, over all of their events; and so is
# whether it comes later than the case's first event (`late`).
_CONSTANCY = """
create or replace temp table explain_constancy as
with pairs as (
    select c.home_month, c.case_no, unnest(json_keys(e.attributes)) as key, e.attributes,
        c.start_ts = e.timestamp and e.tie_order = 0 as is_first
    from events as e
    inner join explain_case as c using (global_case_id)
    where c.rank_in_month <= $cases_per_month and e.attributes is not null
),
per_case as (
    select home_month, key, case_no,
        count(distinct json_extract_string(attributes, '/' || replace(replace(key, '~', '~0'), '/', '~1')))
            as distinct_values,
        not bool_or(is_first) as is_late
    from pairs
    group by all
)
select home_month, key, count(*) as cases, count(*) filter (distinct_values > 1) as changing,
    count(*) filter (is_late) as late
from per_case
group by all
"""

TABLES = (
    "explain_case",
    "explain_open",
    "explain_label",
    "explain_step",
    "explain_transition",
    "explain_first",
    "explain_constancy",
)


_OPEN_OF_TOTALS = "create or replace temp table explain_open as select home_month, open_cases from totals"


def build_working_tables(
    conn: duckdb.DuckDBPyConnection, config: ExplainConfig, *, from_profiles: bool = False
) -> None:
    """Make the working tables from the connection's `events` and `cases`, or what `load_profiles` made of profiles.

    Durations are elapsed time, or working time where the database measures it (`working_time`).
    """
    create_elapsed_time(conn)
    plain = (_CASES, _OPEN, _LABELS, _STEPS, _TRANSITIONS)
    profiled = (_CASES, _OPEN_OF_TOTALS, _LABELS, _LABELS_OF_WAITS, _STEPS, _WAITS, _FIRST_EVENTS_PROFILED)
    for statement in profiled if from_profiles else plain:
        conn.execute(statement)
    if not from_profiles:
        (is_joined,) = conn.execute(_HAS_JOINED_CASES).fetchall()[0]
        conn.execute(_FIRST_EVENTS_JOINED if is_joined else _FIRST_EVENTS)
    conn.execute(_CONSTANCY, {"cases_per_month": config.constancy_cases_per_month})


def drop_working_tables(conn: duckdb.DuckDBPyConnection) -> None:
    """Drop them again; the connection's own tables are not touched."""
    for table in TABLES:
        conn.execute(f"drop table if exists {table}")
