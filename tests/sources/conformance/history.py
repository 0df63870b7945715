"""A random history of a source and its syncs, and what must have come over whatever happened."""

import random
from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Protocol

from orchestration.sources.errors import QuotaExhausted, SourceError, TransientError
from orchestration.sources.protocol import Window
from tests.sources.conformance.bench import Key, SourceBench, Version
from tests.sources.conformance.ledger import MOMENTS, Killed, Landed, dying

BEGINNINGS = (
    datetime(2024, 2, 29, 23, 59, 40, tzinfo=UTC),
    datetime(2024, 3, 10, 7, 59, 50, tzinfo=UTC),  # US Central time goes on by an hour
    datetime(2024, 10, 27, 0, 59, 30, tzinfo=UTC),  # Berlin's goes back
    datetime(2024, 12, 31, 23, 58, 0, tzinfo=UTC),
)
ZONES = ("UTC", "America/St_Johns", "Pacific/Apia", "Europe/Berlin")
_DAY = 86_400
ODD_ENDS = ("", ", 5", ' "so"', "\n2", " ü漢", "'; --", "\\N", "\t", " %s")
"""What a mark may end with: all of it has to survive every format on the way."""


class Connector(Protocol):
    """What is synced: a ledger in memory, or a whole installation's."""

    @property
    def rows(self) -> list[Landed]:
        """What has landed so far."""

    def sync(self, window: Window, at: Callable[[str], None]) -> None:
        """Read to the end, telling each moment, which may raise ``Killed``."""


class Truth:
    """What a source has ever shown, and what has to be in raw because of it."""

    def __init__(self, bench: SourceBench) -> None:
        self.bench = bench
        self.ever: dict[tuple[Key, str], list[Version]] = {}
        self.gone: set[Key] = set()
        self.before: dict[Key, Version] = {}
        self.drifted = False

    def look(self) -> dict[Key, Version]:
        """What is shown now; it is remembered."""
        now = {version.key: version for version in self.bench.shown()}
        for version in now.values():
            seen = self.ever.setdefault((version.key, version.mark), [])
            if not version.deleted and version not in seen:
                seen.append(version)
        self.gone |= {key for key, version in now.items() if version.deleted} | (set(self.before) - set(now))
        self.before = now
        return now

    def require(self, due: Iterable[Version], rows: list[Landed]) -> None:
        """Nothing foreign, nothing doubled, and each version that is due is there as the source has it."""
        live: dict[tuple[Key, str], list[Landed]] = {}
        dead: set[Key] = set()
        for landed in rows:
            key, mark = self.bench.landed(landed.stream, landed.row)
            if landed.deleted:
                assert key in self.gone, f"{key} was not deleted"
                dead.add(key)
                continue
            assert any(fits(v, landed) for v in self.ever.get((key, mark), [])), f"never shown: {landed}"
            live.setdefault((key, mark), []).append(landed)
        whole = Counter(
            (r.stream, r.deleted, frozenset(i for i in r.row.items() if i[1] is not None)) for r in rows
        )
        assert not [row for row, times in whole.items() if times > 1], "doubled"
        # Without a column that it had, a record that is read again is another version of itself.
        twice = {v: found for v, found in live.items() if len(found) > 1}
        assert self.drifted or not twice, f"doubled version: {twice}"
        for version in due:
            if version.deleted:
                assert version.key in dead, f"no tombstone: {version}"
            else:
                assert any(fits(version, r) for r in live.get((version.key, version.mark), [])), (
                    f"lost: {version}"
                )


def fits(version: Version, landed: Landed) -> bool:
    """Whether a row is the version, in all columns that the bench vouches for."""
    return all(landed.row.get(column) == value for column, value in version.values.items())


