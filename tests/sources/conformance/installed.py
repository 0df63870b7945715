"""A connector to a bench's source in a workspace of a real installation, and what it landed there."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from orchestration.control_plane import arrivals, database, pulls
from orchestration.control_plane.pulls import Pull
from orchestration.control_plane.workspaces import Workspace
from orchestration.lake import layout
from orchestration.lake.credentials import CredentialBroker
from orchestration.lake.objects import WorkspaceStore
from orchestration.settings import Settings
from orchestration.sources.protocol import Window
from orchestration.stages.pulls import sync
from orchestration.stages.source_access import add_source, check_source
from tests.sources.conformance.bench import SourceBench
from tests.sources.conformance.ledger import Landed
from tests.sources.conftest import state_of


class Installed:
    """A connector that was checked and works."""

    def __init__(self, bench: SourceBench, settings: Settings, workspace: Workspace, folder: Path) -> None:
        self.bench, self.settings, self.workspace = bench, settings, workspace
        self._fetched = folder / "fetched.parquet"
        with database.as_user(settings.app_dsn, settings.operator) as connection:
            made = add_source(
                connection, settings, workspace.id, bench.of, "bench", bench.config(), bench.secrets
            )
        check_source(settings, workspace, made, enable=True)
        self.connector = state_of(settings, made)
        self._store = WorkspaceStore(CredentialBroker(settings).for_workspace(workspace.id, workspace.region))

    def sync(self, _window: Window, _at: Callable[[str], None]) -> None:
        """One that nothing disturbs, until now."""
        sync(self.settings, self.workspace, self.connector)

    @property
    def rows(self) -> list[Landed]:
        """The originals of all pulls, once the ledger is known to add up."""
        found = list[Landed]()
        with database.as_system(self.settings.system_dsn, self.workspace.id) as connection:
            made = pulls.list_pulls(connection, self.workspace.id, self.connector.id)[::-1]
            files = arrivals.list_landed_files(connection, self.workspace.id, "raw")
        assert [pull.number for pull in made] == list(range(1, len(made) + 1))
        raw: dict[str, list[str]] = {}
        for file in files:
            raw.setdefault(file.arrival_id, []).append(file.object_key)
        assert set(raw) <= {part["arrival_id"] for pull in made for part in pull.parts}
        for pull in made:
            found += self._pulled(pull, raw)
        return found

    def _pulled(self, pull: Pull, raw: dict[str, list[str]]) -> list[Landed]:
        assert pull.records == pull.landed + pull.non_event + pull.duplicate
        found, landed = list[Landed](), 0
        for part in pull.parts:
            rows = self._read(layout.original_key(self.workspace.id, part["sha256"]))
            assert len(rows) == part["rows"]
            found += [Landed(part["stream"], part["kind"] == "tombstones", row) for row in rows]
            if part["kind"] == "events":
                events = [row for key in raw.get(part["arrival_id"], []) for row in self._read(key)]
                landed += len(events)
                self._require_among(part["stream"], events, rows)
        assert landed == pull.landed
        return found

    def _require_among(self, stream: str, events: list[Any], rows: list[Any]) -> None:
        """What is in raw is of the original, each row once."""
        of_raw = Counter(self.bench.landed(stream, row) for row in events)
        assert of_raw <= Counter(self.bench.landed(stream, row) for row in rows)

    def _read(self, key: str) -> list[dict[str, Any]]:
        self._store.download(key, self._fetched)
        return pq.read_table(self._fetched).to_pylist()
