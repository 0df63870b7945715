"""``/sobjects/X/deleted`` and ``/updated``: what changed within a window, by whole minutes."""

from datetime import datetime, timedelta

from casetrail_testkit.clock import WITH_MILLISECONDS, instant_of
from casetrail_testkit.messages import Request, Response, json_response
from casetrail_testkit.salesforce.catalog import SObject
from casetrail_testkit.salesforce.errors import refuse
from casetrail_testkit.salesforce.store import RECYCLE_BIN, SalesforceStore
from casetrail_testkit.tables import quoted

OLDEST_UPDATE = timedelta(days=30)
MOST_IDS = 600_000


def deleted(store: SalesforceStore, request: Request, name: str) -> Response:
    """Answer ``/deleted``: the ids of records that were deleted or merged away in [start, end).

    Raises:
        Refusal: For an unknown object, a window that is none or too old, or too many ids.
    """
    definition = _replicated(store, name)
    start, end = _window(store, request, RECYCLE_BIN)
    earliest = max(store.log_begins.get(definition.name, start), store.clock.now() - RECYCLE_BIN)
    rows = list(
        store.tables.read(
            f"select Id, _deleted_at from {quoted(definition.name)}"
            " where _deleted_at >= ? and _deleted_at >= ? and _deleted_at < ? order by _deleted_at, Id limit ?",
            [*(instant.strftime(WITH_MILLISECONDS) for instant in (start, earliest, end)), MOST_IDS + 1],
        )
    )
    _require_few(len(rows))
    return json_response(
        {
            "deletedRecords": [{"id": record, "deletedDate": _offset(at)} for record, at in rows],
            "earliestDateAvailable": _shown(_minute(earliest)),
            "latestDateCovered": _shown(_covered(store, end)),
        }
    )


def updated(store: SalesforceStore, request: Request, name: str) -> Response:
    """Answer ``/updated``: the ids of records that were made or changed in [start, end) and are not deleted.

    Raises:
        Refusal: As for ``/deleted``.
    """
    definition = _replicated(store, name)
    start, end = _window(store, request, OLDEST_UPDATE)
    rows = list(
        store.tables.read(
            f"select Id from {quoted(definition.name)} where {store.visible(definition, False)}"
            " and SystemModstamp >= ? and SystemModstamp < ? order by SystemModstamp, Id limit ?",
            [*(instant.strftime(WITH_MILLISECONDS) for instant in (start, end)), MOST_IDS + 1],
        )
    )
    _require_few(len(rows))
    covered = _shown(_covered(store, end))
    return json_response({"ids": [record for (record,) in rows], "latestDateCovered": covered})


def _replicated(store: SalesforceStore, name: str) -> SObject:
    definition = store.objects.get(name.lower())
    if definition is None:
        raise refuse(404, "NOT_FOUND", "The requested resource does not exist")
    if not definition.has("SystemModstamp"):
        raise refuse(400, "INVALID_TYPE_FOR_OPERATION", f"{definition.name} is not replicateable")
    return definition


def _window(store: SalesforceStore, request: Request, oldest: timedelta) -> tuple[datetime, datetime]:
    """Start and end without their seconds."""
    try:
        start, end = (_minute(instant_of(request.query[name])) for name in ("start", "end"))
    except (KeyError, ValueError) as error:
        raise refuse(
            400, "INVALID_REPLICATION_DATE", f"start and end must be ISO 8601 times: {error}"
        ) from error
    if end <= start:
        raise refuse(400, "INVALID_REPLICATION_DATE", "the end must be at least a minute after the start")
    if start < _minute(store.clock.now() - oldest):
        raise refuse(400, "INVALID_REPLICATION_DATE", f"the start may be {oldest.days} days ago at most")
    return start, end


def _covered(store: SalesforceStore, end: datetime) -> datetime:
    """Until when the answer is complete: a transaction that began then may still be open."""
    open_since = store.tables.oldest_uncommitted()
    return _minute(min(instant for instant in (end, store.clock.now(), open_since) if instant is not None))


def _require_few(count: int) -> None:
    if count > MOST_IDS:
        raise refuse(400, "EXCEEDED_ID_LIMIT", f"more than {MOST_IDS} ids: ask for a shorter window")


def _minute(instant: datetime) -> datetime:
    return instant.replace(second=0, microsecond=0)


def _shown(instant: datetime) -> str:
    return _offset(instant.strftime(WITH_MILLISECONDS))


def _offset(stamp: str) -> str:
    return stamp.removesuffix("Z") + "+0000"
