"""Dropped files become arrivals: take in what waits in a workspace's inboxes, and keep the reason if it fails."""

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from orchestration.connectors.errors import ConnectorError
from orchestration.connectors.mapping import Mapping
from orchestration.connectors.probe import probe
from orchestration.control_plane import connectors, database, inbox, workspaces
from orchestration.control_plane.inbox import InboxFile
from orchestration.lake.credentials import CredentialBroker
from orchestration.lake.objects import ObjectMissing, WorkspaceStore
from orchestration.settings import Settings
from orchestration.stages.at_the_door import without_personal
from orchestration.stages.intake import take_in


@dataclass(frozen=True)
class Dropped:
    """What happened to one dropped file."""

    object_key: str
    status: str
    message: str


def take_in_dropped(settings: Settings, slug: str) -> Iterator[Dropped]:
    """Take in every waiting file of the workspace's inboxes, one by one; a bad file does not stop the next."""
    with database.as_system(settings.system_dsn, None) as connection:
        workspace = workspaces.find_workspace(connection, slug)
    store = WorkspaceStore(CredentialBroker(settings).for_workspace(workspace.id, workspace.region))
    with database.as_system(settings.system_dsn, workspace.id) as connection:
        waiting = inbox.waiting_files(connection)
    in_error: set[str] = set()
    for file in waiting:
        dropped = _take_in(settings, store, file)
        if dropped.status == "failed":
            in_error.add(file.connector_id)
        if file.connector_id in in_error:
            # What lands clears an error, but not that of a file which came with it.
            with database.as_system(settings.system_dsn, workspace.id) as connection:
                connectors.set_status(connection, workspace.id, file.connector_id, "error")
        yield dropped


def _take_in(settings: Settings, store: WorkspaceStore, file: InboxFile) -> Dropped:
    with database.as_system(settings.system_dsn, file.workspace_id) as connection:
        connector = connectors.get_connector(connection, file.workspace_id, file.connector_id)
    name = file.object_key.rsplit("/", 1)[-1]
    try:
        with tempfile.TemporaryDirectory(prefix="casetrail-inbox-") as folder:
            local = Path(folder) / name
            dropped = store.find(file.object_key)
            store.download(file.object_key, local)
            mapping = _mapping(local, connector.config, settings.first_month)
            with without_personal(settings, file.workspace_id, connector.id, local, mapping) as kept:
                taken = take_in(
                    lambda: database.as_system(settings.system_dsn, file.workspace_id),
                    store,
                    kept,
                    mapping,
                    connector_id=connector.id,
                    file_name=name,
                    first_month=settings.first_month,
                )
    except ConnectorError as error:
        return _note(settings, file, "failed", str(error), None)
    except ObjectMissing:
        return _note(settings, file, "failed", "The file was removed before it was taken in.", None)
    landed = taken.arrival
    message = f"{landed.landed} of {landed.records} records landed, {landed.quarantined} in quarantine"
    noted = _note(settings, file, "landed", message, landed.id)
    if mapping.personal and dropped is not None:
        # It has the values: it does not wait for the garbage collection, as others do.
        store.delete_unchanged(dropped)
    return noted


def _mapping(file: Path, config: dict[str, Any], first_month: str) -> Mapping:
    """The connector's own mapping; without one, what the file suggests, if it is unambiguous."""
    if config:
        return Mapping.model_validate(config)
    return probe(file, first_month=first_month, now=datetime.now(UTC)).mapping


def _note(
    settings: Settings, file: InboxFile, status: inbox.InboxStatus, message: str, arrival_id: str | None
) -> Dropped:
    with database.as_system(settings.system_dsn, file.workspace_id) as connection:
        inbox.record_outcome(connection, file, status, message, arrival_id)
    return Dropped(file.object_key, status, message)
