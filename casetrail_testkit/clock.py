"""A server's time: real until somebody stops it, and then only what tests make of it.

Everything of a server goes by its clock: the Date header, stamps of records, lifetimes of tokens, resets of quotas.
"""

import threading
import time
from datetime import UTC, datetime, timedelta

WITH_MILLISECONDS = "%Y-%m-%dT%H:%M:%S.000Z"
WHOLE_SECONDS = "%Y-%m-%dT%H:%M:%SZ"


class Clock:
    """Runs with the machine's clock, or stands still at an instant.

    ``Clock()`` runs; ``Clock(instant)`` stands at that instant until it is set or advanced.
    """

    def __init__(self, stands_at: datetime | None = None) -> None:
        """Stand at ``stands_at`` (with a time zone), or run with the machine's clock.

        Raises:
            ValueError: If ``stands_at`` has no time zone.
        """
        self._lock = threading.Lock()
        self._offset = timedelta(0)
        self._stands_at: datetime | None = None
        if stands_at is not None:
            self.set(stands_at)

    def now(self) -> datetime:
        """The server's time, in UTC."""
        with self._lock:
            return self._stands_at or datetime.fromtimestamp(time.time(), UTC) + self._offset

    def set(self, instant: datetime) -> None:
        """Stand at ``instant``, which may lie in the past.

        Raises:
            ValueError: If it has no time zone.
        """
        if instant.tzinfo is None:
            raise ValueError(f"Give the clock a time with a time zone, not {instant.isoformat()}.")
        with self._lock:
            self._stands_at = instant.astimezone(UTC)

    def advance(self, seconds: float) -> None:
        """Move on by so many seconds; a clock that runs keeps running."""
        with self._lock:
            if self._stands_at is None:
                self._offset += timedelta(seconds=seconds)
            else:
                self._stands_at += timedelta(seconds=seconds)

    def run(self) -> None:
        """Run on from the present instant with the machine's speed."""
        now = self.now()
        with self._lock:
            self._offset, self._stands_at = now - datetime.fromtimestamp(time.time(), UTC), None


def instant_of(text: str) -> datetime:
    """An ISO 8601 time with its offset, as UTC. A space for the ``+`` of the offset is what a bad URL makes of it.

    Raises:
        ValueError: If it is no such time.
    """
    instant = datetime.fromisoformat(text)
    if instant.tzinfo is None:
        raise ValueError(f"{text!r} has no time zone")
    return instant.astimezone(UTC)
