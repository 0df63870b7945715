"""What a vendor allows a client: so much, and then no more until some of it comes back."""

from abc import ABC, abstractmethod

from casetrail_testkit.clock import Clock


class Allowance(ABC):
    """``most`` in a span of time; how much of it is gone goes by the clock."""

    def __init__(self, clock: Clock, most: int) -> None:
        """``most`` in each span."""
        self.clock, self.most = clock, most

    @abstractmethod
    def used(self) -> int:
        """How much is gone."""

    @abstractmethod
    def use(self, amount: int) -> None:
        """Use some of it, more than there is if need be."""

    def exhaust(self) -> None:
        """Use all that is left."""
        self.use(max(self.most - self.used(), 0))

    @property
    def is_used_up(self) -> bool:
        """Whether nothing is left."""
        return self.used() >= self.most
