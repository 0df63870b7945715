"""What a run that did not end well says of its analysis."""

from collections.abc import Callable

import dagster as dg
import pytest

from orchestration.automation import job_status
from orchestration.automation.tags import ANALYSIS_TAG

Told = Callable[..., str]


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> Told:
    """What is said when a step raises something, perhaps in a run that was cancelled just before its process began."""
    noted: list[str] = []
    monkeypatch.setattr(job_status, "note_analysis_failure", lambda _analysis, message: noted.append(message))

    def said(raised: BaseException, *, is_cancelled: bool = False) -> str:
        @dg.op
        def step(context: dg.OpExecutionContext) -> None:
            if is_cancelled:
                context.instance.report_run_canceling(context.run)
                # The process has begun meanwhile, and reports its start.
                start = dg.DagsterEvent(dg.DagsterEventType.RUN_START.value, "work")
                context.instance.report_dagster_event(start, context.run_id)
            raise raised

        @dg.job(tags={ANALYSIS_TAG: "an analysis"})
        def work() -> None:
            step()

        with dg.DagsterInstance.ephemeral() as instance:
            ended = work.execute_in_process(instance=instance, raise_on_error=False)
            run = instance.get_run_by_id(ended.run_id)
            assert run is not None
            assert run.status is dg.DagsterRunStatus.FAILURE
            context = dg.build_run_status_sensor_context(
                "failed_runs", ended.all_events[-1], instance, run
            ).for_run_failure()
            job_status.failed_runs(context)
            return noted.pop().replace(ended.run_id, "ID")

    return said


def test_the_error_of_a_step_is_told(told: Told) -> None:
    assert told(ValueError("no such month")) == "ValueError: no such month (run ID)"


@pytest.mark.parametrize("interruption", [dg.DagsterExecutionInterruptedError(), KeyboardInterrupt()])
def test_a_run_that_was_cancelled_as_it_started_is_told_as_cancelled(
    told: Told, interruption: BaseException
) -> None:
    assert told(interruption, is_cancelled=True) == "The run ID was cancelled."


def test_an_interruption_that_nobody_asked_for_is_told_as_that(told: Told) -> None:
    interruption = dg.DagsterExecutionInterruptedError()
    assert told(interruption) == "The process of the run was interrupted. (run ID)"


def test_an_error_before_the_end_that_was_asked_for_is_told_as_itself(told: Told) -> None:
    assert told(ValueError("no such month"), is_cancelled=True) == "ValueError: no such month (run ID)"


@pytest.mark.parametrize(
    ("dagster_says", "happened"),
    [
        ("Execution was interrupted unexpectedly. No user initiated termination", "interrupted"),
        ("This run has been marked as failed from outside the execution context.", "killed"),
    ],
)
def test_what_befell_a_run_between_its_steps_is_told_in_words(dagster_says: str, happened: str) -> None:
    event = dg.DagsterEvent(dg.DagsterEventType.RUN_FAILURE.value, "work", message=dagster_says)
    with dg.DagsterInstance.ephemeral() as instance:
        context = dg.build_run_status_sensor_context(
            "failed_runs", event, instance, dg.DagsterRun("work")
        ).for_run_failure()
        assert job_status._cause(context) == f"The process of the run was {happened}."
