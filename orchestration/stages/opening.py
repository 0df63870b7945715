"""Opening a workbench over the real services: ledger, scoped credentials, working tree, DuckDB sessions."""

import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb

from orchestration.control_plane import arrivals, database, jobs, kept_releases, releases, workspaces
from orchestration.control_plane.arrivals import Arrival, ArrivalFile
from orchestration.control_plane.jobs import AnalysisJob
from orchestration.control_plane.releases import ReleaseFile, ReleaseHead
from orchestration.control_plane.workspaces import Workspace
from orchestration.lake import session as lake_session
from orchestration.lake.credentials import (
    LONGEST_SESSION,
    SHORTEST_SESSION,
    CredentialBroker,
    ScopedCredentials,
)
from orchestration.lake.objects import WorkspaceStore
from orchestration.settings import Settings
from orchestration.stages.release import AskedOf
from orchestration.stages.selection import Base, BaseFile, selection_fingerprint
from orchestration.stages.speakers import identity_sources
from orchestration.stages.tree import LakeTree
from orchestration.stages.workbench import AnalysisParameters, RawPart, Workbench, today

Connect = Callable[[], AbstractContextManager[duckdb.DuckDBPyConnection]]


@dataclass(frozen=True)
class OpenedWorkspace:
    """A workspace, a job of it, its store, what landed, and the workbench over them.

    The job is the standing one, or an analysis on demand: then ``base`` is the release that it is asked of.
    """

    workspace: Workspace
    job: AnalysisJob
    store: WorkspaceStore
    arrivals: Sequence[Arrival]
    bench: Workbench
    base: Base | None = None

    @property
    def asked(self) -> AskedOf | None:
        """What a release of an analysis on demand says of its base."""
        if self.base is None:
            return None
        fingerprint = selection_fingerprint(self.bench.parameters, self.base)
        return AskedOf(self.base.provenance_id, self.base.content_sha256, fingerprint)


@contextmanager
def open_workspace(
    settings: Settings,
    slug: str,
    run_id: str,
    *,
    connect: Connect = duckdb.connect,
    s3_client: Callable[[ScopedCredentials], Any] | None = None,
    exclusive: bool = True,
    as_of: datetime | None = None,
    threads: int = 2,
    progress: Callable[[str], None] = lambda _line: None,
) -> Iterator[OpenedWorkspace]:
    """Everything that a stage needs for a workspace's standing analysis, read while the workspace's lock is held.

    Args:
        settings: the installation's.
        slug: the workspace.
        run_id: goes into what the run makes.
        connect: makes the DuckDB connections.
        s3_client: makes the boto3 client of the workspace's store from its credentials.
        exclusive: hold the lock, so that no other run writes; False for a reader.
        as_of: the moment against which open cases are judged; the last UTC midnight if not given.
        threads: of DuckDB.
        progress: hears what is being done.
    """
    dsn = settings.system_dsn.get_secret_value()
    with database.as_system(dsn, None) as connection:
        workspace = workspaces.find_workspace(connection, slug)
    with ExitStack() as stack:
        if exclusive:
            stack.enter_context(database.workspace_lock(dsn, workspace.id, waiting=_told(slug, progress)))
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="casetrail-")))
        store = _store(settings, workspace, s3_client)
        with database.as_system(dsn, workspace.id) as connection:
            job = jobs.standing_job(connection, workspace.id)
            arrived, raw_files = arrivals.landed(connection, workspace.id, "raw")
            identity = identity_sources(connection, dsn, workspace.id, store.url)
        bench = Workbench(
            workspace_id=workspace.id,
            workspace_slug=workspace.slug,
            analysis_id=job.id,
            parameters=AnalysisParameters.model_validate(job.parameters),
            tree=LakeTree(dsn, store, workspace.id, job.id, run_id),
            raw_parts=raw_parts(arrived, raw_files, store.url),
            **sessions(store.credentials, connect, scratch, threads),
            scratch=scratch,
            as_of=as_of or today(),
            threads=threads,
            progress=progress,
            identity=identity,
        )
        yield OpenedWorkspace(workspace, job, store, arrived, bench)


