"""Questions from the Dagster UI: a launchpad job that asks for an analysis on demand, as the command does.

The op acts for the pipeline, so the analysis names no user. Not here: the queue that starts its run (``analyses``).
"""

from typing import Any

import dagster as dg
from pydantic import Field

from orchestration.control_plane import database, workspaces
from orchestration.control_plane.errors import ControlPlaneError
from orchestration.control_plane.liveness import prove_alive
from orchestration.settings import load_installation, load_settings
from orchestration.stages.asking import ask
from orchestration.stages.question import parameters_of


class Question(dg.Config):
    """What ``ask_analysis`` is told."""

    workspace: str = Field(description="Slug of the workspace.")
    parameters: dict[str, Any] = Field(
        default={}, description="Filters and the rest, as `casetrail analysis schema` describes them."
    )
    again: bool = Field(default=False, description="Also if it was answered before.")


@dg.op(name="ask", out=dg.Out(dg.Nothing))
def ask_op(context: dg.OpExecutionContext, config: Question) -> None:
    """Check a question and queue it. What is refused fails the run with the message alone."""
    settings = load_settings()
    prove_alive(settings.system_dsn, context.run_id)
    try:
        parameters = parameters_of(config.parameters)
        with database.as_system(settings.system_dsn, None) as connection:
            workspace = workspaces.find_workspace(connection, config.workspace)
        asked = ask(
            settings,
            lambda: database.as_system(settings.system_dsn, workspace.id),
            workspace,
            parameters,
            again=config.again,
        )
    except ControlPlaneError as error:
        raise dg.Failure(str(error), allow_retries=False) from error
    done = "was answered before by" if asked.is_known else "is queued as"
    context.log.info(f"The question {done} analysis {asked.job.id} of {workspace.slug}.")


asking_job = dg.GraphDefinition(name="ask_analysis", node_defs=[ask_op]).to_job(
    description="Asks for an analysis on demand of a workspace's current release.",
    executor_def=dg.in_process_executor,
    tags={"dagster/max_runtime": str(load_installation().max_run_seconds)},
)
