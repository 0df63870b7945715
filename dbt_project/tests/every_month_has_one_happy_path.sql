-- One, where the month has completed cases; else none.
select
    home_month,
    count(*) filter (where is_happy_path) as happy_paths,
    sum(completed_count) as completed_cases
from {{ ref('variants') }}
group by home_month
having happy_paths <> (completed_cases > 0)::integer
