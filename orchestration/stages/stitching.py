"""Stitching a workspace: links as they are now and the kept registry in, the new state of the registry kept.

One transaction: who reads the registry sees all of a stitching or nothing. Not here: where links come from
(``speakers``, ``link_statements``), and making the months again whose events go under another id (``events``).
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict
from typing import Any

import pyarrow as pa
from pydantic import SecretStr

from orchestration.control_plane import case_registry
from orchestration.control_plane.case_registry import CaseIdRow
from orchestration.control_plane.database import Connection, as_system
from orchestration.identity import (
    LINKS,
    Assignment,
    Caps,
    CaseId,
    Merge,
    Path,
    Record,
    Registry,
    assign,
    evidence_of,
    stitch,
)


def stitch_workspace(
    dsn: SecretStr | str,
    workspace_id: str,
    links: pa.Table,
    keys: pa.Table,
    first_seen: Mapping[Record, int] | None = None,
    caps: Caps | None = None,
) -> Assignment:
    """Join the workspace's records into persons and give them their ids; what people say is added to the links.

    Args:
        dsn: The control plane, as the pipeline.
        workspace_id: The workspace.
        links: ``identity.LINKS``: all that connectors state now.
        keys: ``identity.KEYS``: likewise.
        first_seen: The rank of the arrival that brought each record, as far as known.
        caps: What one person can have.

    Raises:
        ContradictingLinks: people have said that two records are one person and that they are not.
    """
    with as_system(dsn, workspace_id) as connection:
        case_registry.lock_registry(connection, workspace_id)
        stitching = stitch(pa.concat_tables([links, _said(connection, workspace_id)]), keys, caps)
        registry = load_registry(connection, workspace_id)
        found = assign(registry, stitching, first_seen)
        case_registry.mint(connection, workspace_id, (_row(case_id) for case_id in found.minted))
        proven = evidence_of(found.merges, found.registry, stitching)
        case_registry.merge(connection, workspace_id, _told(proven))
        case_registry.place(connection, workspace_id, _placed(registry, found.registry))
        case_registry.report_refused(connection, workspace_id, map(asdict, stitching.refused))
    return found


def load_registry(connection: Connection, workspace_id: str) -> Registry:
    """The registry as it is kept."""
    rows = case_registry.case_ids(connection, workspace_id)
    ids = {
        row.global_case_id: CaseId(
            row.global_case_id,
            (row.system, row.native_case_id),
            row.generation,
            row.first_seen,
            row.merged_into,
        )
        for row in rows
    }
    return Registry(ids, case_registry.case_members(connection, workspace_id))


def _said(connection: Connection, workspace_id: str) -> pa.Table:
    rows = [
        {
            "left_system": link.left_system,
            "left_id": link.left_id,
            "right_system": link.right_system,
            "right_id": link.right_id,
            "strength": link.verdict,
            "rule": "manual",
            "evidence": f"{link.created_by}: {link.reason}",
        }
        for link in case_registry.manual_links(connection, workspace_id)
    ]
    return pa.Table.from_pylist(rows, LINKS)


def _row(case_id: CaseId) -> CaseIdRow:
    return CaseIdRow(
        case_id.global_case_id, *case_id.record, case_id.generation, case_id.first_seen, case_id.merged_into
    )


def _told(proven: Iterable[tuple[Merge, Path]]) -> Iterator[tuple[str, str, list[dict[str, Any]]]]:
    for merge, path in proven:
        yield merge.merged, merge.survivor, [step._asdict() for step in path]


def _placed(before: Registry, after: Registry) -> Iterator[tuple[str, str, str]]:
    """The records that are under another id than before, or under one for the first time."""
    for record, global_case_id in after.members.items():
        if before.members.get(record) != global_case_id:
            yield (*record, global_case_id)
