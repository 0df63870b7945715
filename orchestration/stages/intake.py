"""Intake: a local file becomes an arrival. Original kept, rows landed as raw, rejects in quarantine, ledger last.

A crash before the ledger's transaction leaves objects that nobody names; the same file can be sent again.
"""

import hashlib
import tempfile
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

from orchestration.connectors.landing import Landing, land
from orchestration.connectors.mapping import Mapping
from orchestration.control_plane import arrivals, connectors
from orchestration.control_plane.arrivals import Arrival, ArrivalFile, NewArrival
from orchestration.control_plane.database import Connection
from orchestration.control_plane.inbox import CONNECTOR_TYPE
from orchestration.lake import layout
from orchestration.lake.objects import WorkspaceStore
from orchestration.stages.versions import landing_rules


@dataclass(frozen=True)
class Intake:
    """What came of a file. ``landing`` is None when the same bytes had already arrived."""

    arrival: Arrival
    landing: Landing | None


def take_in(
    transaction: Callable[[], AbstractContextManager[Connection]],
    store: WorkspaceStore,
    path: Path,
    mapping: Mapping,
    *,
    connector_id: str,
    file_name: str,
    first_month: str,
    progress: Callable[[int, int], None] | None = None,
) -> Intake:
    """Land a file for a connector. ``transaction`` opens one on the control plane, a user's or the system's.

    Under a mapping with personal columns the file is what ``without_personal`` gives.

    Raises what ``land`` raises for a file that cannot be read; nothing is registered then.
    """
    workspace_id, sha256 = store.credentials.workspace_id, file_sha256(path)
    with transaction() as connection:
        known = arrivals.find_landed(connection, workspace_id, connector_id, sha256)
        if known is not None:
            connectors.record_sync(connection, workspace_id, connector_id)
    if known is not None:
        return Intake(known, None)
    read = read_and_store(
        store,
        path,
        mapping,
        connector_id=connector_id,
        file_name=file_name,
        sha256=sha256,
        first_month=first_month,
        progress=progress,
    )
    with transaction() as connection:
        arrival = arrivals.register_landed(connection, read.arrival)
        connectors.record_sync(connection, workspace_id, connector_id)
    return Intake(arrival, read.landing)


@dataclass(frozen=True)
class Reading:
    """A file that was read and whose objects are stored; ``arrival`` is what the ledger is to be told."""

    arrival: NewArrival
    landing: Landing


def read_and_store(
    store: WorkspaceStore,
    path: Path,
    mapping: Mapping,
    *,
    connector_id: str,
    file_name: str,
    sha256: str,
    first_month: str,
    connector_type: str = CONNECTOR_TYPE,
    progress: Callable[[int, int], None] | None = None,
    stored: Sequence[ArrivalFile] = (),
) -> Reading:
    """Land a file and store what came of it, but for what ``stored`` names already.

    Raises what ``land`` raises for a file that cannot be read; nothing is stored then.
    """
    with tempfile.TemporaryDirectory(prefix="casetrail-intake-") as folder:
        landing = land(
            path,
            mapping,
            first_month=first_month,
            now=datetime.now(UTC),
            into=Path(folder),
            progress=progress,
        )
        arrival = NewArrival(
            id=str(uuid4()),
            workspace_id=store.credentials.workspace_id,
            connector_id=connector_id,
            sha256=sha256,
            file_name=file_name,
            format=landing.format,
            bytes=path.stat().st_size,
            mapping=mapping.model_dump(mode="json"),
            schema_fingerprint=landing.schema_fingerprint,
            columns=[{"name": name, "type": kind} for name, kind in landing.columns],
            records=landing.records,
            landed=landing.landed,
            non_event=landing.non_event,
            quarantined=landing.quarantined,
            files=(),
            landing_rules=landing_rules(first_month),
            review_at=landing.review_at,
        )
        files = _store(store, path, arrival, landing, connector_type, stored)
    return Reading(replace(arrival, files=files), landing)


def file_sha256(path: Path) -> str:
    """The sha256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _store(
    store: WorkspaceStore,
    path: Path,
    arrival: NewArrival,
    landing: Landing,
    connector_type: str,
    stored: Sequence[ArrivalFile],
) -> list[ArrivalFile]:
    """Original, raw files per month and quarantine to S3; the entries that the ledger will hold.

    A file that an earlier version of the arrival has stored under the same month with the same bytes is named again.
    """
    workspace_id, sha256 = arrival.workspace_id, arrival.sha256
    if not stored:
        store.put_file(layout.original_key(workspace_id, sha256), path)
    local: list[tuple[ArrivalFile, Path]] = []
    for month, landed in sorted(landing.months.items()):
        file = landed.path
        key = layout.raw_key(workspace_id, connector_type, month, f"{sha256[:16]}-{arrival.id}.parquet")
        local.append((_entry(arrival.id, "raw", month, key, landed.rows, file), file))
    if landing.quarantined:
        file = landing.quarantine
        key = layout.quarantine_key(workspace_id, arrival.id)
        entry = _entry(arrival.id, "quarantine", None, key, landing.quarantined, file)
        local.append((replace(entry, stats={"reasons": landing.reasons}), file))
    known = {(s.kind, s.month, s.content_sha256): s.object_key for s in stored}
    entries = [
        (replace(e, object_key=known.get((e.kind, e.month, e.content_sha256), e.object_key)), file)
        for e, file in local
    ]
    store.put_files(
        (entry.object_key, file) for entry, file in entries if entry.object_key not in known.values()
    )
    return [entry for entry, _file in entries]


def _entry(
    arrival_id: str, kind: arrivals.FileKind, month: str | None, key: str, rows: int, file: Path
) -> ArrivalFile:
    return ArrivalFile(
        arrival_id=arrival_id,
        kind=kind,
        month=month,
        object_key=key,
        rows=rows,
        bytes=file.stat().st_size,
        content_sha256=file_sha256(file),
        stats={},
    )
