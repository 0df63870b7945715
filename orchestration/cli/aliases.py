"""Case ids that were merged away: who names one is told on standard error which id it stands for now, and why."""

import re
from collections.abc import Iterable

import typer

from orchestration.control_plane import case_registry
from orchestration.control_plane.case_registry import CaseMerge
from orchestration.control_plane.database import Connection

_CASE_ID = re.compile(r"\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b", re.IGNORECASE)


def surviving_case(connection: Connection, workspace_id: str, global_case_id: str) -> str:
    """The id that this one stands for now: itself, where it was not merged."""
    merges = case_registry.merges_from(connection, workspace_id, [global_case_id]).get(global_case_id)
    if merges is None:
        return global_case_id
    _tell(merges)
    return merges[-1].merged_into


def tell_aliases(connection: Connection, workspace_id: str, sql: str) -> None:
    """Tell of the aliases among the ids in a statement. It is run as it stands: what a release holds has one answer."""
    if named := _CASE_ID.findall(sql):
        followed = case_registry.merges_from(connection, workspace_id, named).values()
        _tell({merge.global_case_id: merge for merges in followed for merge in merges}.values())


def evidence_path(merge: CaseMerge) -> str:
    """The links of a merge in one line, from the survivor's record on."""
    return " > ".join(f"{':'.join(step['right'])} ({step['rule']})" for step in merge.evidence)


def _tell(merges: Iterable[CaseMerge]) -> None:
    for merge in merges:
        typer.echo(
            f"case {merge.global_case_id} was merged into {merge.merged_into} on {merge.merged_at:%Y-%m-%d}: "
            f"{evidence_path(merge)}",
            err=True,
        )
