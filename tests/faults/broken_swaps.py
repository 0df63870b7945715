"""Releases that are made wrongly, each killed half-way: what the reader's check must find."""

from collections.abc import Callable, Sequence
from typing import Any
from uuid import UUID

import psycopg
from psycopg.types.json import Jsonb

from orchestration.control_plane import releases
from orchestration.control_plane.releases import ExplanationRow, NewRelease
from orchestration.lake import layout
from tests.faults.kill_points import die


def swap_before_the_files(
    connection: psycopg.Connection[Any], release: NewRelease, _explanations: Sequence[ExplanationRow]
) -> str:
    """The pointer in a first transaction; the second, which would bring the files, never comes."""
    _point_at_new_release(connection, release)
    connection.commit()
    die()
    raise AssertionError("unreachable")


def swap_file_by_file(
    connection: psycopg.Connection[Any], release: NewRelease, _explanations: Sequence[ExplanationRow]
) -> str:
    """The pointer, then each file in a transaction of its own; the last third of them is missing."""
    provenance_id = _point_at_new_release(connection, release)
    staged = connection.execute("select dataset, month from staged_files order by dataset, month").fetchall()
    for row in staged[: 2 * len(staged) // 3]:
        connection.execute(
            f"""
            insert into release_files (workspace_id, provenance_id, staged_at, {_FILE_COLUMNS})
            select workspace_id, %s, staged_at, {_FILE_COLUMNS} from staged_files where dataset = %s and month = %s
            """,
            (provenance_id, row["dataset"], row["month"]),
        )
        commit_and_go_on(connection, release.workspace_id)
    die()
    raise AssertionError("unreachable")


def swap_without_the_explanations(
    connection: psycopg.Connection[Any], release: NewRelease, _explanations: Sequence[ExplanationRow]
) -> str:
    """All files, but the explanations that belong to them in a transaction that never comes."""
    releases_publish(connection, release, [])
    connection.commit()
    die()
    raise AssertionError("unreachable")


def key_without_content(
    workspace_id: UUID | str, analysis_id: UUID | str, dataset: str, month: str, content_sha256: str
) -> str:
    """The key of a dataset's month whatever ``content_sha256`` is: a new file takes the place of a released one."""
    return f"{layout.analysis_prefix(workspace_id, analysis_id)}{dataset}/{month}.parquet"


releases_publish = releases.publish
"""The right one, before a child process puts a broken one in its place."""

PUBLISHERS: dict[str, Callable[..., str]] = {
    "the pointer before the files": swap_before_the_files,
    "file by file": swap_file_by_file,
    "without the explanations": swap_without_the_explanations,
}

_FILE_COLUMNS = (
    "dataset, month, object_key, rows, bytes, content_sha256, fingerprint, inputs, code_version, stats"
)


def _point_at_new_release(connection: psycopg.Connection[Any], release: NewRelease) -> str:
    row = connection.execute(
        """
        insert into provenance (workspace_id, analysis_id, parent_id, as_of, content_sha256, etl_steps, schemas,
                                mining_config, explainability_config)
        values (%s, %s, %s, %s, %s, '[]', '{}', %s, '{}') returning id
        """,
        (
            release.workspace_id,
            release.analysis_id,
            release.parent_id,
            release.as_of,
            release.content_sha256,
            Jsonb(release.mining_config),
        ),
    ).fetchone()
    assert row is not None
    connection.execute(
        "update analysis_jobs set provenance_id = %s where workspace_id = %s and id = %s",
        (row["id"], release.workspace_id, release.analysis_id),
    )
    return str(row["id"])


def commit_and_go_on(connection: psycopg.Connection[Any], workspace_id: str) -> None:
    """The identity lives as long as its transaction: the next one needs it again."""
    connection.commit()
    connection.execute("select set_config('casetrail.workspace_id', %s, true)", (workspace_id,))
