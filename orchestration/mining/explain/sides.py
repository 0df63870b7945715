"""The two sides of a comparison, as a JSON schema: two periods, or two groups of cases that filters select.

Not here: what is told of them (``comparison``).
"""

from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from orchestration.mining.explain.window import months_before
from orchestration.mining.filters import Filters
from orchestration.mining.filters.model import TimeFilter

Month = Annotated[str, Field(pattern=r"^\d{4}-(0[1-9]|1[0-2])$")]


class Side(BaseModel):
    """Cases that started in the months ``from`` to ``to`` (both included) and pass the filters."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", populate_by_name=True, use_attribute_docstrings=True
    )

    name: Annotated[str, Field(min_length=1, max_length=100)] | None = None
    """What the side is called; needed with filters."""

    first: Month | None = Field(None, alias="from")
    """The first month, such as 2025-01."""

    last: Month | None = Field(None, alias="to")
    """The last month, included."""

    filters: Filters = ()
    """Which of the period's cases are on the side."""

    @model_validator(mode="after")
    def _selects_something(self) -> Self:
        if not self.filters and self.first is None and self.last is None:
            raise ValueError("give 'from' and 'to', such as 2025-01, or 'filters'")
        if self.first and self.last and self.first > self.last:
            raise ValueError("'from' must not be after 'to'")
        if self.filters and not self.name:
            raise ValueError("give a 'name' to cases that filters select")
        return self

    @property
    def label(self) -> str:
        """What the side is called."""
        return self.name or f"{self.first or 'the beginning'} to {self.last or 'the end'}"

    @property
    def conditions(self) -> Filters:
        """The period and the filters."""
        if self.first is None and self.last is None:
            return self.filters
        bounds = {
            "from": f"{self.first}-01T00:00:00Z" if self.first else None,
            "to": f"{months_before(self.last, -1)}-01T00:00:00Z" if self.last else None,
        }
        return (TimeFilter.model_validate({"kind": "time", "mode": "started", **bounds}), *self.filters)


class Comparison(BaseModel):
    """What changed from the ``reference`` to the ``compared`` cases of an analysis."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    reference: Side
    """The cases that are compared with."""

    compared: Side
    """The cases that are compared; they have none in common with the others."""

    @model_validator(mode="after")
    def _sides_differ(self) -> Self:
        if self.reference.label == self.compared.label:
            raise ValueError("the two sides need different names")
        return self
