"""Pulls from Marketo's test server as a sync does, without an installation: pages become drafts at each checkpoint."""

import shutil
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from casetrail_testkit import MarketoServer
from orchestration.sources.draft import PullDraft
from orchestration.sources.protocol import Checkpoint, Context, Page, State, Window
from orchestration.sources.redaction import Redactor
from orchestration.sources.types import marketo

NOON = datetime(2026, 3, 4, 12, tzinfo=UTC)
NEVER = datetime(2100, 1, 1, tzinfo=UTC)
Row = dict[str, Any]


def context(redactor: Redactor | None = None) -> Context:
    """One that leads to this machine, which the operator has named."""
    return Context(lambda host, _port: host, redactor or Redactor(), frozenset({"127.0.0.1"}))


def config_of(server: MarketoServer, **changes: Any) -> marketo.Config:
    values = {
        "url": server.url,
        "client_id": server.identity.client_id,
        "client_secret": server.identity.client_secret,
        "start": "2026-03-01T00:00:00Z",
        "lag_seconds": 0,
        "overlap_seconds": 600,
        "poll_seconds": 0,
        **changes,
    }
    return marketo.Config.model_validate(values)


class Died(Exception):
    """The process was killed."""


@dataclass
class Puller:
    """A connector and what of it has landed: rows without their nulls, by stream, in the order of the pulls."""

    server: MarketoServer
    folder: Path
    config: marketo.Config
    end: datetime = NEVER
    state: State | None = None
    pulls: int = 0
    duplicates: int = 0
    live: dict[str, list[Row]] = field(default_factory=dict)
    tombstones: dict[str, list[Row]] = field(default_factory=dict)
    checkpoints: list[Checkpoint] = field(default_factory=list)
    columns: dict[str, dict[str, str]] = field(default_factory=dict)
    _recent: Path | None = None

    def pull(self, *, die_after_pages: int | None = None) -> int:
        """Read to the end; how many records are new. What came before a death or an error, and was landed, stays."""
        before = self.rows
        window = Window(self.config.start, self.end)
        pages = 0
        with closing(marketo.read(self.config, window, self.state, context())) as steps:
            while True:
                self.pulls += 1
                folder = self.folder / f"pull-{self.pulls}"
                folder.mkdir()
                draft = PullDraft(folder)
                for step in steps:
                    if isinstance(step, Checkpoint):
                        break
                    draft.add(step)
                    self.columns[step.stream] = dict(step.columns)
                    pages += 1
                    if pages == die_after_pages:
                        raise Died
                else:
                    draft.require_empty()
                    return self.rows - before
                self._land(draft, step)

    @property
    def rows(self) -> int:
        """All that has landed."""
        return sum(len(rows) for kind in (self.live, self.tombstones) for rows in kind.values())

    def guids(self) -> list[int]:
        """The activities that have landed, in order."""
        return sorted(int(row["marketoGUID"]) for row in self.live.get("activities", []))

    def _land(self, draft: PullDraft, checkpoint: Checkpoint) -> None:
        drafted, recent = draft.finish(self._recent, checkpoint.reread_from, {})
        for stream in drafted:
            self.duplicates += stream.duplicate
            for found, path in ((self.live, stream.file), (self.tombstones, stream.tombstones)):
                rows = pq.read_table(path).to_pylist()
                shown = [{name: value for name, value in row.items() if value is not None} for row in rows]
                found.setdefault(stream.stream, []).extend(shown)
        self._recent = self.folder / f"recent-{self.pulls}.parquet"
        shutil.move(recent, self._recent)
        self.state = checkpoint.state
        self.checkpoints.append(checkpoint)


Make = Callable[..., Puller]
"""Makes a puller of the test's server, with changes of its configuration."""


def pages_of(puller: Puller) -> list[Page]:
    """The pages of a read that lands nothing."""
    steps = marketo.read(puller.config, Window(puller.config.start, NEVER), puller.state, context())
    return [step for step in steps if isinstance(step, Page)]
