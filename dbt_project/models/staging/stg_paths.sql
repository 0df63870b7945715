-- Materialized so that the dictionary meets finished rows, as one constant: below a hash join it would be
-- copied to every row.
with counted as materialized (
    select
        counts.home_month,
        counts.codes,
        counts.frequency,
        counts.completed_count,
        counts.total_cycle_time_us,
        sequences.variant_hash,
        sequences.variant_id,
        sequences.start_activity,
        sequences.end_activity,
        sequences.event_count,
        sequences.distinct_activities,
        sequences.self_loops
    from {{ ref('stg_path_counts') }} as counts
    inner join {{ ref('stg_sequences') }} as sequences on counts.codes = sequences.codes
),

happiest as (
    -- A window over all paths would cost three times as much.
    select
        home_month,
        arg_min(codes, row(-completed_count, variant_hash)) as codes
    from counted
    where completed_count > 0
    group by home_month
),

happy_paths as materialized (
    select
        happiest.home_month,
        {{ labels_of('happiest.codes', 'dictionary') }} as activities
    from happiest
    cross join {{ activity_dictionary() }} as dictionary
    cross join {{ source('input', 'parameters') }} as parameters
    where parameters.happy_path is null
    union all
    select
        months.home_month,
        parameters.happy_path as activities
    from (select distinct home_month from counted) as months
    cross join {{ source('input', 'parameters') }} as parameters
    where parameters.happy_path is not null
),

-- Months mostly share their happy path: each pair of paths is aligned once.
pairs as (
    select distinct
        happy_paths.activities as happy_path,
        counted.codes
    from counted
    inner join happy_paths on counted.home_month = happy_paths.home_month
),

aligned as materialized (
    select
        labelled.happy_path,
        labelled.codes,
        labelled.activities,
        align_to_happy_path(labelled.happy_path, labelled.activities) as alignment
    from (
        select
            pairs.happy_path,
            pairs.codes,
            {{ labels_of('pairs.codes', 'dictionary') }} as activities
        from pairs
        cross join {{ activity_dictionary() }} as dictionary
    ) as labelled
)

select
    counted.home_month,
    counted.codes,
    counted.frequency,
    counted.completed_count,
    counted.total_cycle_time_us,
    counted.variant_hash,
    counted.variant_id,
    counted.start_activity,
    counted.end_activity,
    counted.event_count,
    counted.distinct_activities,
    counted.self_loops,
    aligned.alignment['fitness'] as happy_path_fitness,
    aligned.alignment['inserted'] as inserted,
    aligned.alignment['skipped'] as skipped,
    coalesce(aligned.activities = aligned.happy_path, false) as is_happy_path
from counted
left join happy_paths on counted.home_month = happy_paths.home_month
left join aligned on counted.codes = aligned.codes and happy_paths.activities = aligned.happy_path
