-- Dagster shows a test of several relations as a check only where it is told of which asset.
{{ config(meta={'dagster': {'ref': {'name': 'variants'}}}) }}

-- One, where the month has completed cases; else none. A declared happy path need not occur.
select
    variants.home_month,
    count(*) filter (where variants.is_happy_path) as happy_paths,
    sum(variants.completed_count) as completed_cases
from {{ ref('variants') }} as variants
cross join {{ source('input', 'parameters') }} as parameters
group by variants.home_month, parameters.happy_path is null
having
    happy_paths > 1
    or (parameters.happy_path is null and happy_paths <> (completed_cases > 0)::integer)
