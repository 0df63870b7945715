"""Releasing a workspace's working tree: read the ledgers, release in one transaction, leave a manifest, sweep."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import psycopg

from orchestration.control_plane import arrivals, case_registry, database, jobs, releases, staging
from orchestration.control_plane.jobs import AnalysisJob
from orchestration.control_plane.releases import ExplanationRow, ReleaseHead
from orchestration.control_plane.staging import StagedFile
from orchestration.lake import layout
from orchestration.lake.objects import WorkspaceStore
from orchestration.settings import Settings
from orchestration.stages.case_places import MEMBERS
from orchestration.stages.garbage import keep_policy, superseded_objects
from orchestration.stages.opening import OpenedWorkspace, raw_parts
from orchestration.stages.release import AskedOf, WorkingTreeState, make_release, release_audits
from orchestration.stages.speakers import fingerprints
from orchestration.stages.tree import WHOLE_ANALYSIS
from orchestration.stages.workbench import AnalysisParameters, MonthOutcome

MOST_REFUSED_SHOWN = 20
"""`casetrail link refused` shows all."""


def read_state(
    connection: psycopg.Connection[Any], job: AnalysisJob, as_of: datetime, asked: AskedOf | None = None
) -> WorkingTreeState:
    """Everything that decides about an analysis's next run or release."""
    arrived, files = ([], []) if asked else arrivals.landed(connection, job.workspace_id, "raw")
    return WorkingTreeState(
        raw_parts=raw_parts(arrived, files, lambda key: key),
        arrivals=arrived,
        files=staging.all_staged_files(connection, job.workspace_id, job.id),
        parameters=AnalysisParameters.model_validate(job.parameters),
        as_of=as_of,
        asked=asked,
        identity=None if asked else fingerprints(connection, [job.workspace_id]).get(job.workspace_id),
    )


def release_workspace(
    settings: Settings, opened: OpenedWorkspace, months: Iterable[str], run_id: str
) -> list[MonthOutcome]:
    """Release the working tree of the opened analysis and tell of each month what the release holds.

    Raises:
        TreeStale: some months are stale; the current release stays.
        ReleaseRefused: an audit failed; the current release stays.
        ReleaseConflict: another release was made meanwhile.
        AttemptOvertaken: somebody has ended this attempt at an analysis on demand, or started another.
    """
    workspace_id = opened.workspace.id
    explained = _explanations(settings, opened)
    with database.as_system(settings.system_dsn, workspace_id) as connection:
        job = jobs.get_job(connection, workspace_id, opened.job.id)
        state = read_state(connection, job, opened.bench.as_of, opened.asked)
        made = make_release(
            connection,
            state,
            explained.rows,
            workspace_id=workspace_id,
            analysis_id=job.id,
            run_id=run_id,
            parent_id=explained.parent_id,
            carried=explained.carried,
        )
        if opened.asked is not None:
            # No lock keeps others from it: who was given up, or has a successor, releases nothing.
            jobs.succeed(connection, workspace_id, job.id, opened.job.attempt)
        elif job.status == "running":
            jobs.succeed(connection, workspace_id, job.id, job.attempt)
        current = jobs.get_job(connection, workspace_id, job.id).provenance_id
        assert current is not None  # made now, or found to hold just this
        head = releases.release_head(connection, workspace_id, current)
        # An analysis on demand does not hold the workspace's lock: a refresh may make these objects again just now.
        refused = [] if opened.asked else case_registry.refused_joins(connection, workspace_id)
        superseded = (
            superseded_objects(connection, workspace_id, keep_policy(settings), datetime.now(UTC))
            if opened.asked is None
            else []
        )
    # Also where nothing was made: the run before may have died between its release and the manifest.
    _write_manifest(opened.store, head, state)
    opened.store.delete(superseded)
    identity = _identity_stats(state, refused)
    return [replace(_outcome(month, state, current, made is not None), stats=identity) for month in months]


