"""What casetrail's contenders share: the input of a build, and its tables in the form that is compared."""

from collections.abc import Callable

import duckdb

VARIANTS = """
select
    any_value(activities) as activities,
    sum(frequency)::bigint as frequency,
    sum(total_cycle_time_us) / sum(completed_count) / 1e6 as mean_seconds
from main.variants
group by variant_hash
"""

PROCESS_MAP = """
select
    source_activity as source,
    target_activity as target,
    sum(frequency)::bigint as frequency,
    sum(total_us) / sum(frequency) / 1e6 as mean_seconds
from main.process_map
group by all
"""

ONE_EVENT = """
select uuid() as global_case_id, timestamp '2024-01-01' as "timestamp", 0 as tie_order, 'a' as activity
"""


def preparation(events: str) -> Callable[[duckdb.DuckDBPyConnection], None]:
    """Provide events and parameters, as a stage of the pipeline does."""

    def prepare(connection: duckdb.DuckDBPyConnection) -> None:
        connection.execute("create schema input")
        connection.execute(f"create view input.events as {events}")
        connection.execute(
            "create table input.parameters as select uuid() as workspace_id, uuid() as analysis_id, "
            "'bench' as workspace_slug, []::varchar[] as end_activities, null::bigint as silence_us, "
            "timestamp '2025-01-01' as as_of, null::timestamp as left_edge, null::varchar[] as happy_path"
        )

    return prepare
