"""Syncing a connector: what is new at its source is read, landed as arrivals, and noted, a pull at a time.

A pull ends at each checkpoint of the type. Its originals, raw files and manifest are stored first; then one transaction
enters its arrivals and the pull itself, whose state is where the next one goes on. So a crash at any point loses
nothing and doubles nothing: what was stored and not entered is left over, and is read again.
"""

import json
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

from orchestration.connectors.errors import ConnectorError
from orchestration.connectors.mapping import Mapping as EventMapping
from orchestration.control_plane import arrivals, connectors, database, pulls
from orchestration.control_plane.connectors import Connector
from orchestration.control_plane.database import Connection
from orchestration.control_plane.errors import InvalidInput
from orchestration.control_plane.pulls import NewPull
from orchestration.control_plane.workspaces import Workspace
from orchestration.lake import layout
from orchestration.lake.credentials import CredentialBroker
from orchestration.lake.objects import WorkspaceStore
from orchestration.settings import Settings
from orchestration.sources.draft import DraftedStream, PullDraft
from orchestration.sources.errors import (
    ConfigurationError,
    QuotaExhausted,
    SourceError,
    TransientError,
)
from orchestration.sources.personal import PersonalFields
from orchestration.sources.protocol import Checkpoint, Window
from orchestration.sources.registry import identities
from orchestration.stages.intake import Reading, file_sha256, read_and_store
from orchestration.stages.source_access import OpenedSource, noting_problems, personal_fields, using_source
from orchestration.stages.workbench import digest

PAUSES = (1, 5, 25)
"""Seconds before the second, third and fourth attempt at what may go away by itself."""

LONGEST_PAUSE = 300.0
"""A source that asks for a longer one gets it between two syncs."""

AFTER_FAILURE = timedelta(minutes=10)
"""From a sync that failed to the next scheduled one."""

MANIFEST_VERSION = 1


class ConnectorDisabled(InvalidInput):
    """Nobody syncs a connector that is disabled."""


@dataclass(frozen=True)
class Synced:
    """What a sync brought. ``stopped`` says why it ended before the source's end: a quota, or somebody disabled it."""

    connector: Connector
    pulls: Sequence[NewPull]
    stopped: str | None = None

    def total(self, count: str) -> int:
        """The sum of a count over the pulls, such as ``landed``."""
        return sum(int(getattr(pull, count)) for pull in self.pulls)


def sync(
    settings: Settings,
    workspace: Workspace,
    connector: Connector,
    *,
    run_id: str | None = None,
    progress: Callable[[str], None] = lambda _line: None,
    sleep: Callable[[float], None] = time.sleep,
) -> Synced:
    """Read a connector's source to its end. What was landed before something goes wrong stays.

    Raises:
        ConnectorDisabled: the connector is disabled.
        SyncUnderWay: another process syncs it.
        SourceError: a person must act, or it did not work in several attempts; noted on the connector.
    """
    if connector.status == "disabled":
        raise ConnectorDisabled(
            f"{connector.type}/{connector.name} is disabled: `casetrail connector enable` checks it and lets it work."
        )
    desk = _Desk(settings, workspace, connector, run_id, progress)
    with database.connector_lock(settings.system_dsn, connector.id):
        try:
            with (
                noting_problems(settings, connector),
                using_source(settings, workspace, connector) as source,
            ):
                return _sync(desk, source, sleep)
        except SourceError as error:
            asked = (
                timedelta(seconds=error.retry_after or 0)
                if isinstance(error, TransientError)
                else AFTER_FAILURE
            )
            desk.not_before(datetime.now(UTC) + max(asked, AFTER_FAILURE))
            raise


