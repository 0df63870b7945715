"""All stages of a workspace in a row, as the refresh job runs them. For replays, tests and benchmarks."""

from orchestration.stages.case_index import stage_case_index
from orchestration.stages.events import stage_events
from orchestration.stages.explainability import stage_explanations
from orchestration.stages.process import stage_process
from orchestration.stages.workbench import Workbench


def run_stages(bench: Workbench) -> None:
    """Bring the working tree up to date with the raw files: events, case index, process models, explanations."""
    months = {part.month for part in bench.raw_parts} | bench.tree.files("events").keys()
    stage_events(bench, months)
    stage_case_index(bench)
    homes = bench.tree.files("case_index").keys() | bench.tree.files("cases").keys()
    stage_process(bench, homes)
    stage_explanations(bench, homes)