def overtaken_outcomes(opened: OpenedWorkspace, months: Iterable[str]) -> list[MonthOutcome]:
    """What to tell of the months of a run that was overtaken by new data: staged, and left to the next release."""
    events = opened.bench.tree.files("events")
    return [
        MonthOutcome(
            dataset="provenance",
            month=month,
            state="not released: new data came during the run, and the next run releases both",
            rows=events[month].rows if month in events else 0,
        )
        for month in months
    ]


@dataclass(frozen=True)
class _Explanations:
    """``rows`` are those that the parent release lacks; it has those of the ``carried`` months (None: the whole)."""

    parent_id: str | None
    rows: Sequence[ExplanationRow]
    carried: Sequence[str | None]


def _explanations(settings: Settings, opened: OpenedWorkspace) -> _Explanations:
    """The staged explanations; only those files are read whose content the current release does not have."""
    with database.as_system(settings.system_dsn, opened.workspace.id) as connection:
        parent = jobs.get_job(connection, opened.workspace.id, opened.job.id).provenance_id
        known = (
            releases.dataset_contents(connection, opened.workspace.id, parent, "explanations")
            if parent
            else {}
        )
    files = opened.bench.tree.files("explanations")
    carried = [month for month, file in files.items() if known.get(month) == file.content_sha256]
    rows = _explanation_rows(opened, [file for month, file in files.items() if month not in carried])
    return _Explanations(parent, rows, [_month(month) for month in carried])


def _explanation_rows(opened: OpenedWorkspace, files: Sequence[StagedFile]) -> list[ExplanationRow]:
    """Staged explanations as rows of the control plane."""
    if not files:
        return []
    urls = ", ".join(f"'{opened.bench.tree.url(file)}'" for file in files)
    with opened.bench.session() as connection:
        found = connection.execute(
            f"""
            select month, scope, target, global_case_id::varchar, features, summary
            from read_parquet([{urls}]) order by month, place
            """
        ).fetchall()
    return [
        ExplanationRow(_month(month), scope, target, case_id, json.loads(features), summary)
        for month, scope, target, case_id, features, summary in found
    ]


def _month(month: str) -> str | None:
    """As the control plane has it: None is the whole analysis."""
    return None if month == WHOLE_ANALYSIS else month


def _write_manifest(store: WorkspaceStore, release: ReleaseHead, state: WorkingTreeState) -> None:
    """``manifest.json`` beside the datasets: the release for clients that read the files themselves."""
    manifest = {
        "provenance_id": release.id,
        "as_of": release.as_of.isoformat(),
        "content_sha256": release.content_sha256,
        "files": [
            {
                "dataset": f.dataset,
                "month": f.month,
                "key": f.object_key,
                "rows": f.rows,
                "content_sha256": f.content_sha256,
            }
            for f in state.files
        ],
    }
    key = layout.manifest_key(store.credentials.workspace_id, release.analysis_id)
    store.put_bytes(key, json.dumps(manifest, indent=1).encode())


def _identity_stats(state: WorkingTreeState, refused: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """What the UI shows of a release: how many cases span systems, and what was not joined; nothing without links."""
    members = state.dataset(MEMBERS).get(WHOLE_ANALYSIS)
    if members is None:
        return {}
    spanning = sum(int(file.stats.get("across_systems", 0)) for file in state.dataset("cases").values())
    return {
        "cases_across_systems": spanning,
        "joined_records": members.rows,
        "joins_refused": len(refused),
        "refused_joins": list(refused[:MOST_REFUSED_SHOWN]),
    }


def _outcome(month: str, state: WorkingTreeState, provenance_id: str, released: bool) -> MonthOutcome:
    files = [file for file in state.files if file.month == month]
    whole = [a for a in release_audits(state) if a["month"] == WHOLE_ANALYSIS]
    return MonthOutcome(
        dataset="provenance",
        month=month,
        state=f"released as {provenance_id}" if released else f"unchanged since {provenance_id}",
        rows=sum(file.rows for file in files if file.dataset == "events"),
        content_sha256=state.content_sha256(),
        inputs=[{"dataset": f.dataset, "content_sha256": f.content_sha256, "rows": f.rows} for f in files],
        audits=whole,
    )
