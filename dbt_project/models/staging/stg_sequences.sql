with sequences as (
    select distinct codes
    from {{ ref('stg_path_counts') }}
),

identified as (
    select
        sequences.codes,
        {{ variant_hash('sequences.codes', 'dictionary') }} as variant_hash,
        {{ label_of('sequences.codes[1]', 'dictionary') }} as start_activity,
        {{ label_of('sequences.codes[-1]', 'dictionary') }} as end_activity
    from sequences
    cross join {{ activity_dictionary() }} as dictionary
)

select
    codes,
    variant_hash,
    variant_hash[1:16] as variant_id,
    start_activity,
    end_activity,
    len(codes)::integer as event_count,
    len(list_distinct(codes))::integer as distinct_activities,
    {{ count_self_loops('codes') }}::integer as self_loops
from identified
