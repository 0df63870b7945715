"""What an org says of an object, and which of its fields are asked for."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from orchestration.sources.errors import ConfigurationError, TransientError
from orchestration.sources.types.salesforce.config import Config
from orchestration.sources.types.salesforce.errors import StreamRefused
from orchestration.sources.types.salesforce.events import COMPUTED, needed_fields
from orchestration.sources.types.salesforce.org import Org
from orchestration.sources.types.salesforce.standard import NEVER, PERSONAL, STANDARD

CURSORS = ("SystemModstamp", "LastModifiedDate", "CreatedDate")
"""What tells which records are new, best first."""

_NEVER_TYPES = ("address", "location", "base64", "complexvalue")
"""Bulk has none of them; the parts of compounds are fields of their own."""

_BY_NAME_ONLY = ("textarea", "encryptedstring")
"""Long texts are asked for if they are named: people write anything into them, mails too."""


@dataclass(frozen=True)
class SObject:
    """An object of an org.

    Attributes:
        fields: Those that could be read, as describe tells them.
        replicates: Whether its deletes can be asked for.
    """

    name: str
    fields: tuple[Mapping[str, Any], ...]
    replicates: bool

    @property
    def cursors(self) -> tuple[str, ...]:
        """The fields that tell what is new and that can be filtered by, best first."""
        filterable = {field["name"] for field in self.fields if field.get("filterable")}
        return tuple(name for name in CURSORS if name in filterable)

    def types(self) -> dict[str, str]:
        """Field to type."""
        return {str(field["name"]): str(field["type"]) for field in self.fields}


@dataclass(frozen=True)
class Selected:
    """An object with the fields that are read of it.

    Attributes:
        fields: What is asked for with each one's type; ``CreatedBy.Name`` is a field of the record behind CreatedById.
        missing: Columns that events need and the org does not show to the app's user; they are null.
    """

    object: SObject
    fields: dict[str, str]
    missing: tuple[str, ...]
    cursor: str

    @property
    def name(self) -> str:
        """The object's."""
        return self.object.name

    @property
    def has_deleted(self) -> bool:
        """Whether deleted records are shown for a while."""
        return "IsDeleted" in self.fields

    def query(self, low: datetime | None, high: datetime, *, ordered: bool) -> str:
        """SOQL of the records from ``low`` on and before ``high``."""
        order = f" ORDER BY {self.cursor}, Id" if ordered else ""
        return (
            f"SELECT {', '.join(self.fields)} FROM {self.name} WHERE {within(self.cursor, low, high)}{order}"
        )

    def count(self, low: datetime | None, high: datetime) -> str:
        """SOQL of how many they are."""
        return f"SELECT count() FROM {self.name} WHERE {within(self.cursor, low, high)}"

    def oldest(self, high: datetime) -> str:
        """SOQL of the cursor of the oldest record."""
        return (
            f"SELECT {self.cursor} FROM {self.name} WHERE {within(self.cursor, None, high)} "
            f"ORDER BY {self.cursor} LIMIT 1"
        )


def within(cursor: str, low: datetime | None, high: datetime) -> str:
    """SOQL of a window: closed at the left, since many records have one second, and open at the right."""
    begin = f"{cursor} >= {instant(low)} AND " if low else ""
    return f"{begin}{cursor} < {instant(high)}"


def instant(moment: datetime) -> str:
    """A time (UTC) as SOQL has it, to the millisecond, without a + that an address would have to encode."""
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{moment.microsecond // 1000:03}Z"


def described(org: Org, name: str) -> SObject:
    """What the org says of an object.

    Raises:
        StreamRefused: it does not show it to the app's user.
    """
    document = org.get(f"sobjects/{name}/describe")
    try:
        fields = tuple(field for field in document["fields"] if field["type"] not in _NEVER_TYPES)
        if not document["queryable"]:
            raise StreamRefused(f"{name} cannot be queried.")
        shown = str(document["name"])
        if shown != name:
            raise StreamRefused(f"The org writes {name} as {shown}: so must the configuration.")
        never = NEVER.get(shown, frozenset())
        readable = tuple(field for field in fields if field["name"] not in never)
        return SObject(shown, readable, bool(document.get("replicateable")))
    except (KeyError, TypeError):
        raise TransientError(f"Salesforce describes {name} in a way that is not known.") from None


def object_names(org: Org) -> list[str]:
    """The objects that the app's user may query."""
    try:
        return [str(one["name"]) for one in org.get("sobjects")["sobjects"] if one["queryable"]]
    except (KeyError, TypeError):
        raise TransientError("Salesforce lists its objects in a way that is not known.") from None


def stream_names(org: Org, config: Config) -> list[str]:
    """The objects to read: the configured ones, or the standard ones that are there."""
    if config.streams:
        return list(config.streams)
    there = set(object_names(org))
    return [name for name in STANDARD if name in there]


def selected(found: SObject, config: Config) -> Selected:
    """An object with what is read of it.

    Raises:
        StreamRefused: nothing tells what of it is new, or a field that the configuration names is not there.
    """
    if not found.cursors:
        raise StreamRefused(
            f"None of {', '.join(CURSORS)} of {found.name} can be filtered by, so that nothing tells what is new."
        )
    types, links = found.types(), dict(config.linked(found.name))
    named = {*config.fields.get(found.name, ()), *config.personal.get(found.name, {}), *links}
    if unknown := sorted(named - {*types, *COMPUTED, *needed_fields(found.name, config)}):
        raise StreamRefused(f"{found.name} has no field {', '.join(unknown)} that may be read.")
    fields = {
        str(field["name"]): str(field["type"]) for field in found.fields if _is_read(found.name, field, named)
    }
    related = {path: "string" for path in needed_fields(found.name, config) if "." in path}
    there = {path: kind for path, kind in related.items() if f"{path.partition('.')[0]}Id" in types}
    fields |= there
    missing = [name for name in needed_fields(found.name, config) if name not in fields]
    return Selected(found, fields, tuple(missing), found.cursors[0])


def _is_read(name: str, field: Mapping[str, Any], named: Iterable[str]) -> bool:
    """Whether a field is read: not if it is dropped anyway, unless the configuration says what becomes of it."""
    if field["name"] in named or field["name"] in ("Id", *CURSORS):
        return True
    if PERSONAL.get(name, {}).get(field["name"]) == "drop":
        return False
    return not field.get("calculated") and field["type"] not in _BY_NAME_ONLY


def require_known(config: Config) -> None:
    """Check what the configuration says of streams that it does not read.

    Raises:
        ConfigurationError: it names one.
    """
    read = config.streams or STANDARD
    named = {*config.fields, *config.changes, *(link.partition(".")[0] for link in config.links)}
    if unknown := sorted(named - set(read)):
        raise ConfigurationError(
            f"The configuration names {', '.join(unknown)}, which are not among the streams."
        )
