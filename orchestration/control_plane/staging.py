"""``staged_files``: the newest file of each (analysis, dataset, month), visible to no reader until it is released."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import psycopg
from psycopg.rows import class_row
from psycopg.types.json import Jsonb


@dataclass(frozen=True)
class StagedFile:
    """One month of a dataset. ``fingerprint`` names everything that it was made from; ``seconds`` is its making."""

    dataset: str
    month: str
    object_key: str
    rows: int
    bytes: int
    content_sha256: str
    fingerprint: str
    inputs: list[dict[str, Any]]
    code_version: str
    audits: list[dict[str, Any]]
    stats: dict[str, Any]
    seconds: float
    run_id: str


_COLUMNS = (
    "dataset, month, object_key, rows, bytes, content_sha256, fingerprint, inputs, code_version, audits, stats,"
    " seconds, run_id"
)

_UPSERT = f"""
insert into staged_files (workspace_id, analysis_id, {_COLUMNS})
values (%(workspace_id)s, %(analysis_id)s, %(dataset)s, %(month)s, %(object_key)s, %(rows)s, %(bytes)s,
        %(content_sha256)s, %(fingerprint)s, %(inputs)s, %(code_version)s, %(audits)s, %(stats)s, %(seconds)s,
        %(run_id)s)
on conflict (workspace_id, analysis_id, dataset, month) do update set
    object_key = excluded.object_key, rows = excluded.rows, bytes = excluded.bytes,
    content_sha256 = excluded.content_sha256, fingerprint = excluded.fingerprint, inputs = excluded.inputs,
    code_version = excluded.code_version, audits = excluded.audits, stats = excluded.stats,
    seconds = excluded.seconds, run_id = excluded.run_id, staged_at = now()
"""


def stage(
    connection: psycopg.Connection[Any], workspace_id: str, analysis_id: str, files: Sequence[StagedFile]
) -> None:
    """Put files into the working tree, each replacing the one of its dataset and month."""
    rows = [
        asdict(file)
        | {"workspace_id": workspace_id, "analysis_id": analysis_id}
        | {name: Jsonb(getattr(file, name)) for name in ("inputs", "audits", "stats")}
        for file in files
    ]
    with connection.cursor() as cursor:
        cursor.executemany(_UPSERT, rows)


def unstage(
    connection: psycopg.Connection[Any],
    workspace_id: str,
    analysis_id: str,
    dataset: str,
    months: Sequence[str],
) -> None:
    """Drop months from the working tree."""
    connection.execute(
        "delete from staged_files where workspace_id = %s and analysis_id = %s and dataset = %s and month = any(%s)",
        (workspace_id, analysis_id, dataset, list(months)),
    )


def forget_analyses(
    connection: psycopg.Connection[Any], workspace_id: str, analysis_ids: Sequence[str]
) -> None:
    """Drop the working trees of some analyses."""
    connection.execute(
        "delete from staged_files where workspace_id = %s and analysis_id = any(%s::uuid[])",
        (workspace_id, list(analysis_ids)),
    )


def note(
    connection: psycopg.Connection[Any],
    workspace_id: str,
    analysis_id: str,
    dataset: str,
    facts: Mapping[str, Mapping[str, Any]],
) -> None:
    """Add facts (month -> name -> value) to the stats of staged files."""
    with connection.cursor() as cursor:
        cursor.executemany(
            """
            update staged_files set stats = stats || %s
            where workspace_id = %s and analysis_id = %s and dataset = %s and month = %s
            """,
            [
                (Jsonb(dict(known)), workspace_id, analysis_id, dataset, month)
                for month, known in facts.items()
            ],
        )


def staged_files(
    connection: psycopg.Connection[Any], workspace_id: str, analysis_id: str, dataset: str
) -> dict[str, StagedFile]:
    """The staged files of one dataset, by month, in order."""
    return {file.month: file for file in all_staged_files(connection, workspace_id, analysis_id, (dataset,))}


def all_staged_files(
    connection: psycopg.Connection[Any],
    workspace_id: str,
    analysis_id: str,
    datasets: Sequence[str] | None = None,
) -> list[StagedFile]:
    """Every staged file of an analysis (or those of some datasets), ordered by dataset and month."""
    with connection.cursor(row_factory=class_row(StagedFile)) as cursor:
        return cursor.execute(
            f"""
            select {_COLUMNS} from staged_files
            where workspace_id = %s and analysis_id = %s and (%s::text[] is null or dataset = any(%s))
            order by dataset, month
            """,
            (workspace_id, analysis_id, datasets and list(datasets), datasets and list(datasets)),
        ).fetchall()


@dataclass(frozen=True)
class _Outline(StagedFile):
    workspace_id: str


def staged_outlines(
    connection: psycopg.Connection[Any], workspace_ids: Sequence[str]
) -> dict[str, list[StagedFile]]:
    """By workspace, the staged files of the standing analyses without ``inputs`` and ``audits``, in one query.

    What a planner needs: of the statistics those of events and cases alone.
    """
    with connection.cursor(row_factory=class_row(_Outline)) as cursor:
        rows = cursor.execute(
            """
            select file.workspace_id::text, dataset, month, object_key, rows, bytes, content_sha256, fingerprint,
                   '[]'::jsonb as inputs, code_version, '[]'::jsonb as audits,
                   case when dataset in ('events', 'cases') then stats - 'top' else '{}' end as stats, seconds, run_id
            from staged_files as file
            join analysis_jobs as job on job.workspace_id = file.workspace_id and job.id = file.analysis_id
            where file.workspace_id = any(%s::uuid[]) and job.kind = 'standing'
            order by file.workspace_id, dataset, month
            """,
            (list(workspace_ids),),
        ).fetchall()
    outlines: dict[str, list[StagedFile]] = {workspace_id: [] for workspace_id in workspace_ids}
    for row in rows:
        outlines[row.workspace_id].append(row)
    return outlines


def count_by_dataset(
    connection: psycopg.Connection[Any], workspace_id: str, analysis_id: str
) -> Counter[str]:
    """How many months of each dataset are staged."""
    rows = connection.execute(
        """
        select dataset, count(*) as files from staged_files
        where workspace_id = %s and analysis_id = %s group by dataset
        """,
        (workspace_id, analysis_id),
    ).fetchall()
    return Counter({row["dataset"]: row["files"] for row in rows})
