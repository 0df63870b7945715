"""Deletes that a query does not show any more: of records that have left the recycle bin."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from orchestration.sources.errors import TransientError
from orchestration.sources.types.salesforce import rest
from orchestration.sources.types.salesforce.errors import TooManyIds
from orchestration.sources.types.salesforce.objects import instant
from orchestration.sources.types.salesforce.org import Org
from orchestration.sources.types.salesforce.values import with_suffix

OLDEST = timedelta(days=15)
"""Further back an org does not tell of deletes."""

MINUTE = timedelta(minutes=1)


@dataclass(frozen=True)
class Deletes:
    """What an org tells of the deletes of an object.

    Attributes:
        purged: Id and time of the records that are in no recycle bin.
        were_any: Whether there were others too.
        covered: Until when the answer is complete.
        gap: From when to when nothing is told; None: of no time.
    """

    purged: list[tuple[str, datetime]]
    were_any: bool
    covered: datetime
    gap: tuple[datetime, datetime] | None


def deletes(org: Org, name: str, since: datetime) -> Deletes | None:
    """The deletes of an object since then; None if a whole minute has not passed."""
    start = max(since, minute(org.now - OLDEST) + MINUTE)
    end = minute(org.now)
    if end <= start:
        return None
    document, covered = _asked(org, name, start, end)
    found = [(with_suffix(str(one["id"])), _time(one["deletedDate"])) for one in document["deletedRecords"]]
    begins = max(start, _time(document["earliestDateAvailable"]))
    there = _in_bin(org, name, [record for record, _at in found])
    return Deletes(
        [(record, at) for record, at in found if record not in there],
        bool(found),
        covered,
        (since, begins) if begins > since + MINUTE else None,
    )


def _asked(org: Org, name: str, start: datetime, end: datetime) -> tuple[dict[str, Any], datetime]:
    """An answer, of a shorter window where a long one would have too many ids."""
    while True:
        try:
            document = org.get(f"sobjects/{name}/deleted", start=instant(start), end=instant(end))
            covered = _time(document["latestDateCovered"])
            for one in document["deletedRecords"]:
                _time(one["deletedDate"])
            return document, min(covered, end)
        except TooManyIds:
            end = minute(start + (end - start) / 2)
            if end <= start:
                raise
        except (KeyError, TypeError, ValueError):
            raise TransientError("Salesforce told of deletes in a way that is not known.") from None


def _in_bin(org: Org, name: str, ids: list[str]) -> set[str]:
    """Those of the records that a query still shows: it gives them as tombstones with all their fields."""
    found = set()
    for some in _chunks(ids):
        listed = ", ".join(f"'{one}'" for one in some if one.isalnum())
        for _total, rows in rest.pages(org, f"SELECT Id FROM {name} WHERE Id IN ({listed})"):
            found |= {with_suffix(str(row.get("Id"))) for row in rows}
    return found


def _chunks(ids: list[str]) -> Iterator[list[str]]:
    for start in range(0, len(ids), rest.IDS_AT_ONCE):
        yield ids[start : start + rest.IDS_AT_ONCE]


def _time(text: Any) -> datetime:
    return datetime.fromisoformat(str(text)).astimezone(UTC)


def minute(moment: datetime) -> datetime:
    """The whole minute before."""
    return moment.replace(second=0, microsecond=0)
