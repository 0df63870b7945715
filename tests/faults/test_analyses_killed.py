"""Analyses on demand that are killed and cancelled at random moments: every one ends, and its state is the truth.

The suite asks ten; CASETRAIL_ANALYSES=200 the two hundred that were asked for once. CASETRAIL_ANALYSES_SEED draws
others, and CASETRAIL_ANALYSES_SECONDS gives each more time, where others use the machine fully.
"""

import os
import random
import re
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path
from typing import Any
from urllib.error import HTTPError

import psutil
import pytest
from typer.testing import CliRunner

from orchestration.automation.tags import ANALYSIS_TAG
from orchestration.cli import app
from orchestration.control_plane import analyses, database, releases, workspaces
from orchestration.control_plane.jobs import AnalysisJob
from orchestration.control_plane.workspaces import Workspace
from orchestration.demo.lead_to_cash import write_lead_to_cash
from orchestration.services.dagster_processes import DagsterProcesses
from orchestration.settings import Settings
from orchestration.stages.asking import ask
from orchestration.stages.question import parameters_of
from tests.e2e.conftest import Casetrail, installed
from tests.e2e.ui import DagsterUi

ANALYSES = int(os.environ.get("CASETRAIL_ANALYSES", "10"))
SEED = int(os.environ.get("CASETRAIL_ANALYSES_SEED", "4"))
AT_ONCE = 8
LONGEST_SECONDS = int(os.environ.get("CASETRAIL_ANALYSES_SECONDS", "400"))
"""From the question to the end, beside ten times what an undisturbed one takes. A killed run is found after a minute;
one that was killed while it was being cancelled, by Dagster after three."""
UNDISTURBED_SECONDS = 1200
"""At most, on however busy a machine."""

SLUG = "killed"
FATES = ("left alone", "killed", "cancelled by command", "cancelled in Dagster")
QUESTIONS: list[dict[str, Any]] = [
    {"kind": "case_size", "min": 2},
    {"kind": "variants", "top": 3},
    {"kind": "attribute", "name": "region", "in": ["South"]},
]
UNDERSTOOD = (
    ("killed", r"The process of the run was killed\. \(run [0-9a-f-]{36}\)"),
    ("cancelled", r"cancelled before it started"),
    ("cancelled", r"cancelled while it was running \(run [0-9a-f-]{36}\)"),
    ("cancelled", r"The run [0-9a-f-]{36} was cancelled\."),
)

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900 + 120 * ANALYSES)]


@pytest.fixture(scope="module")
def casetrail(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Casetrail]:
    """An installation that runs all at once, with a released log."""
    log = tmp_path_factory.mktemp("logs") / "log.csv"
    write_lead_to_cash(log, cases=300, months=3)
    with installed(CASETRAIL_MAX_CONCURRENT_RUNS=str(AT_ONCE)) as command:
        command.json("workspace", "create", SLUG, "--slug", SLUG, "--owner", f"ada@{SLUG}.example")
        command.json("upload", SLUG, str(log), "--wait")
        yield command


@dataclass
class Tried:
    """An analysis, what is to happen to it and when (seconds of the monotonic clock), and all that was seen of it."""

    id: str
    question: int
    fate: str
    asked_at: float
    due_at: float
    is_due: bool = True
    seen: list[AnalysisJob] = field(default_factory=list)

    @property
    def has_ended(self) -> bool:
        return bool(self.seen) and self.seen[-1].status in ("succeeded", "failed")


