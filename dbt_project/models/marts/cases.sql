with parameters as (
    select
        *,
        len(end_activities) > 0 or silence_us is not null as has_completion_rule
    from {{ source('input', 'parameters') }}
),

measured as (
    select
        traces.global_case_id,
        traces.order_is_tied,
        sequences.variant_hash,
        sequences.variant_id,
        sequences.event_count,
        sequences.distinct_activities,
        sequences.self_loops,
        sequences.start_activity,
        sequences.end_activity,
        strftime(traces.home_month, '%Y-%m') as home_month,
        make_timestamp(traces.times[1]) as start_ts,
        make_timestamp(traces.times[-1]) as end_ts,
        traces.times[-1] - traces.times[1] as cycle_time_us
    from {{ ref('stg_traces') }} as traces
    inner join {{ ref('stg_sequences') }} as sequences on traces.codes = sequences.codes
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
        isodow(measured.start_ts)
    ]::double[] as feature_vector,
    measured.home_month,
    {{ partition_id('measured.home_month', 'parameters.workspace_slug') }} as partition_id,
    case
        when not parameters.has_completion_rule then 'completed'
        -- The start of such a case is not known, so that its cycle time is not either.
        when measured.start_ts <= parameters.left_edge then 'left_cut'
        when list_contains(parameters.end_activities, measured.end_activity) then 'completed'
        when epoch_us(parameters.as_of) - epoch_us(measured.end_ts) >= parameters.silence_us then 'completed'
        else 'open'
    end as state,
    measured.cycle_time_us,
    measured.event_count,
    measured.start_activity,
    measured.end_activity,
    measured.order_is_tied
from measured
cross join parameters
