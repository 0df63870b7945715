"""Releases: a provenance row with its files and explanations, swapped in as the analysis' current result.

Everything happens in the caller's one transaction. Not here: whether a release may be made (``stages.release``).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import psycopg
from psycopg.rows import class_row, dict_row
from psycopg.types.json import Jsonb


class ReleaseConflict(Exception):
    """Another release became current since this one began; the run must start again from that one."""


@dataclass(frozen=True)
class ReleaseFile:
    """One file of a release."""

    dataset: str
    month: str
    object_key: str
    rows: int
    bytes: int
    content_sha256: str
    fingerprint: str
    inputs: list[dict[str, Any]]
    code_version: str
    stats: dict[str, Any]


@dataclass(frozen=True)
class ExplanationRow:
    """One row of ``explainability``; ``month`` None means the whole analysis."""

    month: str | None
    scope: str
    target: str
    global_case_id: str | None
    features: dict[str, Any]
    summary: str


@dataclass(frozen=True)
class NewRelease:
    """What ``publish`` writes; ``carried`` are the months (None: the whole) with the explanations of the parent."""

    workspace_id: str
    analysis_id: str
    parent_id: str | None
    run_id: str
    as_of: datetime
    content_sha256: str
    etl_steps: list[dict[str, Any]]
    schemas: dict[str, Any]
    mining_config: dict[str, Any]
    explainability_config: dict[str, Any]
    audits: list[dict[str, Any]]
    carried: Sequence[str | None] = ()


@dataclass(frozen=True)
class ReleaseHead:
    """What a release is, without the lineage of its files, which grows with the history; ``arrival_ids`` are in it."""

    id: str
    analysis_id: str
    as_of: datetime
    content_sha256: str
    mining_config: dict[str, Any]
    arrival_ids: list[str]


_FILE_COLUMNS = (
    "dataset, month, object_key, rows, bytes, content_sha256, fingerprint, inputs, code_version, stats"
)


def publish(
    connection: psycopg.Connection[Any], release: NewRelease, explanations: Sequence[ExplanationRow]
) -> str:
    """Write the provenance row, its files (all staged files of the analysis) and explanations, and swap the pointer.

    Raises:
        ReleaseConflict: ``parent_id`` is not the current release any more.
    """
    with connection.cursor(row_factory=dict_row) as cursor:
        row = cursor.execute(
            """
            insert into provenance (workspace_id, analysis_id, parent_id, run_id, as_of, content_sha256, etl_steps,
                                    schemas, mining_config, explainability_config, audits)
            values (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s) returning id
            """,
            (
                release.workspace_id,
                release.analysis_id,
                release.parent_id,
                release.run_id,
                release.as_of,
                release.content_sha256,
                Jsonb(release.etl_steps),
                Jsonb(release.schemas),
                Jsonb(release.mining_config),
                Jsonb(release.explainability_config),
                Jsonb(release.audits),
            ),
        ).fetchone()
        assert row is not None
        provenance_id = str(row["id"])
        cursor.execute(
            f"""
            insert into release_files (workspace_id, provenance_id, staged_at, {_FILE_COLUMNS})
            select workspace_id, %s, staged_at, {_FILE_COLUMNS} from staged_files
            where workspace_id = %s and analysis_id = %s
            """,
            (provenance_id, release.workspace_id, release.analysis_id),
        )
        _copy_explanations(cursor, release, provenance_id)
        _insert_explanations(cursor, release, provenance_id, explanations)
        swapped = cursor.execute(
            """
            update analysis_jobs set provenance_id = %s
            where workspace_id = %s and id = %s and provenance_id is not distinct from %s
            """,
            (provenance_id, release.workspace_id, release.analysis_id, release.parent_id),
        )
        if swapped.rowcount != 1:
            raise ReleaseConflict("another release of this analysis was made meanwhile; refresh again")
        cursor.execute(
            "update provenance set superseded_at = now() where workspace_id = %s and id = %s",
            (release.workspace_id, release.parent_id),
        )
    return provenance_id


def _copy_explanations(cursor: psycopg.Cursor[Any], release: NewRelease, provenance_id: str) -> None:
    """Those of the parent that are also this release's, in their order."""
    months = [month for month in release.carried if month is not None]
    cursor.execute(
        """
        insert into explainability (workspace_id, analysis_id, provenance_id, month, scope, target, global_case_id,
                                    features, summary)
        select workspace_id, analysis_id, %(provenance_id)s, month, scope, target, global_case_id, features, summary
        from explainability
        where workspace_id = %(workspace_id)s and provenance_id = %(parent_id)s
            and (month = any(%(months)s) or (month is null and %(whole)s))
        order by id
        """,
        {
            "provenance_id": provenance_id,
            "workspace_id": release.workspace_id,
            "parent_id": release.parent_id,
            "months": months,
            "whole": None in release.carried,
        },
    )


