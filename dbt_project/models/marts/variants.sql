with described as (
    select
        paths.*,
        json_object(
            'length', paths.event_count,
            'distinct_activities', paths.distinct_activities,
            'rework_events', paths.event_count - paths.distinct_activities,
            'self_loops', paths.self_loops,
            'conformance', case
                when paths.happy_path_fitness is not null
                    then
                        json_object(
                            'happy_path', if(parameters.happy_path is null, 'of the month', 'declared'),
                            'fitness', paths.happy_path_fitness,
                            'inserted', paths.inserted,
                            'skipped', paths.skipped
                        )
            end
        ) as metadata
    from {{ ref('stg_paths') }} as paths
    cross join {{ source('input', 'parameters') }} as parameters
)

select
    parameters.workspace_id,
    parameters.analysis_id,
    paths.variant_id,
    paths.variant_hash,
    paths.frequency,
    case
        when paths.completed_count > 0 then paths.total_cycle_time_us / paths.completed_count / 1e6
    end as avg_cycle_time_seconds,
    paths.is_happy_path,
    case
        when clock_name() = 'elapsed' then paths.metadata
        else json_merge_patch(paths.metadata, json_object('clock', clock_name()))
    end as metadata,
    strftime(paths.home_month, '%Y-%m') as home_month,
    {{ partition_id("strftime(paths.home_month, '%Y-%m')", 'parameters.workspace_slug') }} as partition_id,
    {{ labels_of('paths.codes', 'dictionary') }} as activities,
    paths.completed_count,
    paths.total_cycle_time_us
from described as paths
cross join {{ activity_dictionary() }} as dictionary
cross join {{ source('input', 'parameters') }} as parameters
