"""Records of an object as pages: those that are events, and apart from them, under a name of their own, the others."""

from collections.abc import Mapping

import pyarrow as pa
import pyarrow.compute as pc

from orchestration.sources.errors import TransientError
from orchestration.sources.protocol import Page
from orchestration.sources.types.salesforce.config import Config
from orchestration.sources.types.salesforce.events import (
    ACTIVITY,
    CLOSED,
    EVENT_COLUMNS,
    RULES,
    closed_at,
    event_columns,
)
from orchestration.sources.types.salesforce.objects import Selected
from orchestration.sources.types.salesforce.standard import OTHER
from orchestration.sources.types.salesforce.values import microseconds

HIDDEN = "hidden"
"""The type of a column that the org does not show to the app's user: null throughout."""

_COMPUTED = "computed"


def stream_columns(source: Selected) -> dict[str, dict[str, str]]:
    """By stream the columns of an object's pages, with their types."""
    own = source.fields | dict.fromkeys(source.missing, HIDDEN)
    if source.name == "Opportunity":
        own[CLOSED] = _COMPUTED
    rule = RULES.get(source.name)
    if rule is None:
        return {source.name: own}
    events = {source.name: own | dict.fromkeys(EVENT_COLUMNS, _COMPUTED)}
    return events | {source.name + OTHER: own} if rule.others else events


def pages_of(
    source: Selected, columns: Mapping[str, pa.Array], config: Config, is_event: pa.Array | None = None
) -> list[Page]:
    """Pages of records; of deleted ones the stream is that of the events.

    Args:
        source: The object.
        columns: What was asked for.
        config: The connector's.
        is_event: Which records may be events (bool); None: all.

    Raises:
        TransientError: the cursor of a record is no time.
    """
    rows = len(columns["Id"])
    if not rows:
        return []
    made = dict(columns) | {name: pa.nulls(rows, pa.string()) for name in source.missing}
    cursors = cursors_of(made[source.cursor])
    gone = pc.equal(made["IsDeleted"], "true") if source.has_deleted else pa.nulls(rows, pa.bool_())
    gone = pc.fill_null(gone, False)
    if source.name == "Opportunity":
        made[CLOSED] = closed_at(made)
    which = {source.name: pa.repeat(True, rows)}
    if source.name in RULES:
        made |= event_columns(source.name, made, cursors, config)
        is_told = pc.is_valid(made[ACTIVITY])
        own = pc.or_(gone, is_told if is_event is None else pc.and_(is_told, is_event))
        which = {source.name: own, source.name + OTHER: pc.invert(own)}
    return [
        Page(
            stream,
            kinds,
            pa.record_batch([made[name] for name in kinds], list(kinds)).filter(which[stream]),
            cursors.filter(which[stream]),
            gone.filter(which[stream]),
        )
        for stream, kinds in stream_columns(source).items()
        if pc.any(which[stream]).as_py()
    ]


def cursors_of(times: pa.Array) -> pa.Array:
    """Times as cursors.

    Raises:
        TransientError: one is none.
    """
    try:
        return microseconds(times)
    except pa.ArrowInvalid as error:
        raise TransientError(f"Salesforce gave a time that is none: {error}") from None