class Trial:
    """Asks, lets the fates happen, and looks at every state on the way."""

    def __init__(self, casetrail: Casetrail) -> None:
        self.settings: Settings = casetrail.settings()
        self.home: Path = casetrail.home
        self.ui = DagsterUi(self.settings)
        with database.as_system(self.settings.system_dsn, None) as connection:
            self.workspace: Workspace = workspaces.find_workspace(connection, SLUG)
        self.tried: dict[str, Tried] = {}
        self.kills = 0
        self.longest_seconds = float(UNDISTURBED_SECONDS)
        self.draw = random.Random(SEED)

    def ask(self, fate: str, most_seconds: float) -> Tried:
        """One more; its fate comes at a random moment within so many seconds."""
        question = self.draw.randrange(len(QUESTIONS))
        asked = ask(
            self.settings,
            lambda: database.as_user(self.settings.app_dsn, self.settings.operator),
            self.workspace,
            parameters_of({"filters": [QUESTIONS[question]]}),
            again=True,
        )
        now = time.monotonic()
        one = Tried(asked.job.id, question, fate, now, now + self.draw.uniform(0, most_seconds))
        self.tried[one.id] = one
        return one

    def look(self) -> None:
        """Read all states once, and bring about what is due."""
        with database.as_system(self.settings.system_dsn, self.workspace.id) as connection:
            found = analyses.newest(connection, self.workspace.id, 10_000)
        for job in found:
            if one := self.tried.get(job.id):
                check_state(job)
                if one.has_ended:
                    assert job == one.seen[-1], "what has ended stays as it is"
                elif not one.seen or job != one.seen[-1]:
                    one.seen.append(job)
                    if one.has_ended:
                        ended = sum(other.has_ended for other in self.tried.values())
                        print(f"{ended}: {one.fate} -> {job.status} after {time_of(job):.0f} s", flush=True)
                        outcome(job)
                waited = time.monotonic() - one.asked_at
                assert one.has_ended or waited < self.longest_seconds, f"{job} is stuck"
        for one in self.tried.values():
            if one.is_due and one.due_at <= time.monotonic():
                one.is_due = not self._happen(one)

    def until_ended(self, *those: Tried) -> None:
        while not all(one.has_ended for one in those):
            self.look()
            time.sleep(0.2)

    def _happen(self, one: Tried) -> bool:
        """Whether the fate has happened, or can happen no more."""
        if one.has_ended or one.fate == "left alone":
            return True
        if one.fate == "cancelled by command":
            self.cancel(one)
            return True
        if one.fate == "cancelled in Dagster":
            runs = self.ui.runs(ANALYSIS_TAG, one.id)
            return bool(runs) and self._terminate(runs[0]["runId"])
        return self._kill_one()

    def _terminate(self, run_id: str) -> bool:
        try:
            self.ui.terminate(run_id)
        except HTTPError:  # on a busy machine the code server does not answer the webserver in time
            return False
        return True

    def cancel(self, one: Tried) -> tuple[int, str]:
        """The exit code and output of the command."""
        given = {"CASETRAIL_HOME": str(self.home)}
        ended = CliRunner().invoke(app, ("analysis", "cancel", SLUG, one.id), env=given)
        assert ended.exit_code in (0, 1), ended.output
        return ended.exit_code, ended.output

    def _kill_one(self) -> bool:
        server = DagsterProcesses(self.home).code_server.process()
        assert server is not None
        # Runs are forks of the code server's fork server.
        runs = [run for maker in server.children() for run in maker.children()]
        if not runs:
            return False
        with suppress(psutil.NoSuchProcess):
            self.draw.choice(runs).kill()
            self.kills += 1
        return True

    def content(self, provenance_id: str) -> str:
        with database.as_system(self.settings.system_dsn, self.workspace.id) as connection:
            record = releases.provenance(connection, self.workspace.id, provenance_id)
        return str(record["content_sha256"])


def check_state(job: AnalysisJob) -> None:
    """Times, message and release are those of the status."""
    is_over = job.status in ("succeeded", "failed")
    assert (job.started_at is not None) == (job.status != "queued"), job
    assert (job.finished_at is not None) == is_over, job
    assert (job.provenance_id is not None) == (job.status == "succeeded"), job
    assert (job.error_message is not None) == (job.status == "failed"), job
    times = [moment for moment in (job.created_at, job.started_at, job.finished_at) if moment]
    assert times == sorted(times), job


