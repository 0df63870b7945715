"""What an org may do in 24 hours: a count of calls that rolls, and the headers that tell of it."""

from collections import deque
from datetime import datetime, timedelta

from casetrail_testkit.allowance import Allowance
from casetrail_testkit.clock import Clock
from casetrail_testkit.messages import Response, json_response
from casetrail_testkit.salesforce.errors import refuse

DAY = timedelta(hours=24)
MEGABYTE = 1_000_000


class Meter(Allowance):
    """An allowance of the last 24 hours."""

    def __init__(self, clock: Clock, most: int) -> None:
        """``most`` in any 24 hours."""
        super().__init__(clock, most)
        self._entries: deque[tuple[datetime, int]] = deque()

    def used(self) -> int:
        """How much was used within the last 24 hours of the clock."""
        begin = self.clock.now() - DAY
        while self._entries and self._entries[0][0] <= begin:
            self._entries.popleft()
        return sum(amount for _, amount in self._entries)

    def use(self, amount: int) -> None:
        """Use some of it, more than there is if need be."""
        self._entries.append((self.clock.now(), amount))


class Limits:
    """The allowances of an org; set their ``most`` for a smaller org."""

    def __init__(self, clock: Clock) -> None:
        """Allowances of a small production org."""
        self.api_requests = Meter(clock, 100_000)
        self.bulk_jobs = Meter(clock, 10_000)
        self.bulk_storage = Meter(clock, MEGABYTE * MEGABYTE)
        """Bytes of results of Bulk queries."""

    def count_call(self) -> None:
        """Count a call.

        Raises:
            Refusal: 403 REQUEST_LIMIT_EXCEEDED.
        """
        if self.api_requests.is_used_up:
            raise refuse(403, "REQUEST_LIMIT_EXCEEDED", "TotalRequests Limit exceeded.")
        self.api_requests.use(1)

    def header(self) -> str:
        """Value of ``Sforce-Limit-Info``."""
        return f"api-usage={self.api_requests.used()}/{self.api_requests.most}"

    def answer(self) -> Response:
        """Answer ``/limits``."""
        return json_response(
            {
                "DailyApiRequests": _limit(self.api_requests),
                "DailyBulkV2QueryJobs": _limit(self.bulk_jobs),
                "DailyBulkV2QueryFileStorageMB": _limit(self.bulk_storage, MEGABYTE),
            }
        )


def _limit(meter: Meter, unit: int = 1) -> dict[str, int]:
    return {"Max": meter.most // unit, "Remaining": max(meter.most - meter.used(), 0) // unit}
