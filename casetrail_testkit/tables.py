"""The state of a server: tables in one SQLite file that can be changed while it is served.

What belongs here: columns, rows, and commits that become visible later. What a row means to a vendor does not.
"""

import heapq
import shutil
import sqlite3
import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from datetime import datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any

from casetrail_testkit.clock import Clock

Row = tuple[Any, ...]
FETCH_ROWS = 2_000


class Tables:
    """Tables of rows. One thread writes at a time; each reader sees one moment, also while others write.

    Every table has ``_row``, the order in which its rows were made.
    """

    def __init__(self, clock: Clock) -> None:
        """An empty set of tables in a folder of its own; ``close`` removes it."""
        self.clock = clock
        self.folder = Path(tempfile.mkdtemp(prefix="casetrail-testkit-"))
        self.lock = threading.RLock()
        self._file = self.folder / "records.sqlite"
        self._writer = sqlite3.connect(self._file, check_same_thread=False, isolation_level=None)
        self._writer.execute("pragma journal_mode = wal")
        self._writer.execute("pragma synchronous = off")
        self._later: list[tuple[datetime, int, datetime, Callable[[], object]]] = []
        self._numbers = count()

    def close(self) -> None:
        """Remove everything."""
        with self.lock:
            self._writer.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def create(self, table: str, columns: Sequence[str], key: str, indexed: Sequence[str]) -> None:
        """Make a table of untyped columns; no two rows have the same ``key``, ``indexed`` columns are found fast."""
        names = "".join(f", {quoted(column)}" for column in columns)
        with self.transaction():
            self.write(
                f"create table {quoted(table)} (_row integer primary key{names}, unique ({quoted(key)}))"
            )
            for column in indexed:
                self.write(
                    f"create index {quoted(f'{table} {column}')} on {quoted(table)} ({quoted(column)})"
                )

    def add_column(self, table: str, column: str) -> None:
        """Add an empty column."""
        self.write(f"alter table {quoted(table)} add column {quoted(column)}")

    def drop_column(self, table: str, column: str) -> None:
        """Remove a column that no index names, with its values."""
        self.write(f"alter table {quoted(table)} drop column {quoted(column)}")

    def write(self, sql: str, parameters: Sequence[Any] | Mapping[str, Any] = ()) -> int:
        """Run one statement; how many rows it changed."""
        with self.lock:
            return self._writer.execute(sql, parameters).rowcount

    def insert(self, table: str, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> int:
        """Insert rows in one transaction; how many there were.

        Raises:
            ValueError: If a row has the key of one that is there. None of them is inserted then.
        """
        names = ", ".join(quoted(column) for column in columns)
        places = ", ".join("?" * len(columns))
        with self.transaction():
            try:
                done = self._writer.executemany(
                    f"insert into {quoted(table)} ({names}) values ({places})", rows
                )
            except sqlite3.IntegrityError as error:
                raise ValueError(f"a record of {table} with this id is there already: {error}") from error
        return max(done.rowcount, 0)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Everything that is written within is seen at once, or not at all; within another one, as part of it."""
        with self.lock:
            if self._writer.in_transaction:
                yield
                return
            self._writer.execute("begin")
            try:
                yield
            except BaseException:
                self._writer.execute("rollback")
                raise
            self._writer.execute("commit")

    def read(self, sql: str, parameters: Sequence[Any] | Mapping[str, Any] = ()) -> Iterator[Row]:
        """Rows of a query, fetched in blocks as they are taken, all of one moment."""
        with closing(sqlite3.connect(self._file, check_same_thread=False)) as reader:
            cursor = reader.execute(sql, parameters)
            while block := cursor.fetchmany(FETCH_ROWS):
                yield from block

    def first(self, sql: str, parameters: Sequence[Any] | Mapping[str, Any] = ()) -> Row | None:
        """The first row of a query, or None."""
        with closing(sqlite3.connect(self._file, check_same_thread=False)) as reader:
            row: Row | None = reader.execute(sql, parameters).fetchone()
            return row

    def commit(self, change: Callable[[], object], commits_in: float) -> None:
        """Make a change now, or ``commits_in`` seconds later by the clock: nobody sees it until then."""
        if commits_in <= 0:
            with self.transaction():
                change()
            return
        now = self.clock.now()
        due = now + timedelta(seconds=commits_in)
        with self.lock:
            heapq.heappush(self._later, (due, next(self._numbers), now, change))

    def settle(self) -> None:
        """Make the changes whose time has come. The server does it before each request."""
        with self.lock:
            while self._later and self._later[0][0] <= self.clock.now():
                change = heapq.heappop(self._later)[3]
                with self.transaction():
                    change()

    def oldest_uncommitted(self) -> datetime | None:
        """When the oldest change that is not visible yet was begun."""
        with self.lock:
            return min((begun for _, _, begun, _ in self._later), default=None)


def quoted(name: str) -> str:
    """A name as SQL takes it, whatever is in it."""
    return '"' + name.replace('"', '""') + '"'
