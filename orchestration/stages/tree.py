"""The working tree: the newest file of each (dataset, month) of an analysis, released or not.

``LakeTree`` is the real one (objects on S3, rows in PostgreSQL); ``LocalTree`` keeps files in a folder and is what a
replay writes to. Not here: what the files hold (the stages) and how they become visible (``release``).
"""

import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

from orchestration.control_plane import database, staging
from orchestration.control_plane.staging import StagedFile
from orchestration.lake import layout
from orchestration.lake.objects import WorkspaceStore

WHOLE_ANALYSIS = "all"
"""Stands in the place of a month for a file that covers the whole analysis."""


@dataclass(frozen=True)
class Draft:
    """A local Parquet file that a stage wants in the working tree."""

    dataset: str
    month: str
    path: Path
    rows: int
    bytes: int
    content_sha256: str
    fingerprint: str
    code_version: str
    inputs: Sequence[Mapping[str, Any]] = ()
    audits: Sequence[Mapping[str, Any]] = ()
    stats: Mapping[str, Any] = field(default_factory=dict)
    seconds: float = 0.0


class WorkingTree(Protocol):
    """Where stages read the files of earlier stages and put their own."""

    def files(self, dataset: str) -> dict[str, StagedFile]:
        """The newest file of each month of a dataset, by month."""

    def put(
        self,
        drafts: Sequence[Draft],
        *,
        carried: Sequence[StagedFile] = (),
        gone: Sequence[tuple[str, str]] = (),
    ) -> None:
        """Take the drafts in, each in the place of the file of its dataset and month; all at once or not at all.

        ``carried`` are files that stay, with what is now known of their inputs; ``gone`` are (dataset, month) that hold
        nothing any more.
        """

    def forget(self, dataset: str, months: Iterable[str]) -> None:
        """Drop months that hold nothing any more."""

    def note(self, dataset: str, facts: Mapping[str, Mapping[str, Any]]) -> None:
        """Add facts (month -> name -> value) to the stats of files that stay as they are."""

    def url(self, file: StagedFile) -> str:
        """Where DuckDB reads the file."""


def _staged(draft: Draft, object_key: str, run_id: str) -> StagedFile:
    return StagedFile(
        dataset=draft.dataset,
        month=draft.month,
        object_key=object_key,
        rows=draft.rows,
        bytes=draft.bytes,
        content_sha256=draft.content_sha256,
        fingerprint=draft.fingerprint,
        inputs=[dict(entry) for entry in draft.inputs],
        code_version=draft.code_version,
        audits=[dict(entry) for entry in draft.audits],
        stats=dict(draft.stats),
        seconds=draft.seconds,
        run_id=run_id,
    )


@dataclass
class LakeTree:
    """Objects on S3 under content-addressed keys, one row each in ``staged_files``."""

    dsn: str
    store: WorkspaceStore
    workspace_id: str
    analysis_id: str
    run_id: str

    def files(self, dataset: str) -> dict[str, StagedFile]:
        """See ``WorkingTree.files``."""
        with database.as_system(self.dsn, self.workspace_id) as connection:
            return staging.staged_files(connection, self.workspace_id, self.analysis_id, dataset)

    def put(
        self,
        drafts: Sequence[Draft],
        *,
        carried: Sequence[StagedFile] = (),
        gone: Sequence[tuple[str, str]] = (),
    ) -> None:
        """Upload the files, then record them in one transaction: a crash between leaves only unreferenced objects."""
        if not (drafts or carried or gone):
            return
        keyed = [(self._key(draft), draft) for draft in drafts]
        self.store.put_files([(key, draft.path) for key, draft in keyed])
        staged = [_staged(draft, key, self.run_id) for key, draft in keyed]
        with database.as_system(self.dsn, self.workspace_id) as connection:
            staging.stage(connection, self.workspace_id, self.analysis_id, [*staged, *carried])
            for dataset, month in gone:
                staging.unstage(connection, self.workspace_id, self.analysis_id, dataset, [month])
        for draft in drafts:
            draft.path.unlink()

    def forget(self, dataset: str, months: Iterable[str]) -> None:
        """See ``WorkingTree.forget``."""
        with database.as_system(self.dsn, self.workspace_id) as connection:
            staging.unstage(connection, self.workspace_id, self.analysis_id, dataset, list(months))

    def note(self, dataset: str, facts: Mapping[str, Mapping[str, Any]]) -> None:
        """See ``WorkingTree.note``."""
        if facts:
            with database.as_system(self.dsn, self.workspace_id) as connection:
                staging.note(connection, self.workspace_id, self.analysis_id, dataset, facts)

    def url(self, file: StagedFile) -> str:
        """See ``WorkingTree.url``."""
        return self.store.url(file.object_key)

    def _key(self, draft: Draft) -> str:
        return layout.dataset_key(
            self.workspace_id, self.analysis_id, draft.dataset, draft.month, draft.content_sha256
        )


@dataclass
class LocalTree:
    """The same in a folder and in memory."""

    folder: Path
    _files: dict[str, dict[str, StagedFile]] = field(default_factory=dict)

    def adopt(self, files: Iterable[StagedFile]) -> None:
        """Take files in from where they lie: their ``object_key`` is where DuckDB reads them."""
        for file in files:
            self._files.setdefault(file.dataset, {})[file.month] = file

    def files(self, dataset: str) -> dict[str, StagedFile]:
        """See ``WorkingTree.files``."""
        return dict(self._files.get(dataset, {}))

    def put(
        self,
        drafts: Sequence[Draft],
        *,
        carried: Sequence[StagedFile] = (),
        gone: Sequence[tuple[str, str]] = (),
    ) -> None:
        """See ``WorkingTree.put``."""
        for draft in drafts:
            target = self.folder / draft.dataset / f"{draft.month}.parquet"
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.move(draft.path, target)
            self._files.setdefault(draft.dataset, {})[draft.month] = _staged(draft, str(target), "local")
        for file in carried:
            self._files[file.dataset][file.month] = file
        for dataset, month in gone:
            self.forget(dataset, [month])

    def forget(self, dataset: str, months: Iterable[str]) -> None:
        """See ``WorkingTree.forget``."""
        for month in months:
            self._files.get(dataset, {}).pop(month, None)

    def note(self, dataset: str, facts: Mapping[str, Mapping[str, Any]]) -> None:
        """See ``WorkingTree.note``."""
        for month, known in facts.items():
            file = self._files[dataset][month]
            self._files[dataset][month] = replace(file, stats=file.stats | dict(known))

    def url(self, file: StagedFile) -> str:
        """See ``WorkingTree.url``."""
        return file.object_key
