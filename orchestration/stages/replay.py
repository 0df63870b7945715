"""Replay: make a release again from its raw files, apart from everything, and compare the content hashes.

The same stage functions run over a ``LocalTree``; nothing is written to S3 or PostgreSQL.
"""

import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import duckdb

from orchestration.control_plane import arrivals, database, kept_releases, releases
from orchestration.settings import Settings
from orchestration.stages.opening import OpenedWorkspace, open_workspace, raw_parts
from orchestration.stages.refresh import run_stages
from orchestration.stages.tree import LocalTree
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


class NothingReleased(Exception):
    """The workspace has no release to replay."""


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
            raise NothingReleased(f"{slug} has no release yet")
        with database.as_system(settings.system_dsn, opened.workspace.id) as connection:
            record = releases.provenance(connection, opened.workspace.id, opened.job.provenance_id)
            files = releases.release_files(connection, opened.workspace.id, opened.job.provenance_id)
            parts = _parts_of_release(connection, opened, record)
        with tempfile.TemporaryDirectory(dir=opened.bench.scratch) as folder:
            bench = _bench_of_release(opened, record, parts, LocalTree(Path(folder)))
            try:
                run_stages(bench)
            except duckdb.Error:
                with database.as_system(settings.system_dsn, opened.workspace.id) as connection:
                    kept_releases.require_kept(connection, opened.workspace.id, opened.job.provenance_id)
                raise
            replayed = {
                (dataset, month): file.content_sha256
                for dataset in {f.dataset for f in files}
                for month, file in bench.tree.files(dataset).items()
            }
    released = {(file.dataset, file.month): file.content_sha256 for file in files}
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
    """The workbench as the release had it: its raw files, parameters and ``as_of``."""
    mining: dict[str, object] = record["mining_config"]  # type: ignore[assignment]
    return replace(
        opened.bench,
        tree=tree,
        raw_parts=parts,
        parameters=AnalysisParameters.model_validate(mining["parameters"]),
        as_of=record["as_of"],  # type: ignore[arg-type]
    )