@contextmanager
def open_analysis(
    settings: Settings,
    job: AnalysisJob,
    run_id: str,
    *,
    connect: Connect = duckdb.connect,
    s3_client: Callable[[ScopedCredentials], Any] | None = None,
    threads: int = 2,
    progress: Callable[[str], None] = lambda _line: None,
) -> Iterator[OpenedWorkspace]:
    """Everything that the stages need for an analysis on demand; ``job`` is the attempt that was started.

    No lock: what the analysis reads is released, and what it writes is its own. See ``open_workspace``.

    Raises:
        ReleaseCollected: the files of the release that it is asked of were given up.
    """
    dsn = settings.system_dsn.get_secret_value()
    assert job.base_provenance_id is not None
    with tempfile.TemporaryDirectory(prefix="casetrail-") as folder:
        scratch = Path(folder)
        with database.as_system(dsn, job.workspace_id) as connection:
            workspace = workspaces.find_workspace(connection, job.workspace_id)
            kept_releases.require_kept(connection, job.workspace_id, job.base_provenance_id)
            head = releases.release_head(connection, job.workspace_id, job.base_provenance_id)
            files = releases.release_files(connection, job.workspace_id, job.base_provenance_id)
        store = _store(settings, workspace, s3_client)
        base = base_of(head, files, store.url)
        bench = Workbench(
            workspace_id=workspace.id,
            workspace_slug=workspace.slug,
            analysis_id=job.id,
            parameters=AnalysisParameters.model_validate(job.parameters),
            tree=LakeTree(dsn, store, workspace.id, job.id, run_id),
            raw_parts=[],
            **sessions(store.credentials, connect, scratch, threads),
            scratch=scratch,
            as_of=base.as_of,
            threads=threads,
            progress=progress,
            is_on_demand=True,
        )
        yield OpenedWorkspace(workspace, job, store, [], bench, base)


def base_of(head: ReleaseHead, files: Sequence[ReleaseFile], url: Callable[[str], str]) -> Base:
    """The release with its files; ``url`` gives the address of an object."""
    by_dataset: dict[str, list[BaseFile]] = {}
    for file in files:
        found = BaseFile(file.month, url(file.object_key), file.rows, file.content_sha256)
        by_dataset.setdefault(file.dataset, []).append(found)
    return Base(
        provenance_id=head.id,
        content_sha256=head.content_sha256,
        as_of=head.as_of,
        parameters=AnalysisParameters.model_validate(head.mining_config["parameters"]),
        files=by_dataset,
    )


def _told(slug: str, progress: Callable[[str], None]) -> Callable[[float], None]:
    return lambda seconds: progress(f"{slug}: another run works on it; waiting for its end, {seconds:.0f} s")


def _store(
    settings: Settings, workspace: Workspace, s3_client: Callable[[ScopedCredentials], Any] | None
) -> WorkspaceStore:
    """The workspace's part of S3, with credentials that outlive the longest run."""
    lifetime = timedelta(seconds=settings.max_run_seconds) + SHORTEST_SESSION
    credentials = CredentialBroker(settings).for_workspace(
        workspace.id, workspace.region, min(lifetime, LONGEST_SESSION)
    )
    return WorkspaceStore(credentials, s3_client(credentials) if s3_client else None)


def raw_parts(
    arrived: Sequence[Arrival], files: Sequence[ArrivalFile], url: Callable[[str], str]
) -> list[RawPart]:
    """The landed raw files with what is needed to read them."""
    by_id = {arrival.id: arrival for arrival in arrived}
    return [
        RawPart(
            arrival_id=file.arrival_id,
            arrival_sha256=by_id[file.arrival_id].sha256,
            rank=by_id[file.arrival_id].rank,
            month=file.month,
            url=url(file.object_key),
            object_key=file.object_key,
            rows=file.rows,
            content_sha256=file.content_sha256,
            columns=tuple(column["name"] for column in by_id[file.arrival_id].columns),
            mapping=by_id[file.arrival_id].mapping,
        )
        for file in files
        if file.month is not None
    ]


def sessions(credentials: ScopedCredentials, connect: Connect, scratch: Path, threads: int) -> dict[str, Any]:
    """``session``, ``secure`` and ``lock`` of a workbench: the same two layers for our sessions and for dbt's."""

    def secure(connection: duckdb.DuckDBPyConnection) -> None:
        lake_session.prepare(
            connection,
            credentials,
            threads=threads,
            memory_limit=Workbench.memory_limit,
            temp_directory=scratch,
        )

    def lock(connection: duckdb.DuckDBPyConnection) -> None:
        lake_session.lock(connection, credentials)

    @contextmanager
    def session() -> Iterator[duckdb.DuckDBPyConnection]:
        with connect() as connection:
            secure(connection)
            lock(connection)
            yield connection

    return {"session": session, "secure": secure, "lock": lock}
