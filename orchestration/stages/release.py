"""The last stage: check that the working tree is whole, fold its lineage into a provenance record, release it."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import duckdb
import psycopg

from orchestration.control_plane import releases
from orchestration.control_plane.arrivals import Arrival
from orchestration.control_plane.releases import ExplanationRow, NewRelease
from orchestration.control_plane.staging import StagedFile
from orchestration.mining.trace_features import CALENDAR_FEATURE_NAMES, FEATURE_NAMES, FEATURE_VERSION
from orchestration.stages.case_places import IDENTITY_DATASETS, MEMBERS, places_state
from orchestration.stages.identity import is_identity_stale
from orchestration.stages.staleness import (
    PROCESS_VERSION,
    stale_case_months,
    stale_event_months,
    stale_explanation_months,
)
from orchestration.stages.tree import WHOLE_ANALYSIS
from orchestration.stages.workbench import SCHEMA_VERSION, AnalysisParameters, RawPart, audit, digest

STEPS = (
    *IDENTITY_DATASETS,
    "events",
    "event_index",
    "case_index",
    "cases",
    "variants",
    "process_map",
    "samples",
    "waits",
    "contributions",
    "explanations",
)
"""The datasets of a release in the order of the data's path."""


class ReleaseRefused(Exception):
    """The working tree may not be released; the message says what is stale or which audit failed."""


class TreeStale(ReleaseRefused):
    """Months of the working tree are not what their inputs say."""


@dataclass(frozen=True)
class AskedOf:
    """The release that an analysis on demand is asked of, and the fingerprint of the events selected from it."""

    provenance_id: str
    content_sha256: str
    fingerprint: str


@dataclass(frozen=True)
class WorkingTreeState:
    """Everything that decides about a release, read in one transaction.

    An analysis on demand has no raw files and arrivals of its own, but a release that it is ``asked`` of.
    ``identity`` is the fingerprint of what says who is who (``identity.identity_fingerprint``).
    """

    raw_parts: Sequence[RawPart]
    arrivals: Sequence[Arrival]
    files: Sequence[StagedFile]
    parameters: AnalysisParameters
    as_of: datetime
    asked: AskedOf | None = None
    identity: str | None = None

    def dataset(self, name: str) -> dict[str, StagedFile]:
        """The files of one dataset by month."""
        return {file.month: file for file in self.files if file.dataset == name}

    def content_sha256(self) -> str:
        """The release's identity: the content of all its files."""
        return digest(sorted([f.dataset, f.month, f.content_sha256] for f in self.files))


def stale_months(state: WorkingTreeState) -> dict[str, list[str]]:
    """Stage -> the months that are not what their inputs say; empty when the tree is whole."""
    stale = {
        "events": _stale_events(state),
        "cases": stale_case_months(
            state.dataset("case_index"), state.dataset("cases"), state.parameters, state.as_of
        ),
        "explainability": stale_explanation_months(
            state.dataset("cases"),
            state.dataset("explanations"),
            state.dataset("samples"),
            state.parameters,
        ),
    }
    return {stage: months for stage, months in stale.items() if months}


def _stale_events(state: WorkingTreeState) -> list[str]:
    events = state.dataset("events")
    if state.asked is None:
        members = state.dataset(MEMBERS).get(WHOLE_ANALYSIS)
        return stale_event_months(
            state.raw_parts,
            events,
            places_state(state.dataset),
            is_identity_stale=is_identity_stale(members, state.identity),
        )
    return sorted(month for month, file in events.items() if file.fingerprint != state.asked.fingerprint)


def release_audits(state: WorkingTreeState) -> list[dict[str, Any]]:
    """The stored audits of every month, and those that only the whole can answer: conservation from end to end."""
    audits = [
        {"dataset": file.dataset, "month": file.month, **result}
        for file in state.files
        for result in file.audits
    ]
    whole = [*_audits_of_arrivals(state), _audit_of_cases(state)]
    return audits + [{"dataset": "release", "month": WHOLE_ANALYSIS, **result} for result in whole]


def _audits_of_arrivals(state: WorkingTreeState) -> list[dict[str, Any]]:
    if state.asked is not None:
        return []
    broken = [a.file_name for a in state.arrivals if a.records != _accounted(a)]
    landed = sum(arrival.landed or 0 for arrival in state.arrivals)
    raw = sum(part.rows for part in state.raw_parts)
    return [
        audit(
            "arrivals_conserved",
            not broken,
            f"records = landed + non-event + quarantined in {len(state.arrivals)} arrivals",
        ),
        audit("raw_conserved", landed == raw, f"{landed} landed rows = {raw} rows in raw files"),
    ]


def _audit_of_cases(state: WorkingTreeState) -> dict[str, Any]:
    events = sum(file.rows for file in state.dataset("events").values())
    in_cases = sum(int(file.stats["events"]) for file in state.dataset("cases").values())
    return audit("cases_conserved", events == in_cases, f"{events} events = {in_cases} events in cases")


def _accounted(arrival: Arrival) -> int:
    return (arrival.landed or 0) + (arrival.non_event or 0) + (arrival.quarantined or 0)


