"""A connector to a made-up org, without database and object store: what its pulls landed is in memory."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from pydantic import SecretStr

from casetrail_testkit import Clock, SalesforceServer
from orchestration.sources.draft import PullDraft
from orchestration.sources.protocol import Checkpoint, Context, State, Window
from orchestration.sources.redaction import Redactor
from orchestration.sources.types import salesforce

NOON = datetime(2026, 3, 4, 12, 0, tzinfo=UTC)
LATEST = datetime(2100, 1, 1, tzinfo=UTC)
LOCAL = frozenset({"127.0.0.1"})

Row = dict[str, str | None]


class Crash(Exception):
    """The process ends here."""


class Connected:
    """A connector to an org, and what it has pulled.

    Attributes:
        rows: Landed records by stream, and under ``NAME deleted`` the tombstones.
        state: Of the last pull.
    """

    def __init__(self, server: SalesforceServer, folder: Path, **changes: Any) -> None:
        self.server, self.folder = server, folder
        self.config = config_of(server, **changes)
        self.redactor = Redactor()
        self.rows: dict[str, list[Row]] = {}
        self.state: State | None = None
        self.requests: list[dict[str, Any]] = []
        self.duplicates = self.pulls = 0
        self._recent: Path | None = None

    @property
    def context(self) -> Context:
        return Context(lambda host, _port: host, self.redactor, LOCAL)

    def sync(self, *, start: datetime | None = None, crash_at_page: int = 0) -> None:
        """Read to the end; a crash loses what came behind the last checkpoint."""
        pages = 0
        steps = salesforce.read(self.config, Window(start, LATEST), self.state, self.context)
        with closing(steps):
            while True:
                with tempfile.TemporaryDirectory(dir=self.folder) as folder:
                    draft = PullDraft(Path(folder))
                    for step in steps:
                        if isinstance(step, Checkpoint):
                            break
                        pages += 1
                        if pages == crash_at_page:
                            raise Crash
                        draft.add(step)
                    else:
                        draft.require_empty()
                        return
                    self._land(draft, step)

    def _land(self, draft: PullDraft, checkpoint: Checkpoint) -> None:
        drafted, recent = draft.finish(self._recent, checkpoint.reread_from, {})
        self._recent = Path(shutil.move(recent, self.folder / f"recent-{self.pulls}.parquet"))
        self.pulls += checkpoint.state != (self.state or {}) or any(s.records > s.duplicate for s in drafted)
        self.state = checkpoint.state
        self.requests.append(dict(checkpoint.request))
        for stream in drafted:
            self.duplicates += stream.duplicate
            for name, path in ((stream.stream, stream.file), (f"{stream.stream} deleted", stream.tombstones)):
                self.rows.setdefault(name, []).extend(pq.read_table(path).to_pylist())

    def ids(self, stream: str) -> list[str]:
        """The ids of the landed records, in order."""
        return sorted(str(row["Id"]) for row in self.rows.get(stream, []))

    def values(self, stream: str, column: str) -> list[str | None]:
        """A column of the landed records, in the order in which they came."""
        return [row[column] for row in self.rows.get(stream, [])]


def config_of(server: SalesforceServer, **changes: Any) -> salesforce.Config:
    secret = SecretStr(server.sessions.consumer_secret)
    values = {
        "url": server.url,
        "client_id": server.sessions.consumer_key,
        "client_secret": secret,
        **changes,
    }
    return salesforce.Config.model_validate(values)


@contextmanager
def opened_org(at: datetime = NOON) -> Iterator[SalesforceServer]:
    with SalesforceServer(clock=Clock(at)) as server:
        yield server
        assert server.failures == []


def stamp(seconds: float) -> str:
    """So many seconds after NOON, as the org stamps."""
    return f"{NOON + timedelta(seconds=seconds):%Y-%m-%dT%H:%M:%S}.000Z"


def load_leads(server: SalesforceServer, count: int, *, span: float = 86_400) -> None:
    """Leads that were made within ``span`` seconds before NOON, several in one second if there are many."""
    server.store.load(
        "Lead",
        ["LastName", "Company", "Status", "CreatedDate", "SystemModstamp"],
        (
            [f"Person {n}", f'Firm "{n}"\r\nSouth, Ltd', "Open", when, when]
            for n in range(count)
            for when in [stamp(-span + int(n * span / count))]
        ),
    )