class History:
    """Changes at a source and mishaps of syncs by the dice of a seed. ``story`` tells them, for whoever looks why."""

    def __init__(self, bench: SourceBench, seed: int) -> None:
        """The bench begins anew: connect to it only now."""
        self.bench, self.dice = bench, random.Random(seed)
        bench.reset(self.dice.choice(BEGINNINGS))
        self.truth = Truth(bench)
        self.story: list[str] = []
        self._busy: dict[Key, datetime] = {}
        self._marks = 0
        self._fault: str | None = None
        self._used_up: str | None = None

    def run(self, connector: Connector) -> None:
        """Some rounds of changes and a sync that may go wrong, and then a quiet one that has to bring the rest.

        Raises:
            AssertionError: something was lost, doubled, or never there; a note tells the story.
        """
        try:
            for _ in range(self.dice.randint(2, 6)):
                if self.dice.random() < 0.1:
                    self.drift()
                for _ in range(self.dice.randrange(7)):
                    self.change()
                    self.pass_time()
                self.sync(connector)
            self.end(connector)
        except Exception as error:
            error.add_note("\n".join(self.story))
            raise

    def end(self, connector: Connector) -> None:
        """Everything is committed and old enough: a quiet sync brings it, and another one brings nothing more."""
        self.bench.calm()
        self._pass(_DAY if self._used_up else self.bench.longest_commit + self.bench.lag + 1)
        self.truth.look()
        connector.sync(Window(None, self.bench.now()), lambda _moment: None)
        self.truth.require(self.truth.look().values(), connector.rows)
        landed = len(connector.rows)
        self._pass(self.dice.choice((0, 1, 7200)))
        connector.sync(Window(None, self.bench.now()), lambda _moment: None)
        assert len(connector.rows) == landed, "a sync with nothing new brought something"

    def pass_time(self) -> None:
        """Some: often none, so that stamps are the same; at times so much that tokens die and overlaps end."""
        self._pass(self.dice.choice((0, 0, 0, 1, 1, 2, 5, 30, 200, 700, 7300)))

    def _pass(self, seconds: float) -> None:
        if seconds:
            self.story.append(f"{seconds} s pass")
            self.bench.advance(seconds)

    def drift(self) -> None:
        """Other columns, unless a change is under way: it would wait for that one's lock."""
        if not all(map(self._is_free, self._busy)):
            return
        self.story.append(self.bench.drift())
        self.truth.drifted = True

    def change(self) -> None:
        """One change at the source."""
        self.truth.look()
        doing = self.dice.choice(
            ("create", "create", "create", "update", "update", "update", "delete", "merge")
        )
        streams = [stream for stream, does in self.bench.does.items() if doing in does]
        if not streams:
            return
        stream = self.dice.choice(streams)
        commits_in = 0
        if "late" in self.bench.does[stream] and self.dice.random() < 0.25:
            commits_in = self.dice.randint(1, self.bench.longest_commit)
        self._busy |= dict.fromkeys(self._do(doing, stream, commits_in), self._due(commits_in))

    def _due(self, commits_in: int) -> datetime:
        return self.bench.now() + timedelta(seconds=commits_in)

    def _do(self, doing: str, stream: str, commits_in: int) -> list[Key]:
        """Which records it concerns."""
        self._marks += 1
        mark = f"{self._marks}{self.dice.choice(ODD_ENDS)}"
        if doing == "create":
            made = self.bench.create(stream, mark, commits_in)
            self.story.append(f"create {made} {mark!r} commits in {commits_in}")
            return [made]
        free = [
            key
            for key, version in self.truth.before.items()
            if key[0] == stream and not version.deleted and self._is_free(key)
        ]
        chosen = self.dice.sample(free, min(len(free), 2 if doing == "merge" else 1))
        match doing, chosen:
            case "update", [one]:
                self.bench.update(one, mark, commits_in)
            case "delete", [one]:
                self.bench.delete(one, commits_in)
            case "merge", [winner, loser]:
                self.bench.merge(winner, loser, commits_in)
            case _:
                return []
        self.story.append(f"{doing} {chosen} {mark!r} commits in {commits_in}")
        return chosen

    def _is_free(self, key: Key) -> bool:
        """Whether no change of the record is under way: another one would wait for its lock."""
        return key not in self._busy or self._busy[key] < self.bench.now()

    def sync(self, connector: Connector) -> None:
        """A sync that goes well, dies, or meets a fault; what it promised must have come."""
        mishap = self.dice.random()
        moment, passing = self.dice.choice(MOMENTS), self.dice.randrange(4)
        dies = mishap < 0.35
        if mishap > 0.6:
            self._strike()
        window = Window(None, self.bench.now() + timedelta(seconds=self.dice.choice((0, 0, -100, 4000))))
        self.story.append(
            f"sync until {window.end:%H:%M:%S}" + (f" dies at {moment} {passing}" if dies else "")
        )
        die = dying(moment, passing) if dies else lambda _moment: None

        def at(here: str) -> None:
            self.bench.stepped()
            die(here)
            if self.dice.random() < 0.15:
                self.story.append(f"meanwhile, at {here}:")
                self.change()
                self.pass_time()
            self.truth.look()

        until = min(window.end, self.bench.now()) - timedelta(seconds=self.bench.lag)
        before = self.truth.look()
        with suppress(Killed):
            if self._read(connector, window, at):
                after = self.truth.look()
                due = (v for k, v in before.items() if after.get(k) == v and (v.at is None or v.at < until))
                self.truth.require(due, connector.rows)
        self.bench.calm()
        self._fault = None

    def _strike(self) -> None:
        self._fault, nth = self.dice.choice(sorted(self.bench.faults)), self.dice.choice((1, 1, 2, 3, 5, 8))
        if QuotaExhausted in self.bench.faults[self._fault]:
            # A sync may come through nonetheless, and a later one find that nothing is left.
            self._used_up = self._fault
        self.story.append(f"{self._fault} at {nth}")
        self.bench.strike(self._fault, nth)

    def _read(self, connector: Connector, window: Window, at: Callable[[str], None]) -> bool:
        """Read, in several attempts where that helps. False: what went wrong is for the next sync."""
        while True:
            began = self.bench.now()
            try:
                connector.sync(window, at)
                return True
            except SourceError as error:
                self.story.append(f"{type(error).__name__}: {error}")
                fault = self._used_up if isinstance(error, QuotaExhausted) else self._fault
                if fault:
                    recover(self.bench, fault, error, began)
                else:
                    # An export that was asked for before its columns changed has to be asked for again.
                    may_be = self.truth.drifted and isinstance(error, TransientError)
                    assert may_be, "it failed by itself"
                self.truth.look()
                if not isinstance(error, QuotaExhausted) and self.dice.random() < 0.3:
                    return False


def recover(bench: SourceBench, fault: str, error: SourceError, began: datetime) -> None:
    """Do what the error of a read asks for, as who syncs does, once it is the right one for the fault."""
    outcomes = tuple(outcome for outcome in bench.faults[fault] if outcome)
    assert isinstance(error, outcomes), f"{fault} became a {type(error).__name__}: {error}"
    if isinstance(error, QuotaExhausted):
        # Struck or not: it may take several of its pauses until enough of the quota is there again.
        assert error.resume_at > began, "it would be used up again"
        bench.advance(max((error.resume_at - bench.now()).total_seconds(), 0))
    else:
        assert bench.struck(), "it failed by itself"
    if isinstance(error, TransientError) and error.retry_after:
        bench.advance(error.retry_after)
    bench.calm()
