"""Raw: the landed files of a month, checked against the ledger.

Landing itself (``intake``) writes them, once, when the file arrives; they are never changed. What this stage adds is
the proof that the month's files are there as the ledger says, before anything is made from them.
"""

from collections.abc import Iterable

from orchestration.lake.objects import WorkspaceStore
from orchestration.stages.workbench import MonthOutcome, Workbench, audit, digest

DATASET = "raw_records"


class RawFileLost(Exception):
    """A landed raw file is not in S3 as the ledger says."""


def check_raw(bench: Workbench, months: Iterable[str], store: WorkspaceStore) -> list[MonthOutcome]:
    """One outcome per month.

    Raises:
        RawFileLost: a file of one of the months is missing; what depends on it must not be rebuilt without it.
    """
    present = {entry.key for entry in store.list(f"{bench.workspace_id}/raw/")}
    result = []
    for month in months:
        parts = [part for part in bench.raw_parts if part.month == month]
        lost = [part.object_key for part in parts if part.object_key not in present]
        if lost:
            raise RawFileLost(
                f"{bench.workspace_slug} {month}: {len(lost)} raw file(s) are gone from S3, first {lost[0]}. "
                "Restore the object, or retract its upload and send the file again."
            )
        inputs = [
            {
                "arrival_id": part.arrival_id,
                "sha256": part.arrival_sha256,
                "object": part.object_key,
                "rows": part.rows,
                "content_sha256": part.content_sha256,
            }
            for part in parts
        ]
        result.append(
            MonthOutcome(
                dataset=DATASET,
                month=month,
                state="landed" if parts else "empty",
                rows=sum(part.rows for part in parts),
                content_sha256=digest(sorted(part.content_sha256 for part in parts)) if parts else None,
                inputs=inputs,
                audits=[audit("landed_files_exist", True, f"{len(parts)} file(s)")] if parts else [],
            )
        )
    return result