def next_slot(connector_id: str, every_minutes: int, after: datetime) -> datetime:
    """The first scheduled moment (UTC) behind another: every so many minutes, at a second of the connector's own.

    So not all connectors of an installation are synced in the same minute.
    """
    period = every_minutes * 60
    offset = int(digest(connector_id)[:8], 16) % period
    elapsed = int(after.timestamp()) - offset
    return datetime.fromtimestamp((elapsed // period + 1) * period + offset, UTC)


def take_cadence(settings: Settings, connector: Connector) -> None:
    """Let the next sync be no later than the connector's cadence says, for when that has changed.

    A source that is resting because of a quota is asked once more, and says again until when.
    """
    slot = next_slot(connector.id, int(connector.config["every_minutes"]), datetime.now(UTC))
    if connector.next_sync_at is not None and slot < connector.next_sync_at:
        with database.as_system(settings.system_dsn, connector.workspace_id) as connection:
            connectors.set_next_sync(connection, connector.workspace_id, connector.id, slot)


@dataclass(frozen=True)
class _Desk:
    """What a sync works with besides its source."""

    settings: Settings
    workspace: Workspace
    connector: Connector
    run_id: str | None
    progress: Callable[[str], None]

    def transaction(self) -> Any:
        """One of the pipeline, in the workspace."""
        return database.as_system(self.settings.system_dsn, self.workspace.id)

    def not_before(self, when: datetime) -> None:
        """No schedule syncs the connector before then."""
        with self.transaction() as connection:
            connectors.set_next_sync(connection, self.workspace.id, self.connector.id, when)

    def is_disabled(self) -> bool:
        """Whether somebody has disabled the connector meanwhile."""
        with self.transaction() as connection:
            now = connectors.get_connector(connection, self.workspace.id, self.connector.id)
        return now.status == "disabled"


def _sync(desk: _Desk, source: OpenedSource, sleep: Callable[[float], None]) -> Synced:
    connector, made = desk.connector, list[NewPull]()
    # At once: a sync whose process is killed has its next turn at the next slot, and not over and over.
    desk.not_before(next_slot(connector.id, source.config.every_minutes, datetime.now(UTC)))
    try:
        is_at_end = _read_patiently(desk, source, made, sleep)
    except QuotaExhausted as error:
        told = f"{source.told(error)} Goes on after {error.resume_at:%Y-%m-%d %H:%M} UTC."
        with desk.transaction() as connection:
            connectors.record_problem(connection, desk.workspace.id, connector.id, told, is_error=False)
            connectors.set_next_sync(connection, desk.workspace.id, connector.id, error.resume_at)
        return Synced(connector, made, told)
    with desk.transaction() as connection:
        connectors.record_sync(connection, desk.workspace.id, connector.id)
    return Synced(connector, made, None if is_at_end else "Somebody has disabled the connector.")


def _read_patiently(
    desk: _Desk, source: OpenedSource, made: list[NewPull], sleep: Callable[[float], None]
) -> bool:
    """Read to the end, in several attempts if need be: each goes on behind the last pull. False: it was disabled."""
    attempts = 0
    while True:
        landed = len(made)
        try:
            return _read_to_end(desk, source, made)
        except TransientError as error:
            attempts = 1 if len(made) > landed else attempts + 1
            if attempts > len(PAUSES) or (error.retry_after or 0) > LONGEST_PAUSE:
                raise
            pause = max(PAUSES[attempts - 1], error.retry_after or 0)
            desk.progress(f"trying again in {pause:.0f} s: {source.told(error)}")
            sleep(pause)


def _read_to_end(desk: _Desk, source: OpenedSource, made: list[NewPull]) -> bool:
    with desk.transaction() as connection:
        before: NewPull | None = pulls.newest_pull(connection, desk.workspace.id, desk.connector.id)
    window = Window(source.config.start, datetime.now(UTC))
    state = dict(before.state) if before else None
    with closing(source.type.read(source.config, window, state, source.context)) as steps:
        while True:
            with tempfile.TemporaryDirectory(prefix="casetrail-pull-") as folder:
                draft, started = PullDraft(Path(folder)), datetime.now(UTC)
                personal = personal_fields(desk.settings, desk.workspace, source)
                for step in steps:
                    if isinstance(step, Checkpoint):
                        break
                    draft.add(personal.hidden(step))
                    desk.progress(f"{step.stream}: {draft.records:,} records read")
                else:
                    draft.require_empty()
                    return True
                pulled = _Pull(desk, source, window, step, before, started, personal)
                pull = pulled.land(draft, Path(folder))
            if pull is not None:
                made.append(pull)
                before = pull
            if desk.is_disabled():
                return False


@dataclass(frozen=True)
class _Part:
    """One original of a pull, of ``kind`` events, records (that are no events) or tombstones.

    ``reading`` is what came of events.
    """

    stream: str
    kind: str
    sha256: str
    rows: int
    reading: Reading | None = None

    def entry(self) -> dict[str, Any]:
        """For the ledger."""
        arrival = self.reading.arrival.id if self.reading else None
        return {
            "stream": self.stream,
            "kind": self.kind,
            "sha256": self.sha256,
            "rows": self.rows,
            "arrival_id": arrival,
        }


@dataclass(frozen=True)
class _Pull:
    """A pull in the making: what was read since the checkpoint before."""

    desk: _Desk
    source: OpenedSource
    window: Window
    checkpoint: Checkpoint
    before: NewPull | None
    started: datetime
    personal: PersonalFields

    def land(self, draft: PullDraft, folder: Path) -> NewPull | None:
        """Store and enter what was read; None, and nothing happens, if nothing of it is new.

        Raises:
            ConfigurationError: records do not go with their mapping.
            PullOvertaken: another sync was faster.
        """
        number = self.before.number + 1 if self.before else 1
        store = self._store()
        streams, remembered = draft.finish(
            self._recent(store, folder),
            self.checkpoint.reread_from,
            {"casetrail.connector": self.desk.connector.id, "casetrail.pull": str(number)},
        )
        schemas = dict(self.before.schemas) if self.before else {}
        changes = schema_changes(schemas, {stream.stream: stream.columns for stream in streams})
        moved = self.checkpoint.state != (self.before.state if self.before else {})
        if not moved and not changes and all(s.records == s.duplicate for s in streams):
            return None
        parts = [part for stream in streams for part in self._parts(store, stream, number)]
        landings = [part.reading.landing for part in parts if part.reading]
        speaking = identities(self.source.type, self.source.config)
        pull = NewPull(
            id=str(uuid4()),
            workspace_id=self.desk.workspace.id,
            connector_id=self.desk.connector.id,
            number=number,
            started_at=self.started,
            state=self.checkpoint.state,
            schemas=schemas | {stream.stream: dict(stream.columns) for stream in streams},
            schema_changes=changes,
            parts=[part.entry() for part in parts],
            records=sum(stream.records for stream in streams),
            landed=sum(landing.landed for landing in landings),
            non_event=sum(landing.non_event for landing in landings)
            + sum(part.rows for part in parts if part.reading is None),
            duplicate=sum(stream.duplicate for stream in streams),
            quarantined=sum(landing.quarantined for landing in landings),
            speaks=any(stream.stream in speaking and stream.records > stream.duplicate for stream in streams),
            run_id=self.desk.run_id,
        )
        ids = pull.workspace_id, pull.connector_id, pull.id
        store.put_file(layout.pull_recent_key(*ids), remembered)
        # The last object: whoever finds it finds all that it names.
        store.put_bytes(layout.pull_manifest_key(*ids), self._manifest(pull, parts, remembered))
        with self.desk.transaction() as connection:
            self._enter(connection, pull, parts)
        told = [f"pull {number}: {pull.records:,} records, {pull.landed:,} landed", *self.personal.told()]
        self.desk.progress("; ".join(told))
        return pull

    def _store(self) -> WorkspaceStore:
        """Made anew for each pull: credentials do not outlive a long sync."""
        workspace = self.desk.workspace
        return WorkspaceStore(
            CredentialBroker(self.desk.settings).for_workspace(workspace.id, workspace.region)
        )

    def _recent(self, store: WorkspaceStore, folder: Path) -> Path | None:
        if self.before is None:
            return None
        before = self.before
        path = folder / "recent-before.parquet"
        store.download(layout.pull_recent_key(before.workspace_id, before.connector_id, before.id), path)
        return path

    def _parts(self, store: WorkspaceStore, stream: DraftedStream, number: int) -> list[_Part]:
        """The originals of a stream, stored; those of events are read under their mapping, and landed."""
        mapping = self.source.type.mappings(self.source.config).get(stream.stream)
        parts = []
        if stream.rows:
            parts.append(self._live(store, stream, mapping, f"{stream.stream}-{number:06}.parquet"))
        if stream.tombstone_rows:
            sha256 = file_sha256(stream.tombstones)
            store.put_file(layout.original_key(self.desk.workspace.id, sha256), stream.tombstones)
            parts.append(_Part(stream.stream, "tombstones", sha256, stream.tombstone_rows))
        return parts

    def _live(
        self, store: WorkspaceStore, stream: DraftedStream, mapping: EventMapping | None, name: str
    ) -> _Part:
        sha256 = file_sha256(stream.file)
        if mapping is None:
            store.put_file(layout.original_key(self.desk.workspace.id, sha256), stream.file)
            return _Part(stream.stream, "records", sha256, stream.rows)
        try:
            reading = read_and_store(
                store,
                stream.file,
                mapping,
                connector_id=self.desk.connector.id,
                connector_type=self.desk.connector.type,
                file_name=name,
                sha256=sha256,
                first_month=self.desk.settings.first_month,
            )
        except ConnectorError as error:
            raise ConfigurationError(f"{stream.stream}: {error}") from None
        return _Part(stream.stream, "events", sha256, stream.rows, reading)

    def _manifest(self, pull: NewPull, parts: Sequence[_Part], remembered: Path) -> bytes:
        """What was asked and what came of it, as JSON, without secrets."""
        told = {
            "version": MANIFEST_VERSION,
            "connector_type": self.desk.connector.type,
            **asdict(pull),
            "window": asdict(self.window),
            "request": self.checkpoint.request,
            "state_before": self.before.state if self.before else None,
            "schema_fingerprints": {name: digest(columns) for name, columns in pull.schemas.items()},
            "recent_sha256": file_sha256(remembered),
            "personal": self.personal.account(),
            "parts": [
                part.entry()
                | {
                    "original": layout.original_key(pull.workspace_id, part.sha256),
                    "files": [asdict(f) for f in part.reading.arrival.files] if part.reading else [],
                }
                for part in parts
            ],
        }
        text = json.dumps(told, indent=2, sort_keys=True, default=str, ensure_ascii=False)
        return self.source.context.redactor.redact(text).encode()

    def _enter(self, connection: Connection, pull: NewPull, parts: Sequence[_Part]) -> None:
        # First the pull: whoever is overtaken has to hear that, and not that its files have landed before.
        pulls.enter_pull(connection, pull)
        for part in parts:
            if part.reading:
                arrivals.register_landed(connection, part.reading.arrival)
        connectors.record_sync(connection, pull.workspace_id, pull.connector_id)


def schema_changes(
    before: Mapping[str, Mapping[str, str]], now: Mapping[str, Mapping[str, str]]
) -> list[dict[str, Any]]:
    """Columns of streams that were known before, which appeared, disappeared, or have another type."""
    changes = []
    for stream in sorted(set(before) & set(now)):
        old, new = before[stream], now[stream]
        for column in sorted(set(old) | set(new)):
            if old.get(column) == new.get(column):
                continue
            kind = "appeared" if column not in old else "disappeared" if column not in new else "type"
            changes.append(
                {
                    "stream": stream,
                    "column": column,
                    "change": kind,
                    "before": old.get(column),
                    "after": new.get(column),
                }
            )
    return changes
