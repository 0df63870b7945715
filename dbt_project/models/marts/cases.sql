with measured as (
    select
        traces.global_case_id,
        traces.order_is_tied,
        paths.variant_hash,
        paths.variant_id,
        paths.event_count,
        paths.distinct_activities,
        paths.self_loops,
        paths.happy_path_fitness,
        paths.start_activity,
        paths.end_activity,
        strftime(traces.home_month, '%Y-%m') as home_month,
        make_timestamp(traces.times[1]) as start_ts,
        make_timestamp(traces.times[-1]) as end_ts,
        {{ duration_us('traces.times[1]', 'traces.times[-1]') }} as cycle_time_us
    from {{ ref('stg_traces') }} as traces
    inner join {{ ref('stg_paths') }} as paths
        on traces.home_month = paths.home_month and traces.codes = paths.codes
)

select
    parameters.workspace_id,
    parameters.analysis_id,
    measured.global_case_id,
    measured.start_ts,
    measured.end_ts,
    measured.cycle_time_us / 1e6 as cycle_time_seconds,
    measured.variant_id,
    measured.variant_hash,
    [
        measured.event_count,
        measured.distinct_activities,
        measured.event_count - measured.distinct_activities,
        measured.self_loops,
        hour(measured.start_ts),
        isodow(measured.start_ts),
        measured.happy_path_fitness
    ]::double[] || case
        when clock_name() = 'elapsed' then []
        else [(epoch_us(measured.end_ts) - epoch_us(measured.start_ts)) / 1e6]
    end as feature_vector,
    measured.home_month,
    {{ partition_id('measured.home_month', 'parameters.workspace_slug') }} as partition_id,
    {{ case_state(
        'epoch_us(measured.start_ts)',
        'epoch_us(measured.end_ts)',
        'list_contains(parameters.end_activities, measured.end_activity)'
    ) }} as state,
    measured.cycle_time_us,
    measured.event_count,
    measured.start_activity,
    measured.end_activity,
    measured.order_is_tied
from measured
cross join {{ judging_parameters() }} as parameters
