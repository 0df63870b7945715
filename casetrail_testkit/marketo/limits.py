"""What a subscription may do: calls a day, in 20 seconds, at once. Days begin at midnight US Central time."""

import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

from casetrail_testkit.allowance import Allowance
from casetrail_testkit.clock import Clock
from casetrail_testkit.marketo.errors import fail, success
from casetrail_testkit.messages import Response

CENTRAL = ZoneInfo("America/Chicago")
WINDOW = timedelta(seconds=20)
API_USER = "integration@casetrail.example"


class DailyMeter(Allowance):
    """An allowance that begins anew at midnight Central time."""

    def __init__(self, clock: Clock, most: int) -> None:
        """``most`` a day."""
        super().__init__(clock, most)
        self._day: date | None = None
        self._used = 0

    def used(self) -> int:
        """How much of today's is gone."""
        today = self.clock.now().astimezone(CENTRAL).date()
        if today != self._day:
            self._day, self._used = today, 0
        return self._used

    def use(self, amount: int) -> None:
        """Use some of it, more than there is if need be."""
        self._used = self.used() + amount


class Limits:
    """The allowances of a subscription.

    Attributes:
        calls: Calls a day.
        calls_in_window: Calls in 20 seconds of the clock; a clock that stands still lets no further ones pass.
        calls_at_once: Calls that are answered at the same time.
        export_bytes: Bytes of bulk exports a day.
    """

    def __init__(self, clock: Clock) -> None:
        """The documented allowances."""
        self.clock = clock
        self.calls = DailyMeter(clock, 50_000)
        self.calls_in_window = 100
        self.calls_at_once = 10
        self.export_bytes = DailyMeter(clock, 500 * 1_000_000)
        self._lock = threading.Lock()
        self._recent: deque[datetime] = deque()
        self._under_way = 0

    @contextmanager
    def call(self) -> Iterator[None]:
        """Count a call for as long as it takes.

        Raises:
            Refusal: 606, 607 or 615.
        """
        with self._lock:
            self._admit()
            self._under_way += 1
        try:
            yield
        finally:
            with self._lock:
                self._under_way -= 1

    def _admit(self) -> None:
        now = self.clock.now()
        while self._recent and not now - WINDOW < self._recent[0] <= now:
            self._recent.popleft()
        if self.calls.is_used_up:
            raise fail("607", f"Daily quota '{self.calls.most}' reached")
        if len(self._recent) >= self.calls_in_window:
            raise fail("606", f"Max rate limit '{self.calls_in_window}' exceeded with in '20' secs")
        if self._under_way >= self.calls_at_once:
            raise fail("615", "Concurrent access limit reached")
        self._recent.append(now)
        self.calls.use(1)

    def usage(self) -> Response:
        """Answer ``stats/usage.json``: today's calls."""
        used, today = self.calls.used(), self.clock.now().astimezone(CENTRAL).date()
        users = [{"userId": API_USER, "count": used}]
        return success(result=[{"date": today.isoformat(), "total": used, "users": users}])
