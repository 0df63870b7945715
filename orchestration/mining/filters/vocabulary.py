"""What filters name: activities, attributes and performers that the log should have.

So that a misspelt name is told, not obeyed. Not here: what a log has (``stages.names``).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from orchestration.mining.filters.model import (
    ActivitiesFilter,
    AllFilter,
    AnyFilter,
    AttributeFilter,
    EndActivityFilter,
    Filter,
    FollowsFilter,
    NotFilter,
    PerformerFilter,
    StartActivityFilter,
)

Sort = Literal["activity", "attribute", "resource_id", "role", "org_unit", "system"]


@dataclass(frozen=True)
class Mention:
    """A name in a filter; ``path`` is where it stands, such as ``filters[0].of[1].activities``."""

    path: str
    sort: Sort
    name: str


def mentions(filters: Sequence[Filter], path: str = "filters") -> Iterator[Mention]:
    """Every activity, attribute and performer that the filters name, in their order."""
    for place, item in enumerate(filters):
        yield from _of(item, f"{path}[{place}]")


def _of(item: Filter, path: str) -> Iterator[Mention]:
    match item:
        case AllFilter() | AnyFilter():
            yield from mentions(item.of, f"{path}.of")
        case NotFilter():
            yield from _of(item.of, f"{path}.of")
        case ActivitiesFilter() | StartActivityFilter() | EndActivityFilter():
            yield from (Mention(f"{path}.activities", "activity", name) for name in item.activities)
        case FollowsFilter():
            yield from (Mention(f"{path}.from", "activity", name) for name in item.source)
            yield from (Mention(f"{path}.to", "activity", name) for name in item.target)
        case AttributeFilter():
            yield Mention(f"{path}.name", "attribute", item.name)
        case PerformerFilter():
            yield from (Mention(f"{path}.in", item.column, name) for name in item.values)
