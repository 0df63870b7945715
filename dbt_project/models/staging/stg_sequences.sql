with sequences as (
    select distinct codes
    from {{ ref('stg_traces') }}
),

labelled as (
    select
        sequences.codes,
        {{ labels_of('sequences.codes', 'dictionary.labels') }} as activities
    from sequences
    cross join {{ activity_dictionary() }} as dictionary
),

identified as (
    select
        *,
        {{ variant_hash('activities') }} as variant_hash
    from labelled
)

select
    codes,
    variant_hash,
    variant_hash[1:16] as variant_id,
    activities[1] as start_activity,
    activities[-1] as end_activity,
    len(codes)::integer as event_count,
    len(list_distinct(codes))::integer as distinct_activities,
    {{ count_self_loops('codes') }}::integer as self_loops
from identified
