"""Releases that can still be read: the current one and, for a while, those that it superseded.

``provenance.superseded_at`` is set when another release becomes current, ``collected_at`` when the files that only
this release names are given up. The provenance record itself stays for good. Not here: how long releases are kept
(``stages.garbage``).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import psycopg
from psycopg.rows import class_row

from orchestration.control_plane.errors import ControlPlaneError


class ReleaseCollected(ControlPlaneError):
    """The files of a superseded release are gone; the message says since when, and which release is current."""


class UnknownRelease(ControlPlaneError):
    """The workspace has no release with this id."""


@dataclass(frozen=True, slots=True)
class ReleaseAge:
    """A release's life: current from ``created_at`` to ``superseded_at``, readable until ``collected_at`` (all UTC)."""

    id: str
    analysis_id: str
    created_at: datetime
    superseded_at: datetime | None
    collected_at: datetime | None


_COLUMNS = "id::text, analysis_id::text, created_at, superseded_at, collected_at"


def release_ages(
    connection: psycopg.Connection[Any], workspace_id: str, analysis_id: str | None = None
) -> list[ReleaseAge]:
    """The releases that can be read, of one analysis or of all, newest first."""
    with connection.cursor(row_factory=class_row(ReleaseAge)) as cursor:
        return cursor.execute(
            f"""
            select {_COLUMNS} from provenance
            where workspace_id = %s and collected_at is null and (%s::uuid is null or analysis_id = %s::uuid)
            order by id desc
            """,
            (workspace_id, analysis_id, analysis_id),
        ).fetchall()


def require_kept(connection: psycopg.Connection[Any], workspace_id: str, provenance_id: str) -> None:
    """Make sure that the files of a release have not been given up.

    Raises:
        ReleaseCollected: they have.
        UnknownRelease: there is no such release.
    """
    with connection.cursor(row_factory=class_row(ReleaseAge)) as cursor:
        age = cursor.execute(
            f"select {_COLUMNS} from provenance where workspace_id = %s and id::text = %s",
            (workspace_id, provenance_id),
        ).fetchone()
        if age is None:
            raise UnknownRelease(
                f"The workspace has no release {provenance_id}: see `casetrail provenance list`."
            )
    if age.collected_at is None:
        return
    row = connection.execute(
        "select provenance_id from analysis_jobs where workspace_id = %s and id = %s",
        (workspace_id, age.analysis_id),
    ).fetchone()
    raise ReleaseCollected(
        f"release {age.id} was superseded at {age.superseded_at:%Y-%m-%d %H:%M:%S} UTC, its files were kept until"
        f" {age.collected_at:%Y-%m-%d %H:%M:%S} UTC; the current one is {row['provenance_id'] if row else 'unknown'}"
    )


def give_up(
    connection: psycopg.Connection[Any], workspace_id: str, provenance_ids: Sequence[str]
) -> list[str]:
    """Mark releases as collected; returns the objects that no other release and no working tree names.

    The caller deletes them after this transaction, while it holds the workspace's lock: a stage could make an object
    of the same content, and so of the same name, again.
    """
    connection.execute(
        "update provenance set collected_at = now() where workspace_id = %s and id = any(%s::uuid[])",
        (workspace_id, list(provenance_ids)),
    )
    rows = connection.execute(
        """
        with gone as (
            select object_key from release_files
            where workspace_id = %(workspace_id)s and provenance_id = any(%(given_up)s::uuid[])
            except
            select object_key from staged_files where workspace_id = %(workspace_id)s
        )
        select object_key from gone
        where not exists (
            select from release_files as file
            join provenance as release
                on release.workspace_id = file.workspace_id and release.id = file.provenance_id
            where file.workspace_id = %(workspace_id)s and file.object_key = gone.object_key
                and release.collected_at is null
        )
        order by object_key
        """,
        {"workspace_id": workspace_id, "given_up": list(provenance_ids)},
    ).fetchall()
    return [row["object_key"] for row in rows]