def reason(job: AnalysisJob) -> str:
    """In a word why it failed, if a person would understand the message."""
    for word, pattern in UNDERSTOOD:
        if re.fullmatch(pattern, job.error_message or ""):
            return word
    raise AssertionError(f"nobody understands {job.error_message!r}")


@pytest.fixture(scope="module")
def trial(casetrail: Casetrail) -> Trial:
    return Trial(casetrail)


def test_every_analysis_ends_and_its_state_is_the_truth(trial: Trial) -> None:
    undisturbed = [trial.ask("left alone", 0) for _ in range(2)]
    trial.until_ended(*undisturbed)
    usual_seconds = max(time_of(one.seen[-1]) for one in undisturbed)
    trial.longest_seconds = LONGEST_SECONDS + 10 * usual_seconds
    fates = [FATES[number % len(FATES)] for number in range(ANALYSES)]
    trial.draw.shuffle(fates)
    while fates or not all(one.has_ended for one in trial.tried.values()):
        while fates and sum(not one.has_ended for one in trial.tried.values()) < AT_ONCE:
            trial.ask(fates.pop(), 1.3 * usual_seconds)
        trial.look()
        time.sleep(0.2)
    tried = list(trial.tried.values())
    ends = Counter((one.fate, outcome(one.seen[-1])) for one in tried)
    killed = sum(count for (_fate, end), count in ends.items() if end == "killed")
    slowest = max(
        (one.seen[-1].finished_at or one.seen[-1].created_at) - one.seen[-1].created_at for one in tried
    )
    print(f"{len(tried)} analyses of about {usual_seconds:.1f} s, {trial.kills} kills; slowest end {slowest}")
    print("\n".join(f"{fate} -> {end}: {count}" for (fate, end), count in sorted(ends.items())), flush=True)
    assert 0 < killed <= trial.kills
    assert not [key for key in ends if key[1] == "cancelled" and not key[0].startswith("cancelled")]
    assert sum(count for (_fate, end), count in ends.items() if end == "cancelled") > 0
    contents = {(one.question, trial.content(one.seen[-1].provenance_id or "")) for one in succeeded(tried)}
    assert len(contents) == len({question for question, _content in contents}), (
        "the same question, another answer"
    )
    assert any(overlap(one.seen[-1], other.seen[-1]) for one, other in combinations(tried, 2)), (
        "none ran beside another"
    )


def time_of(job: AnalysisJob) -> float:
    """Seconds from the question to its end."""
    assert job.finished_at is not None
    return (job.finished_at - job.created_at).total_seconds()


def outcome(job: AnalysisJob) -> str:
    return "succeeded" if job.status == "succeeded" else reason(job)


def succeeded(tried: list[Tried]) -> list[Tried]:
    return [one for one in tried if one.seen[-1].status == "succeeded"]


def overlap(one: AnalysisJob, other: AnalysisJob) -> bool:
    """Whether two analyses ran at the same time."""
    (began, ended), (other_began, other_ended) = (
        (job.started_at or job.created_at, job.finished_at or job.created_at) for job in (one, other)
    )
    return max(began, other_began) < min(ended, other_ended)


def test_a_cancel_that_comes_too_late_changes_nothing(trial: Trial) -> None:
    one = trial.ask("left alone", 0)
    trial.until_ended(one)
    assert one.seen[-1].status == "succeeded"
    code, output = trial.cancel(one)
    assert code == 1
    assert "is succeeded: only one that waits or runs can be cancelled" in output
    # As of a command that read the status before the end.
    with database.as_user(trial.settings.app_dsn, trial.settings.operator) as connection:
        analyses.request_cancellation(connection, trial.workspace.id, one.id)
    until = time.monotonic() + 8
    while time.monotonic() < until:
        trial.look()
        time.sleep(0.5)
    assert one.seen[-1].status == "succeeded"
