"""When does a landed file have to be read again, and what may stay of its earlier reading: pure functions.

How a file's records land is decided by its mapping and by the landing rules (contract version and first month).
"""

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from orchestration.connectors.landing import LANDING_VERSION
from orchestration.control_plane.arrivals import Arrival

_NAMES_ONLY = frozenset({"system"})
"""Fields of a mapping that do not touch the raw files: the events stage applies them."""


def landing_rules(first_month: str) -> str:
    """What besides its mapping decides how a file lands, such as ``1/2000-01``: contract version and first month."""
    return f"{LANDING_VERSION}/{first_month}"


def lands_alike(old: dict[str, Any], new: dict[str, Any]) -> bool:
    """Whether two mappings give the same raw files, so that a new version can name those of the old."""
    return {k: v for k, v in old.items() if k not in _NAMES_ONLY} == {
        k: v for k, v in new.items() if k not in _NAMES_ONLY
    }


def readmissible(arrivals: Iterable[Arrival], rules: str, now: datetime) -> list[Arrival]:
    """The landed arrivals whose records could land otherwise today: under other rules, or since time has passed."""
    return [
        arrival
        for arrival in arrivals
        if arrival.status == "landed"
        and (arrival.landing_rules != rules or (arrival.review_at is not None and arrival.review_at <= now))
    ]
