"""Which column of a foreign file plays which part: what a ``csv_upload`` connector keeps in its ``config``.

No guessing here: ``suggest`` proposes, a person confirms, and what was confirmed is written down as a
``Mapping``.
"""

from collections.abc import Iterable

from pydantic import BaseModel, ConfigDict, Field, field_validator

from orchestration.connectors.errors import InvalidMapping
from orchestration.connectors.personal import Personal, spoilt_part
from orchestration.connectors.timestamps import check_format
from orchestration.connectors.zones import zone

COLUMN_FIELDS = (
    "case_id",
    "activity",
    "timestamp",
    "start_timestamp",
    "resource",
    "role",
    "org_unit",
    "lifecycle",
    "order",
)
"""Fields of a mapping that name one column."""


class Hints(BaseModel):
    """What a person has said about a file so far; any of it may be open.

    Attributes:
        system: The system that the records come from.
        case_id: Column of the case's id.
        activity: Column of the activity's name.
        timestamp: Column of the time of the event, or of its end if ``start_timestamp`` is mapped too.
        start_timestamp: Column of the time that the activity started.
        resource: Column of who did it.
        role: Column of the role in which they did it.
        org_unit: Column of the group or department.
        lifecycle: Column of the lifecycle transition (start, complete, ...).
        record_key: Columns that together identify a record, so that a second delivery replaces the first.
        order: Column that orders the events of a case that have the same time.
        timestamp_format: ``iso``, ``day-first``, ``month-first``, ``epoch-s``, ``epoch-ms`` or a strptime
            pattern such as ``%d.%m.%Y %H:%M``; None lets the data decide.
        timezone: IANA name of the zone of times that carry no offset.
        null: Values that mean "nothing" in mapped columns. None by default: a case called NA stays a case.
        delimiter: The one character between fields; None lets the data decide.
        encoding: The text encoding; None means the byte order mark's, else UTF-8.
        object_type: Objects of which type are the cases of an object-centric log; None where there is but one type.
        sheet: Which sheet of a workbook is the log; None where there is but one.
        personal: By column what becomes of personal values before anything is stored; what is kept is not in it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    system: str = "csv_upload"
    case_id: str | None = None
    activity: str | None = None
    timestamp: str | None = None
    start_timestamp: str | None = None
    resource: str | None = None
    role: str | None = None
    org_unit: str | None = None
    lifecycle: str | None = None
    record_key: tuple[str, ...] = ()
    order: str | None = None
    timestamp_format: str | None = None
    timezone: str | None = None
    null: tuple[str, ...] = ()
    delimiter: str | None = None
    encoding: str | None = None
    # Left out where they say nothing, so that a mapping without them is written as before there were any.
    object_type: str | None = Field(default=None, exclude_if=lambda value: value is None)
    sheet: str | None = Field(default=None, exclude_if=lambda value: value is None)
    personal: dict[str, Personal] = Field(default={}, exclude_if=lambda value: not value)

    @field_validator("personal")
    @classmethod
    def _without_kept(cls, rules: dict[str, Personal]) -> dict[str, Personal]:
        return {column: rule for column, rule in rules.items() if rule != "keep"}

    def check_options(self) -> None:
        """Check what can be checked without the file.

        Raises:
            InvalidMapping: The format, the zone or the delimiter is none.
        """
        if self.timezone is not None:
            zone(self.timezone)
        if self.timestamp_format is not None:
            check_format(self.timestamp_format)
        if self.delimiter is not None and (len(self.delimiter.encode()) != 1 or self.delimiter in '"\r\n'):
            raise InvalidMapping(
                f"{self.delimiter!r} is no delimiter. Give one ASCII character, such as , or ;"
            )

    def check_columns(self, columns: Iterable[str]) -> None:
        """Check that every column that is named is in the file.

        Raises:
            InvalidMapping: One is not.
        """
        columns = tuple(columns)
        for field, column in self.named_columns():
            if column not in columns:
                raise InvalidMapping(
                    f"The mapping's {field} names the column {column!r}, which the file does not have. "
                    f"Its columns: {', '.join(columns)}."
                )

    def check_personal(self, columns: Iterable[str] | None = None) -> None:
        """Check that events can be made of what is left of personal columns, and that ``columns`` has them, if given.

        Raises:
            InvalidMapping: They cannot, or one is not there: it may have been renamed.
        """
        there = None if columns is None else tuple(columns)
        if there is not None and (missing := [column for column in self.personal if column not in there]):
            raise InvalidMapping(
                f"personal names {', '.join(missing)}, which the file does not have. Was it renamed? "
                f"Its columns: {', '.join(there)}."
            )
        if problem := spoilt_part(self.named_columns(), self.personal):
            raise InvalidMapping(problem[0].upper() + problem[1:])

    def named_columns(self) -> list[tuple[str, str]]:
        """(field, column) for every column that is named."""
        named = [(field, getattr(self, field)) for field in COLUMN_FIELDS]
        return [(f, c) for f, c in named if c is not None] + [("record_key", c) for c in self.record_key]


class Mapping(Hints):
    """A complete mapping: case, activity and time are settled."""

    case_id: str
    activity: str
    timestamp: str
