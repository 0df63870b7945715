"""Replay: make a release again from what it was made from, apart from everything, and compare the content hashes.

A release of the standing analysis is made again from its raw files and from who was who then, that of an analysis on
demand from the release that it was asked of.

The same stage functions run over a ``LocalTree``; nothing is written to S3 or PostgreSQL.
"""

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import duckdb

from orchestration.control_plane import arrivals, database, kept_releases, releases
from orchestration.control_plane.errors import ControlPlaneError
from orchestration.control_plane.jobs import AnalysisJob
from orchestration.control_plane.releases import ReleaseFile
from orchestration.control_plane.staging import StagedFile
from orchestration.settings import Settings
from orchestration.stages import answer
from orchestration.stages.case_places import IDENTITY_DATASETS
from orchestration.stages.opening import OpenedWorkspace, open_analysis, open_workspace, raw_parts
from orchestration.stages.refresh import run_stages
from orchestration.stages.tree import LocalTree, WorkingTree
from orchestration.stages.workbench import AnalysisParameters, RawPart, Workbench


@dataclass(frozen=True)
class Comparison:
    """One file of the release and of the replay. A hash is None where the file is missing on that side."""

    dataset: str
    month: str
    released: str | None
    replayed: str | None

    @property
    def agrees(self) -> bool:
        """Whether both sides hold the same rows."""
        return self.released == self.replayed


class NothingReleased(ControlPlaneError):
    """There is no release to replay."""


def replay(
    settings: Settings, slug: str, *, threads: int = 2, progress: Callable[[str], None] | None = None
) -> list[Comparison]:
    """Compare the current release of a workspace's standing analysis with its replay, file by file.

    Raises:
        NothingReleased: there is no release yet.
        ReleaseCollected: it was superseded, and its files given up, while it was being replayed.
    """
    with open_workspace(
        settings, slug, "replay", exclusive=False, threads=threads, progress=progress or (lambda _line: None)
    ) as opened:
        if opened.job.provenance_id is None:
            raise NothingReleased(f"{slug} has no release yet.")
        with database.as_system(settings.system_dsn, opened.workspace.id) as connection:
            record = releases.provenance(connection, opened.workspace.id, opened.job.provenance_id)
            files = releases.release_files(connection, opened.workspace.id, opened.job.provenance_id)
            parts = _parts_of_release(connection, opened, record)
        with tempfile.TemporaryDirectory(dir=opened.bench.scratch) as folder:
            tree = LocalTree(Path(folder))
            tree.adopt(
                [_input(file, opened.store.url) for file in files if file.dataset in IDENTITY_DATASETS]
            )
            bench = _bench_of_release(opened, record, parts, tree)
            try:
                run_stages(bench)
            except duckdb.Error:
                with database.as_system(settings.system_dsn, opened.workspace.id) as connection:
                    kept_releases.require_kept(connection, opened.workspace.id, opened.job.provenance_id)
                raise
            return _compare(files, bench.tree)


def replay_analysis(
    settings: Settings, job: AnalysisJob, *, threads: int = 2, progress: Callable[[str], None] | None = None
) -> list[Comparison]:
    """Compare the release of an analysis on demand with its replay, file by file.

    Raises:
        NothingReleased: it has not succeeded.
        ReleaseCollected: the files of the release that it was asked of were given up.
    """
    if job.provenance_id is None:
        raise NothingReleased(f"The analysis {job.id} is {job.status} and has no release.")
    with open_analysis(
        settings, job, "replay", threads=threads, progress=progress or (lambda _line: None)
    ) as opened:
        assert opened.base is not None
        with database.as_system(settings.system_dsn, job.workspace_id) as connection:
            files = releases.release_files(connection, job.workspace_id, job.provenance_id)
        with tempfile.TemporaryDirectory(dir=opened.bench.scratch) as folder:
            bench = replace(opened.bench, tree=LocalTree(Path(folder)))
            try:
                for _made in answer.run_stages(bench, opened.base):
                    pass
            except duckdb.Error:
                with database.as_system(settings.system_dsn, job.workspace_id) as connection:
                    kept_releases.require_kept(connection, job.workspace_id, opened.base.provenance_id)
                raise
            return _compare(files, bench.tree)


def _input(file: ReleaseFile, url: Callable[[str], str]) -> StagedFile:
    """A file of the release that its replay starts from."""
    told = {name: getattr(file, name) for name in ("dataset", "month", "rows", "bytes", "content_sha256")}
    told |= {name: getattr(file, name) for name in ("fingerprint", "inputs", "code_version", "stats")}
    return StagedFile(**told, object_key=url(file.object_key), audits=[], seconds=0.0, run_id="released")


def _compare(files: Sequence[ReleaseFile], tree: WorkingTree) -> list[Comparison]:
    """What was released beside what the replay made. Who is who is no result, but what the replay starts from."""
    made = [file for file in files if file.dataset not in IDENTITY_DATASETS]
    released = {(file.dataset, file.month): file.content_sha256 for file in made}
    replayed = {
        (dataset, month): file.content_sha256
        for dataset in {f.dataset for f in made}
        for month, file in tree.files(dataset).items()
    }
    return [
        Comparison(dataset, month, released.get((dataset, month)), replayed.get((dataset, month)))
        for dataset, month in sorted(released.keys() | replayed.keys())
    ]


def _parts_of_release(
    connection: database.Connection, opened: OpenedWorkspace, record: dict[str, object]
) -> list[RawPart]:
    """The raw files of a release with the mappings of then, whatever arrived or was corrected since."""
    steps: list[dict[str, list[dict[str, str]]]] = record["etl_steps"]  # type: ignore[assignment]
    read = {(output["arrival_id"], output["object"]) for output in steps[0]["outputs"]}
    ids = {arrival_id for arrival_id, _object in read}
    every = arrivals.list_arrivals(connection, opened.workspace.id)
    files = arrivals.files_of(connection, opened.workspace.id, sorted(ids), "raw")
    parts = raw_parts([a for a in every if a.id in ids], files, opened.store.url)
    # Two versions of an arrival may name the same object under different mappings.
    return [part for part in parts if (part.arrival_id, part.object_key) in read]


def _bench_of_release(
    opened: OpenedWorkspace, record: dict[str, object], parts: list[RawPart], tree: LocalTree
) -> Workbench:
    """The workbench as the release had it: its raw files, who was who, parameters and ``as_of``."""
    mining: dict[str, object] = record["mining_config"]  # type: ignore[assignment]
    return replace(
        opened.bench,
        tree=tree,
        identity=None,
        raw_parts=parts,
        parameters=AnalysisParameters.model_validate(mining["parameters"]),
        as_of=record["as_of"],  # type: ignore[arg-type]
    )
