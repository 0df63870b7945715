"""Undoing and redoing what arrived: a new file, a new mapping or a new reading in the place of a landed arrival.

New versions are read and stored first; the ledger changes in one transaction at the end. So a refresh sees all of a
correction or nothing, and a crash before leaves objects that nobody names.
"""

import json
import tempfile
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

from pydantic import ValidationError

from orchestration.connectors.errors import ConnectorError
from orchestration.connectors.mapping import Mapping
from orchestration.control_plane import arrivals, connectors, corrections
from orchestration.control_plane.arrivals import Arrival, ArrivalFile, NewArrival
from orchestration.control_plane.connectors import Connector
from orchestration.control_plane.corrections import Cause
from orchestration.control_plane.database import Connection
from orchestration.control_plane.errors import InvalidInput
from orchestration.lake import layout
from orchestration.lake.objects import WorkspaceStore
from orchestration.settings import Settings
from orchestration.stages.at_the_door import without_personal
from orchestration.stages.intake import Intake, file_sha256, read_and_store
from orchestration.stages.versions import landing_rules, lands_alike, readmissible

Progress = Callable[[str], None]

_SEVERAL = ("record_key", "null")
"""Fields of a mapping that take more than one value."""


class NothingToCorrect(InvalidInput):
    """What was given is what is there already."""


class CannotReadAgain(ConnectorError):
    """A landed file cannot be read in the new way; nothing was changed. The message names the file."""


@dataclass(frozen=True)
class Desk:
    """What a correction works with: transactions of a person or the pipeline, the workspace's objects, the settings."""

    transaction: Callable[[], AbstractContextManager[Connection]]
    store: WorkspaceStore
    first_month: str
    run_id: str | None = None
    progress: Progress = lambda _line: None

    @property
    def workspace_id(self) -> str:
        """The workspace that is corrected."""
        return self.store.credentials.workspace_id


@dataclass(frozen=True)
class Corrected:
    """One arrival and what is in its place now; ``new`` is None where nothing came out differently."""

    old: Arrival
    new: Arrival | None


def replace_file(
    desk: Desk, settings: Settings, arrival_id: str, path: Path, file_name: str, reason: str
) -> Intake:
    """Put a corrected file in the place of a landed arrival, read with the same mapping, its personal columns too.

    Raises:
        NothingToCorrect: it has the same bytes.
        NotLanded: the arrival was corrected before, or meanwhile.
        AlreadyLanded: the file has landed as another arrival.
        ConnectorError: the file cannot be read.
    """
    with desk.transaction() as connection:
        old = corrections.require_landed(connection, desk.workspace_id, arrival_id)
    mapping = Mapping.model_validate(old.mapping)
    with without_personal(settings, desk.workspace_id, old.connector_id, path, mapping) as kept:
        sha256 = file_sha256(kept)
        if old.sha256 == sha256:
            raise NothingToCorrect(
                f"{file_name} has the same bytes as the arrival {old.id}: nothing was done."
            )
        read = read_and_store(
            desk.store,
            kept,
            mapping,
            connector_id=old.connector_id,
            file_name=file_name,
            sha256=sha256,
            first_month=desk.first_month,
        )
    with desk.transaction() as connection:
        cause = Cause("replaced", reason, desk.run_id)
        return Intake(corrections.supersede(connection, old, read.arrival, cause), read.landing)


def remap_connector(
    desk: Desk, connector: Connector, changes: dict[str, Any], reason: str
) -> list[Corrected]:
    """Read everything that landed through a connector with a changed mapping, and the next files too.

    Args:
        desk: where the correction is made.
        connector: the connector.
        changes: fields of a mapping and their new values; the others stay as each arrival has them.
        reason: goes into the trail.

    Raises:
        InvalidInput: a field or value is none of a mapping.
        NothingToCorrect: connector and arrivals have this mapping already.
        CannotReadAgain: the mapping does not fit one of the files.
        ChangedMeanwhile: files arrived or were corrected meanwhile.
    """
    with desk.transaction() as connection:
        known = landed_through(connection, connector)
    config = changed_mapping(connector.config or (known[-1].mapping if known else {}), changes)
    mappings = {arrival.id: changed_mapping(arrival.mapping, changes) for arrival in known}
    old = [arrival for arrival in known if arrival.mapping != mappings[arrival.id].model_dump(mode="json")]
    if not old and connector.config == config.model_dump(mode="json"):
        raise NothingToCorrect(f"The connector {connector.name} has this mapping already: nothing was done.")
    news = []
    for place, arrival in enumerate(old, start=1):
        desk.progress(f"{place} of {len(old)}: {arrival.file_name}")
        news.append(remapped(desk, arrival, mappings[arrival.id]))
    with desk.transaction() as connection:
        corrections.require_unchanged(connection, desk.workspace_id, connector.id, known)
        cause = Cause("remapped", reason, desk.run_id)
        made = [
            Corrected(before, corrections.supersede(connection, before, new, cause))
            for before, new in zip(old, news, strict=True)
        ]
        connectors.set_config(connection, desk.workspace_id, connector.id, config.model_dump(mode="json"))
    return made


def changed_mapping(mapping: dict[str, Any], changes: dict[str, Any]) -> Mapping:
    """A mapping with some fields changed.

    Raises:
        InvalidInput: a field or value is none of a mapping, or one that is needed is missing.
    """
    try:
        return Mapping.model_validate(mapping | changes)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(map(str, first["loc"]))
        raise InvalidInput(
            f"{field}: {first['msg']}. The fields of a mapping: {', '.join(Mapping.model_fields)}."
        ) from None


