-- Events in and events out, and the edges that they make: n events of a case make n - 1 edges.
with counted as (
    select
        (select count(*) from {{ source('input', 'events') }}) as events,
        (select coalesce(sum(event_count), 0) from {{ ref('cases') }}) as events_of_cases,
        (select count(*) from {{ ref('cases') }}) as cases,
        (select coalesce(sum(frequency), 0) from {{ ref('process_map') }}) as edges
)

select *
from counted
where events <> events_of_cases or events <> edges + cases
