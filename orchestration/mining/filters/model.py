"""The filters that an analysis may have, as a versioned JSON schema: what each says about a case.

A filter is true or false of a whole case; no filter cuts events out of one. Times are UTC, ranges of time are
half-open, ranges of numbers include both ends. Not here: how a filter is carried out (``sql``).
"""

from datetime import UTC, datetime
from typing import Annotated, Literal, Self

from pydantic import AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

MOST_VALUES = 10_000
MOST_FILTERS = 200

Number = Annotated[float, Field(allow_inf_nan=False)]
Count = Annotated[int, Field(ge=0)]


def _one_or_many(value: object) -> object:
    return [value] if isinstance(value, str) else value


Names = Annotated[tuple[str, ...], BeforeValidator(_one_or_many), Field(min_length=1, max_length=MOST_VALUES)]
"""One name or several."""


class _Filter(BaseModel):
    model_config = ConfigDict(
        frozen=True, extra="forbid", populate_by_name=True, use_attribute_docstrings=True
    )


class TimeFilter(_Filter):
    """Where a case lies in time, ``from`` <= t < ``to``."""

    kind: Literal["time"]
    mode: Literal["contained", "intersecting", "started", "ended"]
    """contained: all its events are inside; intersecting: it began before ``to`` and ended at ``from`` or later;
    started: its first event is inside; ended: its last event is inside."""

    start: AwareDatetime | None = Field(None, alias="from")
    """The beginning, with its offset from UTC; without it there is none."""

    end: AwareDatetime | None = Field(None, alias="to")
    """The end, excluded; without it there is none."""

    @model_validator(mode="after")
    def _is_a_range(self) -> Self:
        if self.start is None and self.end is None:
            raise ValueError("give 'from', 'to' or both, such as 2025-01-01T00:00:00Z")
        if self.start and self.end and self.start >= self.end:
            raise ValueError("'from' must be before 'to'")
        return self

    @property
    def bounds(self) -> tuple[datetime | None, datetime | None]:
        """``from`` and ``to`` as naive UTC, as the event log has its times."""
        start, end = (
            None if moment is None else moment.astimezone(UTC).replace(tzinfo=None)
            for moment in (self.start, self.end)
        )
        return start, end


class ActivitiesFilter(_Filter):
    """Whether the case has activities."""

    kind: Literal["activities"]
    mode: Literal["with", "without"]
    """with: it has them; without: it has none of them."""

    activities: Names
    """One name or several."""

    match: Literal["any", "all"] = "any"
    """For mode ``with``: at least one of them, or each."""

    @model_validator(mode="after")
    def _without_has_one_meaning(self) -> Self:
        if self.mode == "without" and self.match == "all":
            raise ValueError("'match' is for mode 'with'; 'without' means none of the activities")
        return self


class FollowsFilter(_Filter):
    """One activity of ``from`` is followed by one of ``to``."""

    kind: Literal["follows"]
    mode: Literal["eventually", "directly"]
    """eventually: anywhere later; directly: as the next event."""

    source: Names = Field(alias="from")
    """The earlier activity, one name or several."""

    target: Names = Field(alias="to")
    """The later activity, one name or several."""


class StartActivityFilter(_Filter):
    """The first event's activity is one of these."""

    kind: Literal["start_activity"]
    activities: Names
    """One name or several."""


class EndActivityFilter(_Filter):
    """The last event's activity is one of these."""

    kind: Literal["end_activity"]
    activities: Names
    """One name or several."""


class AttributeFilter(_Filter):
    """An attribute's value: one of ``in``, a number from ``min`` to ``max``, or missing (``null``)."""

    kind: Literal["attribute"]
    level: Literal["case", "event"] = "case"
    """case: the value at the case's first event; event: at any of its events."""

    name: Annotated[str, Field(min_length=1)]
    """The attribute."""

    values: Names | None = Field(None, alias="in")
    """The value is one of these texts."""

    min: Number | None = None
    """It is this number or a larger one. A value that is no number is in no range."""

    max: Number | None = None
    """It is this number or a smaller one."""

    null: bool | None = None
    """true: the value is missing or an empty text (level event: at every event); false: there is one."""

    @model_validator(mode="after")
    def _has_one_condition(self) -> Self:
        ranged = self.min is not None or self.max is not None
        if (self.values is not None) + ranged + (self.null is not None) != 1:
            raise ValueError("give one condition: 'in', 'min'/'max' or 'null'")
        _check_range(self.min, self.max)
        return self


