"""The bench of ``postgres``: a second database of the embedded server, whose ``now()`` is a table's."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar

import pytest
from psycopg import sql
from pydantic import SecretStr

from orchestration.settings import Settings
from orchestration.sources.errors import ConfigurationError, TransientError
from orchestration.sources.types import postgres
from tests.sources.conformance.bench import Key, Outcomes, SourceBench, Version
from tests.sources.conftest import EVENTS, PASSWORD, STREAM, SourceDatabase, opened_database

OVERLAP = 300
LAG = 30

CLOCK = """
create schema clock;
create table clock.stands (at timestamptz);
insert into clock.stands values (now());
create function clock.now() returns timestamptz language sql as 'select at from clock.stands';
"""
NOTES = "create table notes (author text, page int, text text, version bigint, primary key (author, page))"
"""Records with a key of two columns and a number for a cursor."""

NOTES_STREAM = {
    "name": "notes",
    "table": "notes",
    "key": ["author", "page"],
    "cursor": "version",
    "overlap": 3,
}

_Statement = tuple[str, dict[str, Any]]


class Bench(SourceBench):
    """Two tables: events with a time for a cursor and a flag for deleted ones, and notes."""

    of = "postgres"
    does: ClassVar = {
        "events": frozenset({"create", "update", "delete", "merge", "late"}),
        "notes": frozenset({"create", "update"}),
    }
    faults: ClassVar[Mapping[str, Outcomes]] = {
        "connection lost": (TransientError,),
        "no connection left": (TransientError,),
        "wrong password": (ConfigurationError,),
        "right taken away": (ConfigurationError,),
    }
    lag = LAG
    longest_commit = OVERLAP
    secrets: ClassVar = {"password": SecretStr(PASSWORD)}

    def __init__(self, database: SourceDatabase) -> None:
        self._database, self._owner = database, database.owner
        self._user = sql.Identifier(database.user)
        self._owner.execute(CLOCK)
        self._owner.execute(sql.SQL("grant usage on schema clock to {}").format(self._user))
        self._owner.execute(sql.SQL("grant select on clock.stands to {}").format(self._user))
        self._alter("set search_path = clock, pg_catalog, public")
        self._pending: list[tuple[datetime, list[_Statement]]] = []
        self._numbers = self._drifts = self._steps_left = 0
        self._struck = False

    @classmethod
    @contextmanager
    def opened(cls, installation: Settings) -> Iterator[SourceBench]:
        with opened_database(installation) as database:
            yield cls(database)

    @staticmethod
    def shrink(patch: pytest.MonkeyPatch) -> None:
        patch.setattr(postgres, "PAGE_ROWS", 3)
        patch.setattr(postgres, "CHECKPOINT_ROWS", 5)

    def reset(self, now: datetime) -> None:
        self.calm()
        self._pending, self._numbers, self._drifts = [], 0, 0
        self._owner.execute(f"drop table if exists events, notes; {EVENTS}; {NOTES}")
        self._now = now
        self._owner.execute("update clock.stands set at = %s", [now])

    def config(self) -> dict[str, Any]:
        events = {**STREAM, "overlap": OVERLAP}
        return self._database.config(events, NOTES_STREAM, lag_seconds=LAG)

    def now(self) -> datetime:
        return self._now

    def advance(self, seconds: float) -> None:
        self._now += timedelta(seconds=seconds)
        self._owner.execute("update clock.stands set at = %s", [self._now])
        due = [statements for when, statements in self._pending if when <= self._now]
        self._pending = [later for later in self._pending if later[0] > self._now]
        for statements in due:
            self._commit(statements, 0)

    def create(self, stream: str, mark: str, commits_in: int = 0) -> Key:
        self._numbers += 1
        values = {"n": self._numbers, "mark": mark, "now": self._now, "author": f"o'{self._numbers % 2}"}
        if stream == "events":
            columns = "id, order_id, status, at, changed"
            insert = f"insert into events ({columns}) values (%(n)s, 'a', %(mark)s, %(now)s, %(now)s)"
        else:
            insert = "insert into notes values (%(author)s, %(n)s, %(mark)s, %(n)s)"
        self._commit([(insert, values)], commits_in)
        return stream, f"{values['author']}/{self._numbers}" if stream == "notes" else str(self._numbers)

    def update(self, key: Key, mark: str, commits_in: int = 0) -> None:
        self._numbers += 1
        stream, identity = key
        if stream == "events":
            self._change(identity, "status = %(mark)s", commits_in, mark=mark)
        else:
            author, page = identity.split("/")
            values = {"author": author, "page": page, "mark": mark, "n": self._numbers}
            update = "update notes set text = %(mark)s, version = %(n)s where author = %(author)s and page = %(page)s"
            self._commit([(update, values)], commits_in)

    def delete(self, key: Key, commits_in: int = 0) -> None:
        self._change(key[1], "gone = true", commits_in)

    def merge(self, winner: Key, loser: Key, commits_in: int = 0) -> None:
        statement, gone = self._changing(loser[1], "gone = true")
        other, kept = self._changing(winner[1], "order_id = order_id || '+'")
        self._commit([(statement, gone), (other, kept)], commits_in)

    def drift(self) -> str:
        changes = (
            "alter table events add extra bigint",
            "alter table events alter extra type text",
            "alter table events drop extra",
        )
        self._drifts += 1
        change = changes[(self._drifts - 1) % 3]
        self._owner.execute(change)
        if self._drifts % 3 == 1:
            # Without a new cursor nobody who reads by the cursor would see it.
            self._owner.execute("update events set extra = id, changed = %s where id %% 2 = 0", [self._now])
        return change

    def shown(self) -> list[Version]:
        events = self._owner.execute("select * from events").description or ()
        columns = [column.name for column in events]
        rows = [dict(zip(columns, row, strict=True)) for row in self._owner.execute("select * from events")]
        found = [
            Version(
                ("events", str(row["id"])),
                _mark(str(row["status"]), str(row["order_id"])),
                {column: _text(value) for column, value in row.items()},
                row["changed"],
                row["gone"],
            )
            for row in rows
        ]
        for author, page, text, version in self._owner.execute("select * from notes"):
            values = {"author": author, "page": str(page), "text": text, "version": str(version)}
            found.append(Version(("notes", f"{author}/{page}"), text, values, None))
        return found

    def landed(self, stream: str, row: Mapping[str, str | None]) -> tuple[Key, str]:
        if stream == "events":
            return (stream, str(row["id"])), _mark(str(row["status"]), str(row["order_id"]))
        return (stream, f"{row['author']}/{row['page']}"), str(row["text"])

    def strike(self, fault: str, nth: int) -> None:
        if fault == "connection lost":
            self._steps_left = nth
            return
        # Once it is connected nothing of the others concerns it.
        self._struck = nth == 1
        match fault, nth:
            case "no connection left", 1:
                self._alter("connection limit 0")
            case "wrong password", 1:
                self._alter("password 'another'")
            case "right taken away", 1:
                self._owner.execute(sql.SQL("revoke select on notes from {}").format(self._user))

    def struck(self) -> bool:
        return self._struck

    def stepped(self) -> None:
        self._steps_left -= 1
        if self._steps_left == 0:
            ended = self._owner.execute(
                "select count(pg_terminate_backend(pid, 2000)) from pg_stat_activity where usename = %s",
                [self._database.user],
            ).fetchone()
            self._struck = bool(ended and ended[0])

    def calm(self) -> None:
        self._steps_left, self._struck = 0, False
        self._alter(f"connection limit -1 password '{PASSWORD}'")
        self._owner.execute(sql.SQL("grant select on all tables in schema public to {}").format(self._user))

    def _alter(self, what: str) -> None:
        self._owner.execute(sql.SQL("alter role {} " + what).format(self._user))

    def _change(self, identity: str, change: str, commits_in: int, **values: Any) -> None:
        self._commit([self._changing(identity, change, **values)], commits_in)

    def _changing(self, identity: str, change: str, **values: Any) -> _Statement:
        values |= {"id": identity, "now": self._now}
        return f"update events set {change}, changed = %(now)s where id = %(id)s", values

    def _commit(self, statements: list[_Statement], commits_in: int) -> None:
        if commits_in:
            self._pending.append((self._now + timedelta(seconds=commits_in), statements))
            return
        with self._owner.transaction():
            for statement, values in statements:
                self._owner.execute(statement, values)


def _mark(status: str, order: str) -> str:
    """A merge changes the order alone."""
    return f"{status} {order}"


def _text(value: Any) -> str | None:
    """A value as PostgreSQL writes it, times in UTC."""
    if isinstance(value, datetime):
        return f"{value.astimezone(UTC):%Y-%m-%d %H:%M:%S}+00"
    if isinstance(value, bool):
        return "true" if value else "false"
    return None if value is None else str(value)
