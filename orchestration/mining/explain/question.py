"""What an explanation is asked: which target, over how many months. A versioned JSON schema.

Not here: how a target is measured on cases (``targets``).
"""

from dataclasses import replace
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from orchestration.mining.explain.config import EXPLAIN_CONFIG, ExplainConfig

Unit = Literal["seconds", "probability"]
Activity = Annotated[str, Field(min_length=1)]


class _Target(BaseModel):
    model_config = ConfigDict(
        frozen=True, extra="forbid", populate_by_name=True, use_attribute_docstrings=True
    )

    @property
    def unit(self) -> Unit:
        """That of its values and of everything explained of them; the values of a yes/no are 1 and 0."""
        return "seconds"

    @property
    def activities(self) -> dict[str, str]:
        """The activities that it names, by the fields that name them."""
        return self.model_dump(by_alias=True, exclude={"kind"}, exclude_none=True)


class CycleTimeTarget(_Target):
    """The time from the first to the last event of a completed case."""

    kind: Literal["cycle_time"] = "cycle_time"

    @property
    def words(self) -> str:
        """The target in a sentence."""
        return "cycle time"


class TransitionTarget(_Target):
    """The time that passes when ``from`` is directly followed by ``to``, for the first time in a case.

    Features are what was known when it began: the events up to ``from``.
    """

    kind: Literal["transition"]
    source: Activity = Field(alias="from")
    """The activity that the time begins with."""

    target: Activity = Field(alias="to")
    """The activity that ends it."""

    @property
    def words(self) -> str:
        """The target in a sentence."""
        return f"time from {self.source} to {self.target}"


class _YesNoTarget(_Target):
    @property
    def unit(self) -> Unit:
        """A yes/no."""
        return "probability"


class ReworkTarget(_YesNoTarget):
    """Whether an activity happens again in the case."""

    kind: Literal["rework"]
    activity: Activity | None = None
    """Which one; without it any activity counts."""

    landmark: Activity | None = None
    """Features are what was known when this activity first happened; without it, when ``activity`` first did, or at
    the first event."""

    @property
    def words(self) -> str:
        """The target in a sentence."""
        return f"repetition of {self.activity or 'any activity'}"


class OutcomeTarget(_YesNoTarget):
    """Whether an activity happens."""

    kind: Literal["outcome"]
    activity: Activity
    """Which one."""

    landmark: Activity | None = None
    """It counts after this activity has first happened, without it after the first event. Features are what was known
    then."""

    @property
    def words(self) -> str:
        """The target in a sentence."""
        return f"occurrence of {self.activity}"


Target = Annotated[
    CycleTimeTarget | TransitionTarget | ReworkTarget | OutcomeTarget, Field(discriminator="kind")
]

CYCLE_TIME = CycleTimeTarget()


class ExplanationQuestion(BaseModel):
    """What is explained, and from which cases."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    target: Target = CYCLE_TIME
    """What is explained of each case."""

    window_months: Annotated[int, Field(ge=1, le=120)] = ExplainConfig.window_months
    """How many months up to its own the record of a month looks back on."""

    def config(self) -> ExplainConfig:
        """The configuration that answers it."""
        return replace(ExplainConfig(), window_months=self.window_months)

    def recorded(self) -> dict[str, Any]:
        """The configuration and the target, for the provenance record's `explainability_config`."""
        target = self.target.model_dump(mode="json", by_alias=True)
        return {**EXPLAIN_CONFIG, "window_months": self.window_months, "target": target}


DEFAULT_QUESTION = ExplanationQuestion()