class PerformerFilter(_Filter):
    """Some event was done by one of these: a resource, a role, an organisational unit, or in one of these systems."""

    kind: Literal["resource"]
    column: Literal["resource_id", "role", "org_unit", "system"] = "resource_id"
    """Where the values are looked for."""

    values: Names = Field(alias="in")
    """One value or several."""


class VariantsFilter(_Filter):
    """The case's path is one of the most frequent ones.

    Of the cases that the filters before this one have left; of equally frequent variants, the smaller hash first.
    """

    kind: Literal["variants"]
    top: Annotated[int, Field(ge=1)] | None = None
    """So many variants."""

    coverage: Annotated[float, Field(gt=0, le=1)] | None = None
    """So many that they cover this share of the cases."""

    @model_validator(mode="after")
    def _has_one_measure(self) -> Self:
        if (self.top is None) == (self.coverage is None):
            raise ValueError("give either 'top' or 'coverage'")
        return self


class CycleTimeFilter(_Filter):
    """Seconds from the first to the last event; of work, where the analysis has a calendar."""

    kind: Literal["cycle_time"]
    min_seconds: Annotated[Number, Field(ge=0)] | None = None
    """At least so many."""

    max_seconds: Annotated[Number, Field(ge=0)] | None = None
    """At most so many."""

    @model_validator(mode="after")
    def _is_a_range(self) -> Self:
        _need_range(self.min_seconds, self.max_seconds, "min_seconds", "max_seconds")
        return self


class CaseSizeFilter(_Filter):
    """The number of events of a case."""

    kind: Literal["case_size"]
    min: Count | None = None
    """At least so many."""

    max: Count | None = None
    """At most so many."""

    @model_validator(mode="after")
    def _is_a_range(self) -> Self:
        _need_range(self.min, self.max, "min", "max")
        return self


class StateFilter(_Filter):
    """The case's state under the analysis's completion rule."""

    kind: Literal["state"]
    states: Annotated[
        tuple[Literal["completed", "open", "left_cut"], ...],
        BeforeValidator(_one_or_many),
        Field(min_length=1),
    ] = Field(alias="in")
    """One state or several."""


class AllFilter(_Filter):
    """Every one of these holds."""

    kind: Literal["all"]
    of: Annotated[tuple["Filter", ...], Field(min_length=1, max_length=MOST_FILTERS)]
    """The filters."""


class AnyFilter(_Filter):
    """At least one of these holds."""

    kind: Literal["any"]
    of: Annotated[tuple["Filter", ...], Field(min_length=1, max_length=MOST_FILTERS)]
    """The filters."""


class NotFilter(_Filter):
    """This does not hold."""

    kind: Literal["not"]
    of: "Filter"
    """The filter."""


Filter = Annotated[
    TimeFilter
    | ActivitiesFilter
    | FollowsFilter
    | StartActivityFilter
    | EndActivityFilter
    | AttributeFilter
    | PerformerFilter
    | VariantsFilter
    | CycleTimeFilter
    | CaseSizeFilter
    | StateFilter
    | AllFilter
    | AnyFilter
    | NotFilter,
    Field(discriminator="kind"),
]

Filters = Annotated[tuple[Filter, ...], Field(max_length=MOST_FILTERS)]
"""Applied one after the other: each sees the cases that those before it have left."""


def _check_range(low: float | None, high: float | None) -> None:
    if low is not None and high is not None and low > high:
        raise ValueError(f"the range is empty: {low} is above {high}")


def _need_range(low: float | None, high: float | None, low_name: str, high_name: str) -> None:
    if low is None and high is None:
        raise ValueError(f"give '{low_name}', '{high_name}' or both")
    _check_range(low, high)


for model in (AllFilter, AnyFilter, NotFilter):
    model.model_rebuild()
