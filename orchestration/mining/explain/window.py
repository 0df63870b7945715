"""The cases that one explanation is about: a range of home months."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Window:
    """Completed cases with home months `first`..`last` (`YYYY-MM`, both included)."""

    first: str
    last: str
    completed: int
    open_cases: int

    @property
    def parameters(self) -> dict[str, str]:
        """The bounds as named parameters of a query."""
        return {"first": self.first, "last": self.last}


def months_before(month: str, count: int) -> str:
    """The month `count` months before `month`, both as `YYYY-MM`; after it if `count` is negative."""
    year, number = (int(part) for part in month.split("-"))
    index = year * 12 + number - 1 - count
    return f"{index // 12:04d}-{index % 12 + 1:02d}"
