"""A connector without database and object store: what it landed is in memory, and a crash is an exception.

The type reads its real source, and pages become files by ``PullDraft``, as in ``orchestration.stages.pulls``.
"""

import json
import os
import shutil
import tempfile
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from orchestration.addresses import allowed_address
from orchestration.sources.draft import PullDraft
from orchestration.sources.personal import PersonalFields, personal_rules, require_usable
from orchestration.sources.protocol import Checkpoint, Context, State, Window
from orchestration.sources.redaction import Redactor
from orchestration.sources.registry import source_type
from tests.sources.conformance.bench import SourceBench

HISTORIES = int(os.environ.get("CASETRAIL_PULL_HISTORIES", "10"))
"""So many random schedules of each type are tried."""

THOROUGH = HISTORIES >= 100
"""Then every moment and request is, too."""

LOCAL = frozenset({"localhost", "127.0.0.1"})
MOMENTS = ("page", "checkpoint", "drafted", "entered")
"""Where a sync can die: with a page in hand, before its files are written, before they are entered, and after that."""


class Killed(BaseException):
    """The process is gone: nothing of ours catches it."""


def dying(moment: str, after: int) -> Callable[[str], None]:
    """Dies when a sync has passed a moment so many times."""
    left = after

    def at(here: str) -> None:
        nonlocal left
        if here == moment:
            if not left:
                raise Killed
            left -= 1

    return at


@dataclass(frozen=True)
class Landed:
    """A row in an original of a pull."""

    stream: str
    deleted: bool
    row: dict[str, str | None]


class Ledger:
    """Syncs a bench's source; ``rows`` and ``state`` are those of the pulls that were entered."""

    def __init__(self, bench: SourceBench, folder: Path, **config: Any) -> None:
        """``folder`` is empty; ``config`` is what differs from the bench's."""
        self.type = source_type(bench.of)
        self.config = self.type.Config.model_validate({**bench.config(), **bench.secrets, **config})
        require_usable(self.type, self.config)
        self.personal = PersonalFields(self.config, personal_rules(self.type, self.config), b"k" * 32)
        self.folder, self.secrets = folder, bench.secrets
        self.state: State | None = None
        self.recent: Path | None = None
        self.rows: list[Landed] = []
        self.pulls = 0

    def sync(self, window: Window, at: Callable[[str], None] = lambda _moment: None) -> None:
        """Read to the end. ``at`` is told each of ``MOMENTS``, and may raise ``Killed``."""
        redactor = Redactor(self.secrets.values())
        context = Context(lambda host, port: allowed_address(host, port, LOCAL), redactor, LOCAL)
        state = None if self.state is None else json.loads(json.dumps(self.state))
        with closing(self.type.read(self.config, window, state, context)) as steps:
            while True:
                with tempfile.TemporaryDirectory(dir=self.folder) as folder:
                    draft = PullDraft(Path(folder))
                    for step in steps:
                        if isinstance(step, Checkpoint):
                            break
                        draft.add(self.personal.hidden(step))
                        at("page")
                    else:
                        draft.require_empty()
                        return
                    at("checkpoint")
                    self._enter(draft, step, redactor, at)

    def _enter(
        self, draft: PullDraft, checkpoint: Checkpoint, redactor: Redactor, at: Callable[[str], None]
    ) -> None:
        told = json.dumps([checkpoint.state, checkpoint.request], default=str)
        assert redactor.redact(told) == told, "a secret would be written down"
        drafted, remembered = draft.finish(self.recent, checkpoint.reread_from, {})
        for stream in drafted:
            assert stream.records == stream.rows + stream.tombstone_rows + stream.duplicate
        rows = [
            Landed(stream.stream, deleted, row)
            for stream in drafted
            for deleted, path in ((False, stream.file), (True, stream.tombstones))
            for row in pq.read_table(path).to_pylist()
        ]
        at("drafted")
        self.pulls += 1
        self.recent = Path(shutil.move(remembered, self.folder / f"recent-{self.pulls}.parquet"))
        self.rows += rows
        self.state = checkpoint.state
        at("entered")
