"""How far a connector has come: by what is exported, until when it was read, and the export that is under way.

Each window begins an overlap before the end of the last one, also within one read: what Marketo logs late is found.
"""

import hashlib
import json
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from orchestration.sources.protocol import State
from orchestration.sources.types.marketo.values import microseconds, moment, written

DELETIONS = "deletions"
DELETIONS_KEPT = timedelta(days=31)
"""Marketo prunes deletions that are older than 14 days; so far back the first sync looks."""


@dataclass
class Progress:
    """The state of a read, and where its windows lie.

    Attributes:
        state: What ``read`` is to be given next; JSON.
        start: Before it nothing is read (UTC).
        end: Nor from it on.
        longest: How much one export spans at most.
    """

    start: datetime
    end: datetime
    overlap: timedelta
    longest: timedelta
    state: State = field(default_factory=dict)
    _made_now: set[str] = field(default_factory=set)
    _done: set[str] = field(default_factory=set)

    def begin(self, kind: str, asked: Any) -> None:
        """Go on with what was left, unless something else is asked for now, or an earlier start: then anew."""
        origin = hashlib.sha256(json.dumps(asked).encode()).hexdigest()[:16]
        left = self.state.get(kind)
        if left is None or left["of"] != origin or self.start < moment(left["since"]):
            self.state[kind] = {"of": origin, "since": written(self.start), "until": None, "export": None}

    def low(self, kind: str) -> datetime:
        """Where the window that is under way, or comes next, begins."""
        left = self.state[kind]
        if left["export"]:
            return moment(left["export"]["from"])
        first = max(self.start, self.end - DELETIONS_KEPT) if kind == DELETIONS else self.start
        return max(self.start, moment(left["until"]) - self.overlap) if left["until"] else first

    def is_at_end(self, kind: str) -> bool:
        """Whether there is no further window in this read. There is one at least: something may have come late."""
        return kind in self._done or self.low(kind) >= self.end

    def window(self, kind: str) -> tuple[datetime, datetime]:
        """The next window: from and until, of which both are whole seconds."""
        low = self.low(kind)
        return low, min(low + self.longest, self.end)

    def advance(self, kind: str, until: datetime) -> None:
        """What lies before was read."""
        left = self.state[kind]
        # A read whose end lies before that of the last one does not go back: what lies there was forgotten.
        newest = max(until, moment(left["until"])) if left["until"] else until
        self.state[kind] = {**left, "until": written(newest), "export": None}
        # An export of an earlier read shows the subscription as it was then.
        if until >= self.end and kind in self._made_now:
            self._done.add(kind)

    def under_way(self, kind: str, export: dict[str, Any]) -> None:
        """Note an export that was made now."""
        self._made_now.add(kind)
        self.state[kind] = {**self.state[kind], "export": export}

    def lost(self, kind: str) -> None:
        """The export that was under way is none."""
        self.state[kind] = {**self.state[kind], "export": None}

    def reread_from(self, *kinds: str) -> int:
        """The cursor from which on the next read gives records again that these have brought."""
        return min(microseconds(self.low(kind)) for kind in kinds)


def whole_second(time: datetime) -> datetime:
    """Without its fraction, in UTC: Marketo's windows have none."""
    return time.astimezone(UTC).replace(microsecond=0)
