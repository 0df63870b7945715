{#
    DuckDB-only SQL of the process models. Everything here works on lists: a trace is kept as two lists
    of equal length, `times` (BIGINT microseconds since 1970, UTC) and `codes` (USMALLINT activity codes).
#}


{#
    Traces of all cases, by packing each event into one integer `time | tie_order | code`, so that sorting
    the integers of a case sorts its events by (timestamp, tie_order).

    integer_type   BIGINT where the data's ranges fit in 63 bits, else HUGEINT, which always fits.
    time           The time as it is packed.
    unpacked_time  Microseconds since 1970, from the packed time `step >> shift`.
    condition      Constant-folds, so that only one of two such queries is run.

    The pack_* variables are set on the session by orchestration/mining/packing.py.
#}
{% macro traces_packed_as(integer_type, time, unpacked_time, condition) %}
select
    packed.global_case_id,
    packed.order_is_tied,
    list_transform(packed.steps, lambda step: {{ unpacked_time }}) as times,
    list_transform(packed.steps, lambda step: (step & getvariable('pack_code_mask'))::usmallint) as codes
from (
    select
        events.global_case_id,
        max(events.tie_order) > 0 as order_is_tied,
        list_sort(list(
            -- Not shifted: a time before the origin is negative. The two lower parts fit in 64 bits for themselves.
            {{ time }} * getvariable('pack_time_step')
            + (
                (events.tie_order::bigint << getvariable('pack_code_bits')) | activities.code::bigint
            )::{{ integer_type }}
        )) as steps
    from {{ source('input', 'events') }} as events
    inner join {{ source('input', 'activities') }} as activities on events.activity = activities.activity
    where {{ condition }}
    group by events.global_case_id
) as packed
{% endmacro %}


{% macro traces_in_64_bits() %}
{{ traces_packed_as(
    'bigint',
    "((epoch_us(events.\"timestamp\") - getvariable('pack_origin_us')) // getvariable('pack_unit_us'))",
    "(step >> getvariable('pack_time_shift')) * getvariable('pack_unit_us') + getvariable('pack_origin_us')",
    "not getvariable('pack_wide')"
) }}
{% endmacro %}


{# Arithmetic on 128 bits is slow: here microseconds are packed as they are. #}
{% macro traces_in_128_bits() %}
{{ traces_packed_as(
    'hugeint',
    "epoch_us(events.\"timestamp\")::hugeint",
    "(step >> getvariable('pack_time_shift'))::bigint",
    "getvariable('pack_wide')"
) }}
{% endmacro %}


{#
    One row with `labels`, all activities in the order of their codes, and `parts`, the same as they enter a
    variant's hash: each behind its length in bytes, so that no two paths share a text.
#}
{% macro activity_dictionary() %}
(
    select
        list_sort(list(activity)) as labels,
        list_transform(list_sort(list(activity)), lambda label: strlen(label) || ':' || label) as parts
    from {{ source('input', 'activities') }}
)
{% endmacro %}


{# Codes count from 0, lists from 1. #}
{% macro label_of(code, dictionary) %}
{{ dictionary }}.labels[{{ code }}::integer + 1]
{% endmacro %}


{% macro labels_of(codes, dictionary) %}
list_transform({{ codes }}, lambda code: {{ label_of('code', dictionary) }})
{% endmacro %}


{% macro variant_hash(codes, dictionary) %}
sha256(
    'casetrail-variant-1'
    || array_to_string(list_transform({{ codes }}, lambda code: {{ dictionary }}.parts[code::integer + 1]), '')
)
{% endmacro %}


{# How many events repeat the activity just before them. #}
{% macro count_self_loops(codes) %}
len(list_filter(list_zip({{ codes }}, {{ codes }}[2:]), lambda pair: pair[1] = pair[2]))
{% endmacro %}


{% macro partition_id(home_month, workspace_slug) %}{{ home_month }} || '|' || {{ workspace_slug }}{% endmacro %}


{#
    The state of a case under the run's completion rule. `ends_well` tells whether its last activity is an end activity;
    the parameters carry `has_completion_rule`.
#}
{% macro case_state(start_us, end_us, ends_well) %}
case
    when not parameters.has_completion_rule then 'completed'
    -- The start of such a case is not known, so that its cycle time is not either.
    when {{ start_us }} <= epoch_us(parameters.left_edge) then 'left_cut'
    when {{ ends_well }} then 'completed'
    when epoch_us(parameters.as_of) - {{ end_us }} >= parameters.silence_us then 'completed'
    else 'open'
end
{% endmacro %}


{#
    Microseconds from one moment (microseconds since 1970, UTC) to another: elapsed, or of work where the run has a
    calendar. The session has the macro working_us, from orchestration/mining/working_time.py.
#}
{% macro duration_us(start_us, end_us) %}working_us({{ end_us }}) - working_us({{ start_us }}){% endmacro %}


{% macro judging_parameters() %}
(
    select
        *,
        len(end_activities) > 0 or silence_us is not null as has_completion_rule
    from {{ source('input', 'parameters') }}
)
{% endmacro %}
