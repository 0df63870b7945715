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

happiest as (
    -- A window over all variants would cost three times as much.
    select
        home_month,
        arg_min(variant_hash, row(-completed_count, variant_hash)) as variant_hash
    from counted
    where completed_count > 0
    group by home_month
),

-- Materialized so that the dictionary meets finished rows, as one constant: below a hash join it would be
-- copied to every row.
found as materialized (
    select
        counted.*,
        sequences.codes,
        sequences.variant_id,
        sequences.event_count,
        sequences.distinct_activities,
        sequences.self_loops,
        coalesce(counted.variant_hash = happiest.variant_hash, false) as is_happy_path
    from counted
    inner join {{ ref('stg_sequences') }} as sequences on counted.variant_hash = sequences.variant_hash
    left join happiest on counted.home_month = happiest.home_month
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
    found.is_happy_path,
    json_object(
        'length', found.event_count,
        'distinct_activities', found.distinct_activities,
        'rework_events', found.event_count - found.distinct_activities,
        'self_loops', found.self_loops
    ) as metadata,
    found.home_month,
    {{ partition_id('found.home_month', 'parameters.workspace_slug') }} as partition_id,
    {{ labels_of('found.codes', 'dictionary') }} as activities,
    found.completed_count,
    found.total_cycle_time_us
from found
cross join {{ activity_dictionary() }} as dictionary
cross join {{ source('input', 'parameters') }} as parameters
