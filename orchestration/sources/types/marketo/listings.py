"""What REST lists: deleted leads behind paging tokens, and the dimensions, which are read whole each time."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from orchestration.sources.errors import TransientError
from orchestration.sources.protocol import Page
from orchestration.sources.types.marketo.activity_types import ActivityTypes
from orchestration.sources.types.marketo.subscription import Subscription
from orchestration.sources.types.marketo.values import page, text_of, written

PROGRAMS_AT_ONCE = 200
TYPE_COLUMNS = ("id", "name", "description", "primaryAttribute", "attributes")
ASSET_COLUMNS = {
    "programs": (
        *("id", "name", "description", "type", "channel", "status", "workspace", "url", "folder"),
        *("createdAt", "updatedAt", "startDate", "endDate", "sfdcId", "sfdcName"),
    ),
    "campaigns": (
        *("id", "name", "description", "type", "active", "programId", "programName", "workspaceName"),
        *("createdAt", "updatedAt"),
    ),
}
"""The documented ones; what else an answer has follows them."""


def deleted_leads(subscription: Subscription, since: datetime) -> Iterator[list[dict[str, Any]]]:
    """The Delete Lead activities since a time (UTC), page by page. A page may be empty and not the last.

    Raises:
        Refused, QuotaExhausted, TransientError: it cannot be told now.
    """
    path = "/rest/v1/activities/pagingtoken.json"
    token = subscription.get(path, sinceDatetime=written(since)).get("nextPageToken")
    while True:
        if not token:
            raise TransientError("Marketo gave no paging token.")
        answer = subscription.get("/rest/v1/activities/deletedleads.json", nextPageToken=str(token))
        yield answer.get("result") or []
        if not answer.get("moreResult"):
            return
        token = answer.get("nextPageToken")


def programs(subscription: Subscription) -> Iterator[list[dict[str, Any]]]:
    """All programs, page by page."""
    offset = 0
    while True:
        answer = subscription.get(
            "/rest/asset/v1/programs.json", offset=str(offset), maxReturn=str(PROGRAMS_AT_ONCE)
        )
        found = answer.get("result") or []
        if found:
            yield found
        if len(found) < PROGRAMS_AT_ONCE:
            return
        offset += len(found)


def campaigns(subscription: Subscription) -> Iterator[list[dict[str, Any]]]:
    """All campaigns, page by page."""
    parameters: dict[str, str] = {}
    while True:
        answer = subscription.get("/rest/v1/campaigns.json", **parameters)
        if found := answer.get("result"):
            yield found
        if not answer.get("nextPageToken"):
            return
        parameters = {"nextPageToken": str(answer["nextPageToken"])}


def dimension_pages(
    subscription: Subscription, streams: Sequence[str], types: ActivityTypes
) -> Iterator[Page]:
    """The dimensions among the streams. All stand at cursor 0: what has not changed since is known again."""
    if "activity_types" in streams:
        yield _dimension("activity_types", TYPE_COLUMNS, [kind.document for kind in types.all])
    for stream, listed in (("programs", programs), ("campaigns", campaigns)):
        if stream in streams:
            for found in listed(subscription):
                yield _dimension(stream, ASSET_COLUMNS[stream], found)


def _dimension(stream: str, known: Sequence[str], records: Sequence[Mapping[str, Any]]) -> Page:
    columns = dict.fromkeys((*known, *(name for record in records for name in record)), "text")
    values = {name: [text_of(record.get(name)) for record in records] for name in columns}
    return page(stream, columns, values, [0] * len(records))
