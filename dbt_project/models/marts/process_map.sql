with steps as (
    -- Lists that are unnested side by side advance together.
    select
        home_month,
        unnest(codes[1:len(codes) - 1]) as source_code,
        unnest(codes[2:]) as target_code,
        unnest(times[1:len(times) - 1]) as source_us,
        unnest(times[2:]) as target_us
    from {{ ref('stg_traces') }}
),

edges as (
    select
        steps.source_code,
        steps.target_code,
        strftime(steps.home_month, '%Y-%m') as home_month,
        count(*) as frequency,
        sum({{ duration_us('steps.source_us', 'steps.target_us') }})::bigint as total_us
    from steps
    group by steps.home_month, steps.source_code, steps.target_code
)

select
    parameters.workspace_id,
    parameters.analysis_id,
    sources.activity as source_activity,
    targets.activity as target_activity,
    edges.frequency,
    edges.total_us,
    edges.home_month,
    {{ partition_id('edges.home_month', 'parameters.workspace_slug') }} as partition_id
from edges
inner join {{ source('input', 'activities') }} as sources on edges.source_code = sources.code
inner join {{ source('input', 'activities') }} as targets on edges.target_code = targets.code
cross join {{ source('input', 'parameters') }} as parameters
