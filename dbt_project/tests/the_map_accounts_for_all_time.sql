-- The steps of a case add up to its cycle time.
with of_cases as (
    select
        home_month,
        sum(cycle_time_us) as total_us
    from {{ ref('cases') }}
    group by home_month
),

of_map as (
    select
        home_month,
        sum(total_us) as total_us
    from {{ ref('process_map') }}
    group by home_month
)

select
    of_cases.home_month,
    of_cases.total_us as total_us_of_cases,
    of_map.total_us as total_us_of_map
from of_cases
full outer join of_map on of_cases.home_month = of_map.home_month
where coalesce(of_cases.total_us, 0) <> coalesce(of_map.total_us, 0)
