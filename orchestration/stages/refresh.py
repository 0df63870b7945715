"""All stages of a workspace in a row: what is stale, for a delivery; everything, for replays, tests and benchmarks."""

from collections.abc import Iterator

from orchestration.lake.objects import WorkspaceStore
from orchestration.stages.case_index import stage_case_index
from orchestration.stages.case_places import places_state
from orchestration.stages.events import stage_events
from orchestration.stages.explainability import stage_explanations
from orchestration.stages.identity import stage_identity
from orchestration.stages.process import stage_process
from orchestration.stages.raw import check_raw
from orchestration.stages.staleness import stale_case_months, stale_event_months, stale_explanation_months
from orchestration.stages.tree import WHOLE_ANALYSIS
from orchestration.stages.workbench import MonthOutcome, Workbench


def refresh_stale(bench: Workbench, store: WorkspaceStore) -> Iterator[list[MonthOutcome]]:
    """Bring the stale months of each stage up to date, one stage after the other; yields what each made.

    Which months are stale is asked anew for each stage, since only the stage before it can tell.

    Raises:
        RawFileLost: a raw file of a stale month is gone.
    """
    tree = bench.tree
    stage_identity(bench)
    months = stale_event_months(bench.raw_parts, tree.files("events"), places_state(tree.files))
    yield check_raw(bench, months, store)
    yield stage_events(bench, months)
    stage_case_index(bench)
    index, cases = tree.files("case_index"), tree.files("cases")
    homes = stale_case_months(index, cases, bench.parameters, bench.as_of)
    yield stage_process(bench, homes)
    explained = stale_explanation_months(
        tree.files("cases"), tree.files("explanations"), tree.files("samples"), bench.parameters
    )
    yield stage_explanations(bench, [month for month in explained if month != WHOLE_ANALYSIS])


def run_stages(bench: Workbench) -> None:
    """Bring the working tree up to date: identity, events, case index, process models, explanations."""
    stage_identity(bench)
    months = {part.month for part in bench.raw_parts} | bench.tree.files("events").keys()
    stage_events(bench, months)
    stage_case_index(bench)
    homes = bench.tree.files("case_index").keys() | bench.tree.files("cases").keys()
    stage_process(bench, homes)
    stage_explanations(bench, homes)