def _insert_explanations(
    cursor: psycopg.Cursor[Any],
    release: NewRelease,
    provenance_id: str,
    explanations: Sequence[ExplanationRow],
) -> None:
    cursor.executemany(
        """
        insert into explainability (workspace_id, analysis_id, provenance_id, month, scope, target, global_case_id,
                                    features, summary)
        values (%s, %s, %s, %s, %s, %s, %s, %s, %s)
        """,
        [
            (
                release.workspace_id,
                release.analysis_id,
                provenance_id,
                row.month,
                row.scope,
                row.target,
                row.global_case_id,
                Jsonb(row.features),
                row.summary,
            )
            for row in explanations
        ],
    )


def release_files(
    connection: psycopg.Connection[Any], workspace_id: str, provenance_id: str, dataset: str | None = None
) -> list[ReleaseFile]:
    """The files of a release, ordered by dataset and month."""
    with connection.cursor(row_factory=class_row(ReleaseFile)) as cursor:
        return cursor.execute(
            f"""
            select {_FILE_COLUMNS} from release_files
            where workspace_id = %s and provenance_id = %s and (%s::text is null or dataset = %s)
            order by dataset, month
            """,
            (workspace_id, provenance_id, dataset, dataset),
        ).fetchall()


def dataset_contents(
    connection: psycopg.Connection[Any], workspace_id: str, provenance_id: str, dataset: str
) -> dict[str, str]:
    """The content hash of each month of a dataset of a release."""
    rows = connection.execute(
        """
        select month, content_sha256::text as content_sha256 from release_files
        where workspace_id = %s and provenance_id = %s and dataset = %s
        """,
        (workspace_id, provenance_id, dataset),
    ).fetchall()
    return {row["month"]: row["content_sha256"] for row in rows}


def provenance(connection: psycopg.Connection[Any], workspace_id: str, provenance_id: str) -> dict[str, Any]:
    """A provenance row whole.

    Raises:
        LookupError: there is none with this id in the workspace.
    """
    with connection.cursor(row_factory=dict_row) as cursor:
        row = cursor.execute(
            "select * from provenance where workspace_id = %s and id = %s", (workspace_id, provenance_id)
        ).fetchone()
    if row is None:
        raise LookupError(f"no provenance record {provenance_id} in this workspace")
    return row


def release_head(connection: psycopg.Connection[Any], workspace_id: str, provenance_id: str) -> ReleaseHead:
    """What a release is.

    Raises:
        LookupError: there is none with this id in the workspace.
    """
    with connection.cursor(row_factory=class_row(ReleaseHead)) as cursor:
        head = cursor.execute(
            """
            select id::text, analysis_id::text, as_of, content_sha256::text, mining_config,
                   jsonb_path_query_array(etl_steps, '$[0].arrivals[*].arrival_id') as arrival_ids
            from provenance where workspace_id = %s and id = %s
            """,
            (workspace_id, provenance_id),
        ).fetchone()
    if head is None:
        raise LookupError(f"no provenance record {provenance_id} in this workspace")
    return head


def released_contents(connection: psycopg.Connection[Any], workspace_ids: Sequence[str]) -> dict[str, str]:
    """By workspace, the content hash of the current release of its standing analysis, where there is one."""
    rows = connection.execute(
        """
        select job.workspace_id::text, release.content_sha256
        from analysis_jobs as job
        join provenance as release on release.workspace_id = job.workspace_id and release.id = job.provenance_id
        where job.workspace_id = any(%s::uuid[]) and job.kind = 'standing'
        """,
        (list(workspace_ids),),
    ).fetchall()
    return {row["workspace_id"]: row["content_sha256"] for row in rows}


def explanations(
    connection: psycopg.Connection[Any], workspace_id: str, provenance_id: str, month: str | None
) -> list[dict[str, Any]]:
    """A release's explanations of a month (None: of the whole analysis)."""
    with connection.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(
            """
            select id, scope, target, month, global_case_id, features, summary from explainability
            where workspace_id = %s and provenance_id = %s and month is not distinct from %s
            order by array_position(array['global', 'bottleneck', 'comparison', 'case'], scope), id
            """,
            (workspace_id, provenance_id, month),
        ).fetchall()
