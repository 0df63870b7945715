"""The answer to an analysis on demand: selection, and then the stages of every analysis, over all of its months."""

from collections.abc import Callable, Iterator

from orchestration.settings import Settings
from orchestration.stages.case_index import stage_case_index
from orchestration.stages.explainability import stage_explanations
from orchestration.stages.opening import OpenedWorkspace
from orchestration.stages.process import stage_process
from orchestration.stages.publish import release_workspace
from orchestration.stages.selection import Base, stage_selection
from orchestration.stages.tree import WHOLE_ANALYSIS
from orchestration.stages.workbench import MonthOutcome, Workbench, outcomes


class Cancelled(Exception):
    """Somebody asked for the end of the analysis."""


def answer(
    settings: Settings, opened: OpenedWorkspace, run_id: str, is_cancelled: Callable[[], bool]
) -> Iterator[list[MonthOutcome]]:
    """Yields what each stage made, and last the release.

    Raises:
        Cancelled: noticed between two stages; nothing is released.
        NothingSelected: the filters leave no case.
    """
    assert opened.base is not None

    def go_on() -> None:
        if is_cancelled():
            raise Cancelled("cancelled while it was running")

    go_on()
    for made in run_stages(opened.bench, opened.base):
        yield made
        go_on()
    yield release_workspace(settings, opened, [WHOLE_ANALYSIS], run_id)


def run_stages(bench: Workbench, base: Base) -> Iterator[list[MonthOutcome]]:
    """Make the answer to the question of a workbench from a release; yields what each stage made.

    Raises:
        NothingSelected: the filters leave no case.
    """
    yield stage_selection(bench, base)
    stage_case_index(bench)
    homes = bench.tree.files("case_index").keys() | bench.tree.files("cases").keys()
    yield stage_process(bench, homes)
    made = stage_explanations(bench, homes)
    yield [*made, *outcomes(bench.tree, "explanations", [WHOLE_ANALYSIS], [WHOLE_ANALYSIS])]
