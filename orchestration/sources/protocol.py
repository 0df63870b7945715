"""What a connector type is: a module with ``Config`` and the functions of ``SourceType``.

Times are UTC throughout. A type raises ``orchestration.sources.errors`` and nothing else that is meant for people.
"""

from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, ClassVar, Protocol

import pyarrow as pa
from pydantic import AwareDatetime, BaseModel, ConfigDict, NonNegativeInt, PositiveInt

from orchestration.connectors.mapping import Mapping as EventMapping
from orchestration.connectors.personal import Personal as Personal  # of a type's interface
from orchestration.sources.redaction import Redactor

State = dict[str, Any]
"""How far a connector has come, as its type notes it: JSON, without secrets."""


class Same(BaseModel):
    """A column that names another record of the same person or thing.

    Attributes:
        column: Its value is the other record's native id; null says nothing.
        system: The system of the other record.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    column: str
    system: str


class PersonOf(BaseModel):
    """Two columns that name an object of the process and a person who belongs to it, both of the stream's system."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    object: str
    person: str


class ObjectTimes(BaseModel):
    """The records are objects of the process, such as opportunities, and so are cases: with events of their persons.

    Attributes:
        opened: Column of when the object was opened, ISO 8601 in UTC.
        closed: Column of when it was closed; null while it is open.
        before_days: How long before it was opened its persons' events lead up to it.
        after_days: How long after it was closed they still belong to it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    opened: str
    closed: str
    before_days: NonNegativeInt = 180
    after_days: NonNegativeInt = 0


class Identity(BaseModel):
    """What the records of a stream say of who is who; every name is a column of the stream, as it was landed.

    Attributes:
        system: The system of the record that a row speaks of, as its events name it.
        record: Its native id.
        key: Columns that identify a row: the newest version counts.
        same: Other records of the same person or thing: vendors' ids.
        keys: Columns with keyed hashes that the records of one person share (``Personal``'s ``email``).
        persons: Who belongs to which object.
        object: The rows are objects of the process.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    system: str
    record: str
    key: tuple[str, ...]
    same: tuple[Same, ...] = ()
    keys: tuple[str, ...] = ()
    persons: tuple[PersonOf, ...] = ()
    object: ObjectTimes | None = None


class SourceConfig(BaseModel):
    """What the configuration of every type has. A field of type ``SecretStr`` is a secret: it is kept apart, sealed.

    Attributes:
        start: What the source changed before is not pulled; None: everything is.
        every_minutes: How often the connector is synced.
        personal: By stream and column what becomes of personal fields, where it is not what the type says.
        identity: By stream what its records say of who is who, in place of what the type says.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    secrets_go_to: ClassVar[tuple[str, ...]] = ()
    """Fields that say where secrets are sent: whoever changes one must give the secrets again."""

    start: AwareDatetime | None = None
    every_minutes: PositiveInt = 60
    personal: dict[str, dict[str, Personal]] = {}
    identity: dict[str, Identity] = {}


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
    """How a configured stream is.

    Attributes:
        problem: Keeps it from being pulled, and says what to do.
        columns: Those that it has, as its pages name them; None if the type does not know before it reads.
    """

    stream: str
    problem: str | None = None
    columns: tuple[str, ...] | None = None


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

    def personal(self, config: Any) -> dict[str, dict[str, Personal]]:
        """By stream, the columns that hold personal data, and what becomes of them unless the configuration differs."""

    def identity(self, config: Any) -> dict[str, Identity]:
        """By stream, what its records say of who is who; the records of other streams say nothing."""
