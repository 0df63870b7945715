"""The delivery job: dropped files are taken in, and what they touch is refreshed and released, all in one run.

A ranged run knows its months before it starts; which months a file touches is known when it has been read, and which
home months when its events are in the total order. As three runs, most of the time from a dropped file to its release
was spent between them. So this job's one op runs the same stages for exactly the stale months, and reports the same
materialisations and checks for their partitions. If it dies, the planner finds the rest stale and starts ranged runs.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import dagster as dg

from orchestration.assets.pictures import draw_months
from orchestration.assets.process import process_models
from orchestration.assets.provenance import released
from orchestration.assets.reporting import check_results, materialisations
from orchestration.automation.tags import WORKSPACE_TAG
from orchestration.checks.audits import AUDITS
from orchestration.control_plane.liveness import prove_alive
from orchestration.resources import Workspaces
from orchestration.settings import load_installation
from orchestration.stages.inbox import Dropped, take_in_dropped
from orchestration.stages.refresh import refresh_stale
from orchestration.stages.workbench import MonthOutcome

_ASSETS = {"explanations": "explainability"}
"""Datasets whose asset has another name."""

_Event = dg.AssetMaterialization | dg.AssetCheckEvaluation


@dg.op(out=dg.Out(dg.Nothing))
def deliver(context: dg.OpExecutionContext, workspaces: Workspaces) -> Iterator[_Event | dg.Output[None]]:
    """Take in the dropped files of the run's workspace (its `casetrail/workspace` tag), refresh, release."""
    slug = context.run.tags[WORKSPACE_TAG]
    prove_alive(workspaces.settings().system_dsn, context.run_id)
    dropped = []
    for file in take_in_dropped(workspaces.settings(), slug):
        context.log.info(f"{file.object_key}: {file.status}. {file.message}")
        dropped.append(file)
    if any(file.status == "landed" for file in dropped):
        yield from _refresh(context, workspaces, slug)
    if failed := [file for file in dropped if file.status == "failed"]:
        raise dg.Failure(_told(failed), allow_retries=False)
    yield dg.Output(None)


def _refresh(context: dg.OpExecutionContext, workspaces: Workspaces, slug: str) -> Iterator[_Event]:
    touched: set[str] = set()
    with workspaces.open(slug, context) as opened:
        for made in refresh_stale(opened.bench, opened.store):
            touched |= {outcome.month for outcome in made}
            yield from _reported(slug, made, draw_months(opened.bench, made))
        if touched:
            yield from _reported(slug, released(workspaces, opened, sorted(touched), context), {})


def _reported(
    slug: str, made: list[MonthOutcome], pictures: Mapping[tuple[str, str], Mapping[str, Any]]
) -> Iterator[_Event]:
    """What the assets' own runs report of a stage: each month's materialisation, and the audits as checks."""
    for dataset in dict.fromkeys(outcome.dataset for outcome in made):
        outcomes = [outcome for outcome in made if outcome.dataset == dataset]
        asset = _ASSETS.get(dataset, dataset)
        yield from materialisations(slug, outcomes, asset, pictures)
        for result in check_results({slug: outcomes}, asset, _checks(asset)):
            yield dg.AssetCheckEvaluation(
                asset_key=dg.AssetKey(asset),
                check_name=str(result.check_name),
                passed=result.passed,
                metadata=result.metadata,
            )


def _checks(asset: str) -> list[str]:
    of_dbt = [spec.name for spec in process_models.check_specs if spec.asset_key == dg.AssetKey(asset)]
    return of_dbt or list(AUDITS.get(asset, ()))


def _told(failed: list[Dropped]) -> str:
    named = "; ".join(f"{file.object_key}: {file.message}" for file in failed)
    return f"{len(failed)} dropped file(s) could not be read, the others landed. {named}"


@dg.job(
    executor_def=dg.in_process_executor,
    tags={"dagster/max_runtime": str(load_installation().max_run_seconds)},
    description="Takes in dropped files of a workspace, refreshes what they touch, and releases it.",
)
def delivery_job() -> None:
    """One op: there is nothing to run in parallel in one workspace."""
    deliver()
