with traces as (
    {{ traces_in_64_bits() }}
    union all
    {{ traces_in_128_bits() }}
)

select
    global_case_id,
    times,
    codes,
    order_is_tied,
    date_trunc('month', make_timestamp(times[1]))::date as home_month
from traces
