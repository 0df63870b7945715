"""``salesforce``: an org's objects by REST and Bulk API 2.0, and the events that they and their histories tell.

An object is read from the newest record that was seen, less an overlap, until a little before the org's own time; what
was deleted meanwhile comes as tombstones. ``reading`` has the rules by which nothing is lost or doubled.
"""

from collections.abc import Generator, Iterator
from typing import Any

from orchestration.connectors.mapping import Mapping as EventMapping
from orchestration.sources.errors import QuotaExhausted, TransientError
from orchestration.sources.http import SourceClient
from orchestration.sources.protocol import (
    Checkpoint,
    Context,
    Identity,
    Page,
    Personal,
    State,
    Stream,
    StreamCheck,
    Window,
)
from orchestration.sources.types.salesforce.config import Config
from orchestration.sources.types.salesforce.errors import StreamRefused
from orchestration.sources.types.salesforce.events import event_mappings
from orchestration.sources.types.salesforce.objects import (
    described,
    object_names,
    require_known,
    selected,
    stream_names,
    within,
)
from orchestration.sources.types.salesforce.org import Org
from orchestration.sources.types.salesforce.pages import stream_columns
from orchestration.sources.types.salesforce.people import identities
from orchestration.sources.types.salesforce.reading import Left, Reader
from orchestration.sources.types.salesforce.standard import OTHER, PERSONAL, STANDARD

__all__ = ["Config", "check", "discover", "identity", "mappings", "personal", "read"]

CHECKPOINT_ROWS = 50_000
"""So many are read again at most after a crash."""

REFUSED_PAUSE = 3_600.0
"""Seconds until an object that may not be read is tried again."""


def check(config: Config, context: Context) -> list[StreamCheck]:
    """Whether each object can be read, and which of its records are new be told."""
    require_known(config)
    with SourceClient(context) as client:
        org = Org(client, config, context)
        return [one for name in stream_names(org, config) for one in _checked(org, config, name)]


def discover(config: Config, context: Context) -> list[Stream]:
    """The objects that the app's user may query; of the standard and configured ones the fields too."""
    with SourceClient(context) as client:
        org = Org(client, config, context)
        return [_discovered(org, config, name) for name in object_names(org)]


def mappings(config: Config) -> dict[str, EventMapping]:
    """How the records of leads, opportunities, cases, their histories and activities are events."""
    return event_mappings(config)


def personal(_config: Config) -> dict[str, dict[str, Personal]]:
    """Names, addresses and numbers of people are not even asked for; mail addresses link, as keyed hashes."""
    return PERSONAL


def identity(config: Config) -> dict[str, Identity]:
    """Merges, conversions, roles and mail addresses, and the links of the configuration."""
    return identities(config)


def read(
    config: Config, window: Window, state: State | None, context: Context
) -> Generator[Page | Checkpoint]:
    """Each object from where it was left. ``state`` has a ``Left`` for each.

    What was read is kept when a read ends early: because of a quota, or of what may go away by itself. An object that
    may not be read holds up no other.
    """
    require_known(config)
    with SourceClient(context) as client:
        reading = _Reading(Org(client, config, context), config, window, dict(state or {}))
        try:
            yield from reading.steps()
        except (TransientError, QuotaExhausted):
            yield reading.checkpoint()
            raise
        yield reading.checkpoint()
        if reading.refused:
            told = " ".join(f"{name}: {problem}" for name, problem in reading.refused.items())
            raise TransientError(f"What else there is has been read. {told}", REFUSED_PAUSE)


class _Reading:
    """A read of all objects.

    Attributes:
        refused: Objects that may not be read, with what to do.
    """

    def __init__(self, org: Org, config: Config, window: Window, state: State) -> None:
        self._org, self._config, self._window, self._state = org, config, window, state
        self._reread_from: dict[str, int] = {}
        self._request: dict[str, Any] = {}
        self.refused: dict[str, str] = {}

    def steps(self) -> Iterator[Page | Checkpoint]:
        unsaved = 0
        for name in stream_names(self._org, self._config):
            reader = None
            try:
                reader = self._reader(name)
                for pages in reader.steps():
                    self._note(name, reader)
                    yield from pages
                    unsaved += sum(page.records.num_rows for page in pages)
                    if unsaved >= CHECKPOINT_ROWS:
                        yield self.checkpoint()
                        unsaved = 0
            except StreamRefused as error:
                self.refused[name] = str(error)
            finally:
                if reader is not None:
                    self._note(name, reader)

    def checkpoint(self) -> Checkpoint:
        return Checkpoint(dict(self._state), dict(self._reread_from), dict(self._request))

    def _reader(self, name: str) -> Reader:
        source = selected(described(self._org, name), self._config)
        left = self._state.get(name)
        return Reader(self._org, self._config, source, self._window, left and Left.model_validate(left))

    def _note(self, name: str, reader: Reader) -> None:
        """Keep where a reader has come to. One that has found nothing yet leaves nothing."""
        self._request[name] = reader.request
        if reader.left.newest is None and reader.left.job is None:
            self._state.pop(name, None)
            return
        self._state[name] = reader.left.model_dump(mode="json", exclude_none=True)
        if reader.reread_from is not None:
            self._reread_from |= dict.fromkeys((name, name + OTHER), reader.reread_from)


def _checked(org: Org, config: Config, name: str) -> list[StreamCheck]:
    """An object's stream, and beside it that of its records that are no events."""
    try:
        source = selected(described(org, name), config)
        window = within(source.cursor, None, org.now)
        org.get("queryAll", q=f"SELECT Id, {source.cursor} FROM {name} WHERE {window} LIMIT 1")
    except StreamRefused as error:
        return [StreamCheck(name, str(error))]
    return [StreamCheck(stream, None, tuple(columns)) for stream, columns in stream_columns(source).items()]


def _discovered(org: Org, config: Config, name: str) -> Stream:
    if name not in (*STANDARD, *config.streams):
        return Stream(name, ())
    found = described(org, name)
    columns = tuple(
        (
            str(field["name"]),
            f"{field['type']}, calculated" if field.get("calculated") else str(field["type"]),
        )
        for field in found.fields
    )
    return Stream(name, columns, ("Id",), found.cursors)
