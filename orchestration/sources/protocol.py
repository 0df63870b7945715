"""What a connector type is: a module with ``Config``, ``check``, ``discover``, ``read`` and ``mappings``.

Times are UTC throughout. A type raises ``orchestration.sources.errors`` and nothing else that is meant for people.
"""

from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, ClassVar, Protocol

import pyarrow as pa
from pydantic import AwareDatetime, BaseModel, ConfigDict, PositiveInt

from orchestration.connectors.mapping import Mapping as EventMapping
from orchestration.sources.redaction import Redactor

State = dict[str, Any]
"""How far a connector has come, as its type notes it: JSON, without secrets."""


class SourceConfig(BaseModel):
    """What the configuration of every type has. A field of type ``SecretStr`` is a secret: it is kept apart, sealed.

    Attributes:
        start: What the source changed before is not pulled; None: everything is.
        every_minutes: How often the connector is synced.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    secrets_go_to: ClassVar[tuple[str, ...]] = ()
    """Fields that say where secrets are sent: whoever changes one must give the secrets again."""

    start: AwareDatetime | None = None
    every_minutes: PositiveInt = 60


@dataclass(frozen=True)
class Stream:
    """One kind of record that a source has.

    Attributes:
        columns: (name, the source's own type) in the source's order.
        key: Columns that identify a record.
        cursors: Columns that tell what is new, best first.
    """

    name: str
    columns: tuple[tuple[str, str], ...]
    key: tuple[str, ...] = ()
    cursors: tuple[str, ...] = ()


@dataclass(frozen=True)
class StreamCheck:
    """How a configured stream is. ``problem`` keeps it from being pulled, and says what to do."""

    stream: str
    problem: str | None = None


@dataclass(frozen=True)
class Window:
    """Records that changed at ``start`` or later (None: ever), and before ``end``."""

    start: datetime | None
    end: datetime


@dataclass(frozen=True)
class Page:
    """Some records of one stream, in the source's order.

    Attributes:
        stream: Its name.
        columns: Each column with the source's own type.
        records: The records, every value as text.
        cursors: int64, where each record stands in its stream: microseconds since 1970 UTC, or a number.
        deleted: bool, whether each is the tombstone of a deleted or merged record; None: none is.
    """

    stream: str
    columns: Mapping[str, str]
    records: pa.RecordBatch
    cursors: pa.Array
    deleted: pa.Array | None = None


@dataclass(frozen=True)
class Checkpoint:
    """All pages so far belong together: they are landed, and the next read goes on from ``state``.

    Attributes:
        state: What ``read`` is to be given next.
        reread_from: By stream, the cursor from which on the next read gives records again that it gave before.
        request: What was asked of the source, for the manifest: windows, queries. No secret.
    """

    state: State
    reread_from: Mapping[str, int] = field(default_factory=dict)
    request: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Context:
    """What a type is given to reach its source.

    Attributes:
        address: The address to connect to for (host, port); raises ``ConfigurationError`` for one inside.
        redactor: Takes secrets out of text. A type adds what it is given on the way, such as tokens.
        internal_hosts: Hosts that the operator has named: they may be spoken to in clear.
    """

    address: Callable[[str, int], str]
    redactor: Redactor
    internal_hosts: frozenset[str] = frozenset()


class SourceType(Protocol):
    """A module in ``orchestration.sources.types``."""

    Config: type[SourceConfig]

    def check(self, config: Any, context: Context) -> list[StreamCheck]:
        """How each configured stream is. Raises ``SourceError`` where the source cannot be reached at all."""

    def discover(self, config: Any, context: Context) -> list[Stream]:
        """The streams that could be configured."""

    def read(
        self, config: Any, window: Window, state: State | None, context: Context
    ) -> Generator[Page | Checkpoint]:
        """The records of the window that ``state`` does not cover, ending with a checkpoint."""

    def mappings(self, config: Any) -> dict[str, EventMapping]:
        """By stream, how its records are events; the records of other streams are none."""
