"""The relations that people and models read: typed month files, and their roll-ups over an analysis.

SQL text only, over exactly the objects that the caller names (a release's files, never a glob). Which objects
these are belongs to the control plane, and making the month files to the stages.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from orchestration.lake.session import text

MONTH_FILES: Mapping[str, Mapping[str, str]] = {
    "events": {
        "workspace_id": "uuid",
        "analysis_id": "uuid",
        "global_case_id": "uuid",
        "system": "varchar",
        "native_case_id": "varchar",
        "activity": "varchar",
        "timestamp": "timestamp",
        "resource_id": "varchar",
        "role": "varchar",
        "org_unit": "varchar",
        "schema_version": "integer",
        "partition_id": "varchar",
        "attributes": "varchar",
        "start_timestamp": "timestamp",
        "lifecycle": "varchar",
        "tie_order": "integer",
        "event_id": "varchar",
        "source_sequence": "varchar",
        "arrival_id": "uuid",
    },
    "cases": {
        "workspace_id": "uuid",
        "analysis_id": "uuid",
        "global_case_id": "uuid",
        "start_ts": "timestamp",
        "end_ts": "timestamp",
        "cycle_time_seconds": "double",
        "variant_id": "varchar",
        "variant_hash": "varchar",
        "feature_vector": "double[]",
        "state": "varchar",
        "cycle_time_us": "bigint",
        "event_count": "bigint",
        "start_activity": "varchar",
        "end_activity": "varchar",
        "order_is_tied": "boolean",
        "partition_id": "varchar",
    },
    "variants": {
        "workspace_id": "uuid",
        "analysis_id": "uuid",
        "variant_id": "varchar",
        "variant_hash": "varchar",
        "frequency": "bigint",
        "avg_cycle_time_seconds": "double",
        "is_happy_path": "boolean",
        "metadata": "varchar",
        "activities": "varchar[]",
        "completed_count": "bigint",
        "total_cycle_time_us": "bigint",
        "partition_id": "varchar",
    },
    "process_map": {
        "workspace_id": "uuid",
        "analysis_id": "uuid",
        "source_activity": "varchar",
        "target_activity": "varchar",
        "frequency": "bigint",
        "total_us": "bigint",
        "partition_id": "varchar",
    },
    "quarantine": {
        "row_number": "bigint",
        "line_number": "bigint",
        "reason": "varchar",
        "field": "varchar",
        "value": "varchar",
        "message": "varchar",
        "raw": "varchar",
    },
}
"""Columns and DuckDB types of the files of each dataset. Timestamps are UTC, microseconds."""

# One row per path of the whole analysis. Counts and microseconds add up over home months; averages do not, and neither
# does the conformance to each month's own happy path. A declared happy path is that of all months.
VARIANTS_ROLL_UP = """
with month_rows as (
    select *, metadata ->> '$.conformance.happy_path' is not distinct from 'declared' as is_declared from {month_files}
),

totals as (
    select
        workspace_id,
        analysis_id,
        variant_id,
        variant_hash,
        any_value(activities) as activities,
        if(
            bool_and(is_declared), min(metadata), json_merge_patch(min(metadata), '{{"conformance": null}}')::varchar
        ) as metadata,
        bool_and(is_declared) as is_declared,
        bool_or(is_happy_path) as is_happy_path,
        sum(frequency)::bigint as frequency,
        sum(completed_count)::bigint as completed_count,
        sum(total_cycle_time_us)::bigint as total_cycle_time_us
    from month_rows
    group by workspace_id, analysis_id, variant_id, variant_hash
)

select
    workspace_id,
    analysis_id,
    variant_id,
    variant_hash,
    activities,
    frequency,
    completed_count,
    total_cycle_time_us / nullif(completed_count, 0) / 1e6 as avg_cycle_time_seconds,
    if(
        is_declared,
        is_happy_path,
        completed_count > 0
        and row_number() over (partition by analysis_id order by completed_count desc, variant_hash) = 1
    ) as is_happy_path,
    metadata
from totals
"""

# One row per edge of the whole analysis.
PROCESS_MAP_ROLL_UP = """
select
    source_activity,
    target_activity,
    sum(frequency)::bigint as frequency,
    sum(total_us)::bigint / 1e6 as total_seconds
from {month_files}
group by source_activity, target_activity
"""

# The file that a rejected row lies in tells the arrival that it came with.
_QUARANTINE = """
select
    arrivals.arrival_id::uuid as arrival_id,
    arrivals.file_name,
    rejected.* exclude (url)
from {month_files} as rejected
inner join (values {arrivals}) as arrivals (url, arrival_id, file_name) using (url)
"""


@dataclass(frozen=True)
class ViewSource:
    """The objects that a view reads; none gives an empty view of the same columns.

    ``arrivals`` is needed for ``quarantine``: url -> (arrival_id, file_name).
    """

    urls: Sequence[str] = ()
    arrivals: Mapping[str, tuple[str, str]] = field(default_factory=dict)


def view_sql(view: str, source: ViewSource) -> str:
    """The SELECT behind one of ``VIEWS``."""
    if view == "quarantine":
        return _quarantine(source)
    files = month_files(view, source.urls)
    roll_up = {"variants": VARIANTS_ROLL_UP, "process_map": PROCESS_MAP_ROLL_UP}.get(view)
    return roll_up.format(month_files=f"({files})") if roll_up else files


def month_files(dataset: str, urls: Sequence[str]) -> str:
    """A SELECT of the typed rows of exactly these files; without any, the same columns and no rows."""
    columns = MONTH_FILES[dataset]
    if not urls:
        return f"select {', '.join(f'null::{kind} as {name}' for name, kind in columns.items())} where false"
    typed = ", ".join(f"{name}::{kind} as {name}" for name, kind in columns.items())
    return f"select {typed} from read_parquet([{', '.join(map(text, urls))}])"


def _quarantine(source: ViewSource) -> str:
    files = month_files("quarantine", source.urls)
    if not source.urls:
        return f"select null::uuid as arrival_id, null::varchar as file_name, * from ({files})"
    rows = [", ".join(map(text, (url, *source.arrivals[url]))) for url in source.urls]
    # `filename` is a virtual column of read_parquet; asking for it by option breaks count(*) in DuckDB 1.5.5.
    rejected = files.replace(" from read_parquet", ", filename as url from read_parquet")
    return _QUARANTINE.format(month_files=f"({rejected})", arrivals=", ".join(f"({row})" for row in rows))


VIEWS = tuple(MONTH_FILES)
"""What a query may name; ``variants`` and ``process_map`` are rolled up over the analysis."""
