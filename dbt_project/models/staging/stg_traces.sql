with traces as (
    {{ traces_packed_as('bigint', "not getvariable('pack_wide')") }}
    union all
    {{ traces_packed_as('hugeint', "getvariable('pack_wide')") }}
)

select
    global_case_id,
    times,
    codes,
    date_trunc('month', make_timestamp(times[1]))::date as home_month
from traces
