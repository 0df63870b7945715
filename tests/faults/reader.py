"""A reader of releases who trusts nothing: every file is there, holds what the ledger says, and they fit.

He goes the way of every client, job -> provenance -> release_files, each in a transaction of its own, with the rights
of a member of the workspace.
"""

import tempfile
from collections import Counter
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.compute as pc
import pyarrow.parquet as pq

from orchestration.control_plane import database, jobs, releases
from orchestration.control_plane.database import Connection
from orchestration.control_plane.releases import ReleaseFile
from orchestration.control_plane.workspaces import Workspace
from orchestration.lake.content import parquet_content_sha256
from orchestration.lake.credentials import CredentialBroker
from orchestration.lake.objects import ObjectMissing, WorkspaceStore
from orchestration.settings import Settings
from orchestration.stages.workbench import digest

Content = Mapping[tuple[str, str], str]
"""(dataset, month) -> content hash."""


class BrokenRelease(AssertionError):
    """What the reader was given is no release; the message says why."""


@dataclass(frozen=True)
class Release:
    """A release that was read whole and found true."""

    provenance_id: str
    content_sha256: str
    content: Content
    rows: Mapping[str, int]


@dataclass(frozen=True)
class _Read:
    rows: int
    content_sha256: str
    case_events: int


def store_of(settings: Settings, workspace: Workspace) -> WorkspaceStore:
    """The workspace's objects."""
    return WorkspaceStore(CredentialBroker(settings).for_workspace(workspace.id, workspace.region))


class Reader:
    """Reads one workspace's current release. A file that he has read is read again when its object has changed."""

    def __init__(self, settings: Settings, workspace: Workspace) -> None:
        """Nothing is read yet."""
        self._settings, self._workspace = settings, workspace
        self._store = store_of(settings, workspace)
        self._known: dict[tuple[str, str], _Read] = {}

    def read(self) -> Release:
        """The current release.

        Raises:
            BrokenRelease: it is not whole, or not what it says.
        """
        with self._asking() as connection:
            provenance_id = jobs.standing_job(connection, self._workspace.id).provenance_id
        if provenance_id is None:
            raise BrokenRelease("there is no release")
        with self._asking() as connection:
            record = releases.provenance(connection, self._workspace.id, provenance_id)
        with self._asking() as connection:
            files = releases.release_files(connection, self._workspace.id, provenance_id)
        return self.check(record, files)

    def check(self, record: Mapping[str, Any], files: list[ReleaseFile]) -> Release:
        """Read the files of a release and compare them with it and with each other."""
        provenance_id = str(record["id"])
        named = sorted([file.dataset, file.month, file.content_sha256] for file in files)
        _expect(digest(named), record["content_sha256"], "the files of the release")
        read = self._read_files(files)
        for file in files:
            found = read[file.object_key]
            _expect(found.content_sha256, file.content_sha256, f"the content of {file.object_key}")
            _expect(found.rows, file.rows, f"the rows of {file.object_key}")
        events = sum(file.rows for file in files if file.dataset == "events")
        _expect(sum(entry.case_events for entry in read.values()), events, "the events of all cases")
        self._check_explanations(provenance_id, files)
        content = {(f.dataset, f.month): f.content_sha256 for f in files}
        rows = Counter[str]()
        for file in files:
            rows[file.dataset] += file.rows
        return Release(provenance_id, str(record["content_sha256"]), content, rows)

    def _check_explanations(self, provenance_id: str, files: list[ReleaseFile]) -> None:
        with self._asking() as connection:
            rows = connection.execute(
                "select coalesce(month::text, 'all') as month from explainability where provenance_id = %s",
                (provenance_id,),
            ).fetchall()
        in_files = {f.month: f.rows for f in files if f.dataset == "explanations" and f.rows}
        _expect(Counter(row["month"] for row in rows), Counter(in_files), "the explanations per month")

    def _asking(self) -> AbstractContextManager[Connection]:
        return database.as_user(self._settings.app_dsn, self._settings.operator)

    def _read_files(self, files: list[ReleaseFile]) -> dict[str, _Read]:
        etags = {entry.key: entry.etag for entry in self._store.list()}
        with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(4) as pool:

            def read(place_and_file: tuple[int, ReleaseFile]) -> _Read:
                place, file = place_and_file
                known = (file.object_key, etags.get(file.object_key, ""))
                if known not in self._known:
                    self._known[known] = self._read_file(file, Path(folder) / f"{place}.parquet")
                return self._known[known]

            found = pool.map(read, enumerate(files))
            return {file.object_key: entry for file, entry in zip(files, found, strict=True)}

    def _read_file(self, file: ReleaseFile, path: Path) -> _Read:
        try:
            self._store.download(file.object_key, path)
        except ObjectMissing as error:
            raise BrokenRelease(f"{file.dataset} of {file.month}: {error}") from error
        case_events = 0
        if file.dataset == "cases":
            case_events = pc.sum(pq.read_table(path, columns=["event_count"])["event_count"]).as_py() or 0
        return _Read(pq.read_metadata(path).num_rows, parquet_content_sha256(path), case_events)


def _expect(found: object, expected: object, what: str) -> None:
    if found != expected:
        raise BrokenRelease(f"{what}: {found}, not {expected}")
