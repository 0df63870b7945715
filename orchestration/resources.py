"""What assets, sensors and jobs are given: DuckDB connections, S3 clients, and the way to a workspace.

No resource holds a secret: Dagster shows resource configuration in its UI. Credentials are made when a run needs them.
"""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import dagster as dg
from dagster_aws.s3 import S3Resource
from dagster_duckdb import DuckDBResource

from orchestration.control_plane import analyses, database, jobs, planner_marks, workspaces
from orchestration.control_plane.liveness import prove_alive
from orchestration.lake.credentials import ScopedCredentials
from orchestration.mining.interruption import interruption_behind
from orchestration.settings import Settings, load_settings
from orchestration.stages.answer import Cancelled
from orchestration.stages.opening import OpenedWorkspace, open_analysis, open_workspace
from orchestration.stages.workbench import today

LEDGER_TAG = "casetrail/ledger"
"""The state of the workspace's ledger from which a run was planned (``planner_marks.ledger``)."""


@dataclass(frozen=True)
class _Begin:
    """What a run goes by from its first stage to its last, also past midnight and while new data comes in."""

    as_of: datetime
    ledger: int


RunContext = dg.AssetExecutionContext | dg.OpExecutionContext

_begun: dict[tuple[str, str], _Begin] = {}
_pooled: set[int] = set()


def _keep_connections(instance: dg.DagsterInstance) -> None:
    """Let this process keep its connection to Dagster's database, as the webserver does.

    By default each of the five statements of an event opens a new one: 25 ms an event, of which a refresh of 24 months
    writes two hundred.
    """
    if id(instance) not in _pooled:
        _pooled.add(id(instance))
        instance.optimize_for_webserver(statement_timeout=60_000, pool_recycle=3600, max_overflow=5)


@contextmanager
def interruptible() -> Iterator[None]:
    """What interrupts the block leaves it as itself: Dagster then sees a run that was cancelled, not one that failed.

    DuckDB ends a query with a plain RuntimeError, and names the interruption as its cause.
    """
    try:
        yield
    except Exception as error:
        if interruption := interruption_behind(error):
            raise interruption from None
        raise


class Workspaces(dg.ConfigurableResource):  # type: ignore[type-arg]
    """Opens a workspace for a run: its ledger, its scoped credentials, its working tree."""

    duckdb: DuckDBResource
    s3: S3Resource

    def settings(self) -> Settings:
        """The installation's settings, read now."""
        return load_settings()

    @contextmanager
    def open(self, slug: str, context: RunContext) -> Iterator[OpenedWorkspace]:
        """One workspace at a time, held by its lock; the credentials reach that workspace's prefix alone.

        The workspace's standing job is running from here on, until its release or its failure.
        """
        settings = self.settings()
        prove_alive(settings.system_dsn, context.run.run_id)
        _keep_connections(context.instance)
        begin = self._begin(slug, context)
        with (
            interruptible(),
            open_workspace(
                settings,
                slug,
                context.run.run_id,
                connect=self.duckdb.get_connection,
                s3_client=self._s3_client,
                as_of=begin.as_of,
                progress=context.log.info,
            ) as opened,
        ):
            if opened.job.status != "running":
                with database.as_system(settings.system_dsn, opened.workspace.id) as connection:
                    jobs.start(connection, opened.workspace.id, opened.job.id)
            yield opened

    @contextmanager
    def open_analysis(self, analysis_id: str, slug: str, context: RunContext) -> Iterator[OpenedWorkspace]:
        """An analysis on demand, started as a new attempt of this run. Its failure is noted with the error's message.

        Raises:
            UnknownJob: the workspace has no such analysis.
            Cancelled: it was cancelled before; it does not start.
        """
        settings = self.settings()
        prove_alive(settings.system_dsn, context.run.run_id)
        _keep_connections(context.instance)
        with database.as_system(settings.system_dsn, None) as connection:
            workspace = workspaces.find_workspace(connection, slug)
        with database.as_system(settings.system_dsn, workspace.id) as connection:
            is_cancelled = analyses.is_cancelled(connection, workspace.id, analysis_id)
            if is_cancelled:
                analyses.end_cancelled(connection, workspace.id, analysis_id)
            else:
                started = jobs.start(connection, workspace.id, analysis_id)
        if is_cancelled:
            raise Cancelled(analyses.CANCELLED_BEFORE_ITS_START)
        try:
            with (
                interruptible(),
                open_analysis(
                    settings,
                    started,
                    context.run.run_id,
                    connect=self.duckdb.get_connection,
                    s3_client=self._s3_client,
                    progress=context.log.info,
                ) as opened,
            ):
                yield opened
        except Exception as error:
            told = str(error) or type(error).__name__
            message = f"{told} (run {context.run.run_id})"[:2000]
            with (
                suppress(jobs.AttemptOvertaken),  # somebody else has ended it, and said why
                database.as_system(settings.system_dsn, workspace.id) as connection,
            ):
                jobs.fail(connection, workspace.id, analysis_id, started.attempt, message)
            raise

    def is_overtaken(self, slug: str, context: RunContext) -> bool:
        """Whether arrivals or parameters of the workspace have changed since the run was planned."""
        return self._ledger(slug) > self._begin(slug, context).ledger

    def _begin(self, slug: str, context: RunContext) -> _Begin:
        key = (context.run.run_id, slug)
        if key not in _begun:
            planned = context.run.tags.get(LEDGER_TAG)
            _begun[key] = _Begin(today(), self._ledger(slug) if planned is None else int(planned))
        return _begun[key]

    def _ledger(self, slug: str) -> int:
        with database.as_system(self.settings().system_dsn, None) as connection:
            workspace = workspaces.find_workspace(connection, slug)
            return planner_marks.find_mark(connection, workspace.id).ledger

    def _s3_client(self, credentials: ScopedCredentials) -> Any:
        """dagster-aws' client with a workspace's credentials: made for this run, never part of the definitions."""
        scoped = S3Resource(
            max_attempts=self.s3.max_attempts,
            endpoint_url=credentials.endpoint,
            region_name=credentials.signing_region,
            aws_access_key_id=credentials.access_key_id,
            aws_secret_access_key=credentials.secret_access_key,
            aws_session_token=credentials.session_token,
        )
        return scoped.get_client()