def given_changes(whole: str | None, pairs: Sequence[str]) -> dict[str, Any]:
    """Fields of a mapping and their new values, from a whole mapping as JSON and ``field=value`` pairs over it.

    Raises:
        InvalidInput: nothing was given, or not in this form.
    """
    changes: dict[str, Any] = {}
    if whole is not None:
        try:
            changes = changed_mapping({}, json.loads(whole)).model_dump(mode="json")
        except (json.JSONDecodeError, TypeError) as error:
            raise InvalidInput(f"The mapping is not a JSON object: {error}") from None
    said: dict[str, list[str]] = {}
    for pair in pairs:
        field, equals, value = pair.partition("=")
        if not equals or field not in Mapping.model_fields:
            raise InvalidInput(
                f"{pair}: give FIELD=VALUE, where FIELD is one of {', '.join(Mapping.model_fields)}."
            )
        said.setdefault(field, []).extend([value] if value else [])
    for field, values in said.items():
        if field not in _SEVERAL and len(values) > 1:
            raise InvalidInput(f"{field} was given more than once.")
        changes[field] = values if field in _SEVERAL else values[0] if values else None
    if not changes:
        raise InvalidInput("Say what to change: FIELD=VALUE, or a whole mapping as JSON.")
    return changes


def readmit(desk: Desk, reason: str, now: datetime | None = None) -> list[Corrected]:
    """Read again what could land otherwise today, each with its own mapping: the result is as if it came now.

    Raises:
        CannotReadAgain: a file cannot be read any more.
        NotLanded: an arrival was corrected meanwhile.
    """
    with desk.transaction() as connection:
        landed = arrivals.list_arrivals(connection, desk.workspace_id, "landed")
    made = []
    for old in readmissible(landed, landing_rules(desk.first_month), now or datetime.now(UTC)):
        desk.progress(f"reading {old.file_name} again")
        with desk.transaction() as connection:
            stored = _stored(connection, old)
        new = _from_original(desk, old, Mapping.model_validate(old.mapping), stored)
        with desk.transaction() as connection:
            made.append(Corrected(old, _readmitted(connection, desk, old, new, stored, reason)))
    return made


def _readmitted(
    connection: Connection,
    desk: Desk,
    old: Arrival,
    new: NewArrival,
    stored: Sequence[ArrivalFile],
    reason: str,
) -> Arrival | None:
    if {f.object_key for f in new.files} == {f.object_key for f in stored}:
        assert new.landing_rules is not None
        corrections.note_reviewed(connection, old, new.landing_rules, new.review_at)
        return None
    return corrections.supersede(connection, old, new, Cause("readmitted", reason, desk.run_id))


def landed_through(connection: Connection, connector: Connector) -> list[Arrival]:
    """What landed through a connector, in the order of arrival."""
    every = arrivals.list_arrivals(connection, connector.workspace_id, "landed")
    return [arrival for arrival in every if arrival.connector_id == connector.id]


def remapped(desk: Desk, arrival: Arrival, mapping: Mapping) -> NewArrival:
    """The new version of an arrival under another mapping; what it needs is stored."""
    with desk.transaction() as connection:
        stored = _stored(connection, arrival)
    if lands_alike(arrival.mapping, mapping.model_dump(mode="json")):
        return _renamed(arrival, mapping, stored)
    return _from_original(desk, arrival, mapping, stored)


def _stored(connection: Connection, arrival: Arrival) -> list[ArrivalFile]:
    kinds: tuple[arrivals.FileKind, ...] = ("raw", "quarantine")
    return [
        f for kind in kinds for f in arrivals.files_of(connection, arrival.workspace_id, [arrival.id], kind)
    ]


def _renamed(arrival: Arrival, mapping: Mapping, stored: Sequence[ArrivalFile]) -> NewArrival:
    """The same raw files under another mapping."""
    kept: dict[str, Any] = {
        name: getattr(arrival, name)
        for name in NewArrival.__dataclass_fields__
        if name not in ("id", "mapping", "files", "message")
    }
    new_id = str(uuid4())
    files = [replace(file, arrival_id=new_id) for file in stored]
    return NewArrival(id=new_id, mapping=mapping.model_dump(mode="json"), files=files, **kept)


def _from_original(
    desk: Desk, arrival: Arrival, mapping: Mapping, stored: Sequence[ArrivalFile]
) -> NewArrival:
    """The original read again; what comes out as before is not stored twice.

    Raises:
        CannotReadAgain: it does not go with the mapping.
    """
    with desk.transaction() as connection:
        connector = connectors.get_connector(connection, desk.workspace_id, arrival.connector_id)
    with tempfile.TemporaryDirectory(prefix="casetrail-original-") as folder:
        path = Path(folder) / "original"  # what it is shows its content
        desk.store.download(layout.original_key(desk.workspace_id, arrival.sha256), path)
        try:
            return read_and_store(
                desk.store,
                path,
                mapping,
                connector_id=arrival.connector_id,
                connector_type=connector.type,
                file_name=arrival.file_name,
                sha256=arrival.sha256,
                first_month=desk.first_month,
                stored=stored,
            ).arrival
        except ConnectorError as error:
            raise CannotReadAgain(f"{arrival.file_name} (arrival {arrival.id}): {error}") from error
