"""Another mapping for what a connector has pulled: its originals are read again, as they were when they were pulled.

A source need not be asked again, and may not have the records any more. Streams without events can so be given some.
"""

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from orchestration.connectors.errors import ConnectorError
from orchestration.connectors.mapping import Mapping as EventMapping
from orchestration.control_plane import arrivals, corrections, pulls
from orchestration.control_plane.arrivals import Arrival, NewArrival
from orchestration.control_plane.connectors import Connector
from orchestration.control_plane.corrections import Cause
from orchestration.lake import layout
from orchestration.sources.registry import shown_source
from orchestration.stages.corrections import (
    CannotReadAgain,
    Corrected,
    Desk,
    NothingToCorrect,
    landed_through,
    remapped,
)
from orchestration.stages.intake import read_and_store


def configured_mappings(connector: Connector) -> dict[str, EventMapping]:
    """By stream, the mapping that a connector's configuration gives."""
    type_, config = shown_source(connector.type, connector.config)
    return type_.mappings(config)


def remap_pulled(desk: Desk, connector: Connector, reason: str) -> tuple[list[Corrected], list[Arrival]]:
    """Read what a connector has pulled with the mappings that its configuration has now.

    What has landed is corrected; records of streams that had no events become arrivals: second in the answer.
    What somebody has retracted stays so.

    Raises:
        NothingToCorrect: all of it was read with these mappings.
        CannotReadAgain: a mapping does not fit an original.
        ChangedMeanwhile: records were pulled or corrected meanwhile.
    """
    mappings = configured_mappings(connector)
    with desk.transaction() as connection:
        known = landed_through(connection, connector)
        ever = {arrival.sha256 for arrival in arrivals.list_arrivals(connection, desk.workspace_id)}
        made = pulls.list_pulls(connection, desk.workspace_id, connector.id)[::-1]
    parts = {part["sha256"]: part for pull in made for part in pull.parts if part["stream"] in mappings}
    old = [
        (arrival, mappings[parts[arrival.sha256]["stream"]])
        for arrival in known
        if arrival.sha256 in parts
        and arrival.mapping != mappings[parts[arrival.sha256]["stream"]].model_dump(mode="json")
    ]
    new = [part for part in parts.values() if part["kind"] == "records" and part["sha256"] not in ever]
    if not old and not new:
        raise NothingToCorrect(
            f"All that {connector.name} has pulled was read with its present mappings: nothing was done. "
            "`casetrail connector set` changes them."
        )
    versions = [(arrival, remapped(desk, arrival, mapping)) for arrival, mapping in old]
    first = [_first_reading(desk, connector, part, mappings) for part in new]
    with desk.transaction() as connection:
        corrections.require_unchanged(connection, desk.workspace_id, connector.id, known)
        cause = Cause("remapped", reason, desk.run_id)
        corrected = [
            Corrected(before, corrections.supersede(connection, before, after, cause))
            for before, after in versions
        ]
        return corrected, [arrivals.register_landed(connection, arrival) for arrival in first]


def _first_reading(
    desk: Desk, connector: Connector, part: Mapping[str, Any], mappings: Mapping[str, EventMapping]
) -> NewArrival:
    desk.progress(f"reading {part['stream']}, {part['rows']:,} records")
    with tempfile.TemporaryDirectory(prefix="casetrail-original-") as folder:
        path = Path(folder) / "original"
        desk.store.download(layout.original_key(desk.workspace_id, part["sha256"]), path)
        try:
            return read_and_store(
                desk.store,
                path,
                mappings[part["stream"]],
                connector_id=connector.id,
                connector_type=connector.type,
                file_name=f"{part['stream']}.parquet",
                sha256=part["sha256"],
                first_month=desk.first_month,
            ).arrival
        except ConnectorError as error:
            raise CannotReadAgain(f"{part['stream']}: {error}") from error
