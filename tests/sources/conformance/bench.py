"""What the conformance suite needs of a connector type: a source that tests change, disturb and know the truth of.

A type has a module of its name in ``tests.sources.conformance.benches`` with a class ``Bench``, made of this one.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import datetime
from importlib import import_module
from typing import Any, ClassVar

import pytest
from pydantic import SecretStr

from orchestration.settings import Settings
from orchestration.sources.errors import SourceError

Key = tuple[str, str]
"""Stream and identity of a record."""


Outcomes = tuple[type[SourceError] | None, ...]
"""Errors of a read; None: it comes through."""


@dataclass(frozen=True)
class Version:
    """A record as a read has it.

    Attributes:
        key: Which record.
        mark: Which version of it: no other has this mark.
        values: Columns that the bench vouches for, as they land; one that is missing may hold anything.
        at: Where the cursor stands, in time; None: whatever the window.
        deleted: It is a tombstone, of which ``mark`` and ``values`` say nothing.
    """

    key: Key
    mark: str
    values: Mapping[str, str | None]
    at: datetime | None
    deleted: bool = False


class SourceBench(ABC):
    """A source of one type. Its clock stands still until ``advance``; records are stamped by it, in whole seconds."""

    of: ClassVar[str]
    does: ClassVar[Mapping[str, frozenset[str]]]
    """By stream what can happen to its records: create, update, delete, merge, late (commits)."""
    faults: ClassVar[Mapping[str, Outcomes]]
    """What can go wrong at the source, by name, and what a read may make of it."""
    lag: ClassVar[int]
    """Seconds by which a read may stay behind the clock."""
    longest_commit: ClassVar[int]
    """Seconds from the stamp of a change until it is seen, at most."""
    secrets: Mapping[str, SecretStr]
    """Those of ``config``."""

    @classmethod
    @abstractmethod
    def opened(cls, installation: Settings) -> AbstractContextManager["SourceBench"]:
        """A running source."""

    @staticmethod
    @abstractmethod
    def shrink(patch: pytest.MonkeyPatch) -> None:
        """Make pages and checkpoints of type and source so small that a few records fill several."""

    @abstractmethod
    def reset(self, now: datetime) -> None:
        """No records, no faults, the columns of the beginning, and a clock that stands at ``now``."""

    @abstractmethod
    def config(self) -> dict[str, Any]:
        """The configuration of a connector to the source, without secrets."""

    @abstractmethod
    def now(self) -> datetime:
        """The source's time."""

    @abstractmethod
    def advance(self, seconds: float) -> None:
        """Move the clock; changes that are to commit until then are seen."""

    @abstractmethod
    def create(self, stream: str, mark: str, commits_in: int = 0) -> Key:
        """A new record."""

    @abstractmethod
    def update(self, key: Key, mark: str, commits_in: int = 0) -> None:
        """Another version of a record."""

    @abstractmethod
    def delete(self, key: Key, commits_in: int = 0) -> None:
        """Delete a record."""

    @abstractmethod
    def merge(self, winner: Key, loser: Key, commits_in: int = 0) -> None:
        """Merge a record into another of its stream, which stays."""

    @abstractmethod
    def drift(self) -> str:
        """Let a column appear, change its type, or disappear: each in its turn; what happened."""

    @abstractmethod
    def shown(self) -> list[Version]:
        """What a read has to bring that begins now: each record in its present version, and deleted ones."""

    @abstractmethod
    def landed(self, stream: str, row: Mapping[str, str | None]) -> tuple[Key, str]:
        """Identity and mark of a row that has landed."""

    @abstractmethod
    def strike(self, fault: str, nth: int) -> None:
        """Let a fault happen at the nth request of the next read (or page, where there are no requests), from 1."""

    @abstractmethod
    def struck(self) -> bool:
        """Whether a fault has happened since ``calm``."""

    @abstractmethod
    def calm(self) -> None:
        """No faults, not even those that were to come; but a quota that is used up comes back by the clock alone."""

    def stepped(self) -> None:
        """A read has given a step: for faults between two pages."""
        return


def bench_class(name: str) -> type[SourceBench]:
    """The bench of a type.

    Raises:
        ModuleNotFoundError: it has none.
    """
    made: type[SourceBench] = import_module(f"tests.sources.conformance.benches.{name}").Bench
    return made


@contextmanager
def opened_bench(name: str, installation: Settings) -> Iterator[SourceBench]:
    """A running bench of a type."""
    with bench_class(name).opened(installation) as bench:
        yield bench
