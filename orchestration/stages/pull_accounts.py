"""What became of the records of each pull, as of the last refresh of its workspace."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from orchestration.control_plane import arrivals, jobs, staging
from orchestration.control_plane.arrivals import Arrival
from orchestration.control_plane.database import Connection
from orchestration.control_plane.pulls import Pull


@dataclass(frozen=True)
class PullAccount:
    """records = mapped + non_event + superseded + duplicate + quarantined.

    ``mapped`` records are events, or will be with the next refresh, which tells those that a newer version of their
    record supersedes.
    """

    number: int
    committed_at: datetime | None
    records: int
    mapped: int
    non_event: int
    superseded: int
    duplicate: int
    quarantined: int
    schema_changes: Sequence[Any]


def pull_accounts(connection: Connection, workspace_id: str, pulls: Sequence[Pull]) -> list[PullAccount]:
    """The account of each pull. An arrival that was read again counts as it is now."""
    every = arrivals.list_arrivals(connection, workspace_id)
    # Also of an original that had no events when it was pulled, and was given some since.
    by_original = {(arrival.connector_id, arrival.sha256): arrival for arrival in every}
    successors = {arrival.replaces: arrival for arrival in every if arrival.replaces}
    lost = _lost(connection, workspace_id)
    accounts = []
    for pull in pulls:
        found = [(part, by_original.get((pull.connector_id, part["sha256"]))) for part in pull.parts]
        now = [_newest(arrival, successors) for _part, arrival in found if arrival]
        superseded = sum(lost[arrival.id, "superseded"] for arrival in now)
        equal = sum(lost[arrival.id, "duplicate"] for arrival in now)
        accounts.append(
            PullAccount(
                number=pull.number,
                committed_at=pull.committed_at,
                records=pull.records,
                mapped=sum(arrival.landed or 0 for arrival in now) - superseded - equal,
                non_event=sum(arrival.non_event or 0 for arrival in now)
                + sum(part["rows"] for part, arrival in found if arrival is None),
                superseded=superseded,
                duplicate=pull.duplicate + equal,
                quarantined=sum(arrival.quarantined or 0 for arrival in now),
                schema_changes=pull.schema_changes,
            )
        )
    return accounts


def _newest(arrival: Arrival, successors: dict[str, Arrival]) -> Arrival:
    while arrival.id in successors:
        arrival = successors[arrival.id]
    return arrival


def _lost(connection: Connection, workspace_id: str) -> Counter[tuple[str, str]]:
    """By (arrival, kind), the landed rows that the last refresh found to be another version, or a copy, of a record."""
    job = jobs.standing_job(connection, workspace_id)
    rows = Counter[tuple[str, str]]()
    for file in staging.staged_files(connection, workspace_id, job.id, "events").values():
        for entry in file.stats.get("lost", ()):
            rows[entry["arrival_id"], entry["kind"]] += entry["rows"]
    return rows
