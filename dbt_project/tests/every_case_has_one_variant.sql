-- The variants of a month account for its cases, and for the time of the completed ones.
with of_cases as (
    select
        home_month,
        count(*) as cases,
        coalesce(sum(cycle_time_us) filter (where state = 'completed'), 0) as total_us
    from {{ ref('cases') }}
    group by home_month
),

of_variants as (
    select
        home_month,
        sum(frequency) as cases,
        sum(total_cycle_time_us) as total_us
    from {{ ref('variants') }}
    group by home_month
)

select
    of_cases.home_month,
    of_cases.cases as cases_of_cases,
    of_variants.cases as cases_of_variants,
    of_cases.total_us as total_us_of_cases,
    of_variants.total_us as total_us_of_variants
from of_cases
full outer join of_variants on of_cases.home_month = of_variants.home_month
where
    of_cases.cases is distinct from of_variants.cases
    or of_cases.total_us is distinct from of_variants.total_us
