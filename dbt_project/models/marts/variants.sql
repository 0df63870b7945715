with counted as (
    select
        home_month,
        variant_hash,
        count(*) as frequency,
        count(*) filter (where state = 'completed') as completed_count,
        coalesce(sum(cycle_time_us) filter (where state = 'completed'), 0)::bigint as total_cycle_time_us
    from {{ ref('cases') }}
    group by home_month, variant_hash
),

ranked as (
    select
        *,
        row_number() over (
            partition by home_month
            order by completed_count desc, variant_hash asc
        ) as place
    from counted
),

-- Materialized so that the dictionary meets finished rows, as one constant: below a hash join it would be
-- copied to every row.
found as materialized (
    select
        ranked.*,
        sequences.codes,
        sequences.variant_id,
        sequences.event_count,
        sequences.distinct_activities,
        sequences.self_loops
    from ranked
    inner join {{ ref('stg_sequences') }} as sequences on ranked.variant_hash = sequences.variant_hash
)

select
    parameters.workspace_id,
    parameters.analysis_id,
    found.variant_id,
    found.variant_hash,
    found.frequency,
    case
        when found.completed_count > 0 then found.total_cycle_time_us / found.completed_count / 1e6
    end as avg_cycle_time_seconds,
    found.place = 1 and found.completed_count > 0 as is_happy_path,
    json_object(
        'length', found.event_count,
        'distinct_activities', found.distinct_activities,
        'rework_events', found.event_count - found.distinct_activities,
        'self_loops', found.self_loops
    ) as metadata,
    found.home_month,
    {{ partition_id('found.home_month', 'parameters.workspace_slug') }} as partition_id,
    {{ labels_of('found.codes', 'dictionary.labels') }} as activities,
    found.completed_count,
    found.total_cycle_time_us
from found
cross join {{ activity_dictionary() }} as dictionary
cross join {{ source('input', 'parameters') }} as parameters
