with end_codes as (
    select coalesce(list(activities.code), []) as codes
    from {{ source('input', 'activities') }} as activities
    inner join {{ source('input', 'parameters') }} as parameters
        on list_contains(parameters.end_activities, activities.activity)
),

judged as (
    select
        traces.home_month,
        traces.codes,
        {{ duration_us('traces.times[1]', 'traces.times[-1]') }} as cycle_time_us,
        {{ case_state(
            'traces.times[1]', 'traces.times[-1]', 'list_contains(end_codes.codes, traces.codes[-1])'
        ) }} as state
    from {{ ref('stg_traces') }} as traces
    cross join {{ judging_parameters() }} as parameters
    cross join end_codes
)

select
    home_month,
    codes,
    count(*) as frequency,
    count(*) filter (where state = 'completed') as completed_count,
    coalesce(sum(cycle_time_us) filter (where state = 'completed'), 0)::bigint as total_cycle_time_us
from judged
group by home_month, codes