def make_release(
    connection: psycopg.Connection[Any],
    state: WorkingTreeState,
    explanations: Sequence[ExplanationRow],
    *,
    workspace_id: str,
    analysis_id: str,
    run_id: str,
    parent_id: str | None,
    carried: Sequence[str | None] = (),
) -> str | None:
    """Release the working tree; None when the current release already holds exactly this.

    Raises:
        TreeStale: some months are not what their inputs say.
        ReleaseRefused: an audit failed.
        ReleaseConflict: another release was made since ``parent_id`` was read.
    """
    stale = stale_months(state)
    if stale:
        named = "; ".join(f"{stage}: {', '.join(_few(months))}" for stage, months in stale.items())
        raise TreeStale(
            f"not released, these months are stale: {named}. Materialise them, or run the refresh job."
        )
    audits = release_audits(state)
    failed = [a for a in audits if not a["passed"]]
    if failed:
        named = "; ".join(f"{a['dataset']} {a['month']} {a['audit']}: {a['detail']}" for a in failed[:5])
        raise ReleaseRefused(f"not released, {len(failed)} audit(s) failed: {named}")
    content = state.content_sha256()
    if parent_id is not None:
        parent = releases.release_head(connection, workspace_id, parent_id)
        if parent.content_sha256 == content and parent.mining_config == mining_config(state.parameters):
            return None
    release = NewRelease(
        workspace_id=workspace_id,
        analysis_id=analysis_id,
        parent_id=parent_id,
        run_id=run_id,
        as_of=state.as_of,
        content_sha256=content,
        etl_steps=etl_steps(state),
        schemas=schemas(state),
        mining_config=mining_config(state.parameters),
        explainability_config=state.parameters.explanation.recorded(),
        audits=audits,
        carried=carried,
    )
    return releases.publish(connection, release, explanations)


def _few(months: Sequence[str]) -> list[str]:
    return [*months[:3], f"and {len(months) - 3} more"] if len(months) > 3 else list(months)


def etl_steps(state: WorkingTreeState) -> list[dict[str, Any]]:
    """The ordered steps: for each dataset and month its inputs, output, rows, code version, run and seconds."""
    steps = [_first_step(state)]
    for name in STEPS:
        files = state.dataset(name).values()
        if name in IDENTITY_DATASETS and not files:
            continue  # nothing says who is who
        steps.append(
            {
                "step": len(steps) + 1,
                "name": name,
                "seconds": round(sum(file.seconds for file in files), 3),
                "code_versions": sorted({file.code_version for file in files}),
                "outputs": [
                    {
                        "month": file.month,
                        "object": file.object_key,
                        "rows": file.rows,
                        "content_sha256": file.content_sha256,
                        "inputs": file.inputs,
                        "run_id": file.run_id,
                        "seconds": file.seconds,
                    }
                    for file in files
                ],
            }
        )
    return steps


def _first_step(state: WorkingTreeState) -> dict[str, Any]:
    """What the analysis is made from: raw files, or another release."""
    if state.asked is not None:
        return {
            "step": 1,
            "name": "release",
            "provenance_id": state.asked.provenance_id,
            "content_sha256": state.asked.content_sha256,
            "outputs": [],
        }
    overlap = Counter[str]()
    for file in state.dataset("events").values():
        overlap.update({entry["arrival_id"]: entry["rows"] for entry in file.stats.get("overlap", ())})
    arrivals = [
        {
            "arrival_id": a.id,
            "file_name": a.file_name,
            "sha256": a.sha256,
            "records": a.records,
            "landed": a.landed,
            "non_event": a.non_event,
            "quarantined": a.quarantined,
            "equal_to_rows_of_others": overlap[a.id],
        }
        for a in state.arrivals
    ]
    return {"step": 1, "name": "raw", "arrivals": arrivals, "outputs": _raw_outputs(state)}


def _raw_outputs(state: WorkingTreeState) -> list[dict[str, Any]]:
    return [
        {
            "month": p.month,
            "object": p.object_key,
            "rows": p.rows,
            "content_sha256": p.content_sha256,
            "arrival_id": p.arrival_id,
        }
        for p in state.raw_parts
    ]


def schemas(state: WorkingTreeState) -> dict[str, Any]:
    """The schema fingerprint of each source file, and the version of the event contract."""
    sources = {
        a.id: {"file_name": a.file_name, "fingerprint": a.schema_fingerprint, "columns": a.columns}
        for a in state.arrivals
    }
    return {"event_contract": SCHEMA_VERSION, "sources": sources}


def mining_config(parameters: AnalysisParameters) -> dict[str, Any]:
    """What shaped the cases: parameters, classifier, versions."""
    return {
        "parameters": parameters.model_dump(mode="json"),
        "classifier": ["activity"],
        "process_models": PROCESS_VERSION,
        "feature_version": FEATURE_VERSION,
        "feature_names": list(FEATURE_NAMES if parameters.calendar is None else CALENDAR_FEATURE_NAMES),
        "duckdb": duckdb.__version__,
    }
