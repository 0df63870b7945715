"""A ledger of arrivals in memory, over local files; what the real one decides is decided by the same functions.

Refreshes go as the automation plans them, and can be killed at any change that they make to the working tree.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from orchestration.automation.planner import plan_run
from orchestration.connectors.landing import Landing, land
from orchestration.connectors.mapping import Mapping as ColumnMapping
from orchestration.control_plane.arrivals import Arrival
from orchestration.stages.case_index import stage_case_index
from orchestration.stages.events import stage_events
from orchestration.stages.explainability import stage_explanations
from orchestration.stages.process import stage_process
from orchestration.stages.release import STEPS, WorkingTreeState, release_audits, stale_months
from orchestration.stages.staleness import months_between
from orchestration.stages.tree import Draft, LocalTree
from orchestration.stages.versions import landing_rules, lands_alike, readmissible
from orchestration.stages.workbench import AnalysisParameters, RawPart
from tests.stages.local_bench import NOW, WORKSPACE, local_bench

MOST_RUNS = 4
"""The first refresh is one run, later ones are two; a killed one may leave work for a third."""


class Killed(Exception):
    """The run ends here, as a killed process does."""


@dataclass
class DyingTree(LocalTree):
    """A working tree whose next change but ``left`` kills the run that makes it; None: it lives."""

    left: int | None = None

    def _breathe(self) -> None:
        if self.left is not None:
            self.left -= 1
            if self.left < 0:
                raise Killed

    def put(self, drafts: Sequence[Draft], **changes: Any) -> None:
        self._breathe()
        super().put(drafts, **changes)

    def forget(self, dataset: str, months: Iterable[str]) -> None:
        months = list(months)
        if months:
            self._breathe()
        super().forget(dataset, months)

    def note(self, dataset: str, facts: Mapping[str, Mapping[str, Any]]) -> None:
        if facts:
            self._breathe()
        super().note(dataset, facts)


@dataclass(frozen=True)
class Version:
    """A version of an arrival: its row of the ledger, its file and its raw files."""

    arrival: Arrival
    path: Path
    parts: tuple[RawPart, ...]


@dataclass
class LocalLedger:
    """One workspace. ``landings`` may be shared: the same file, mapping and bounds land as the same files."""

    folder: Path
    landings: dict[str, Landing]
    first_month: str = "2000-01"
    now: datetime = NOW
    versions: list[Version] = field(default_factory=list)
    released: str | None = None
    _entered: int = 0

    def __post_init__(self) -> None:
        self.tree = DyingTree(self.folder / "tree")

    @property
    def landed(self) -> list[Version]:
        """What counts, in the order of arrival."""
        return sorted(
            (v for v in self.versions if v.arrival.status == "landed"), key=lambda v: v.arrival.rank
        )

    def upload(self, path: Path, mapping: ColumnMapping) -> None:
        """Take a file in, unless its bytes have landed."""
        if not self._has_landed(path):
            rank = max((v.arrival.rank for v in self.versions), default=0) + 1
            self.versions.append(self._read(path, mapping, rank, None))

    def retract(self, version: Version) -> None:
        """Take a landed version out."""
        self._leave(version, "retracted")

    def replace_file(self, version: Version, path: Path) -> None:
        """Put another file in its place, unless its bytes have landed."""
        if not self._has_landed(path):
            self._supersede(version, path, _mapping(version))

    def remap(self, changes: Mapping[str, Any]) -> None:
        """Read all that landed with a changed mapping."""
        for version in self.landed:
            mapping = ColumnMapping.model_validate(version.arrival.mapping | changes)
            if mapping.model_dump(mode="json") != version.arrival.mapping:
                self._supersede(version, version.path, mapping)

    def readmit(self) -> None:
        """Read again what could land otherwise now."""
        due = readmissible((v.arrival for v in self.versions), landing_rules(self.first_month), self.now)
        for version in [v for v in self.landed if v.arrival in due]:
            self._supersede(version, version.path, _mapping(version))

    def refresh(self, kill_after: int | None = None) -> None:
        """Run what the planner plans until it plans nothing; or die after so many changes of the working tree.

        What landed in a month before the first one, which was raised since, waits until its file is read again.

        Raises:
            AssertionError: the plans do not come to an end, or an audit of the release fails.
        """
        self.tree.left = kill_after
        try:
            for _run in range(MOST_RUNS):
                if (plan := plan_run(self.state(), self.released)) is None:
                    return
                # As the ranged run: there are no partitions before the first month.
                first, last = (max(month, self.first_month) for month in (plan.first, plan.last))
                self._run(plan.kind, months_between(first, last))
            if not any(part.month < self.first_month for part in self.parts()):
                raise AssertionError(
                    f"still something to do after {MOST_RUNS} runs: {stale_months(self.state())}"
                )
        except Killed:
            pass
        finally:
            self.tree.left = None

    def _run(self, kind: str, months: Sequence[str]) -> None:
        bench = local_bench(self.folder, self.parts(), tree=self.tree)
        if kind != "cases":
            stage_events(bench, months)
            stage_case_index(bench)
        if kind != "arrival":
            stage_process(bench, months)
            stage_explanations(bench, months)
            self._release()

    def _release(self) -> None:
        state = self.state()
        if not stale_months(state):
            failed = [audit for audit in release_audits(state) if not audit["passed"]]
            assert failed == [], "a release was refused"
            self.released = state.content_sha256()

    def state(self) -> WorkingTreeState:
        """What the planner sees."""
        files = [file for dataset in STEPS for file in self.tree.files(dataset).values()]
        arrived = [version.arrival for version in self.landed]
        return WorkingTreeState(self.parts(), arrived, files, AnalysisParameters(), NOW)

    def parts(self) -> list[RawPart]:
        """The raw files that count."""
        return [part for version in self.landed for part in version.parts]

    def content(self) -> dict[str, str]:
        """``dataset month`` -> content hash of the working tree."""
        return {f"{file.dataset} {file.month}": file.content_sha256 for file in self.state().files}

    def clean(self, folder: Path) -> "LocalLedger":
        """Another workspace to which the final state is uploaded at once, and which is refreshed once."""
        other = LocalLedger(folder, self.landings, self.first_month, self.now)
        for version in self.landed:
            other.upload(version.path, _mapping(version))
        other.refresh()
        return other

    def _has_landed(self, path: Path) -> bool:
        return _sha256(path) in {version.arrival.sha256 for version in self.landed}

    def _leave(self, version: Version, status: Any) -> None:
        place = self.versions.index(version)
        self.versions[place] = replace(version, arrival=replace(version.arrival, status=status))

    def _supersede(self, old: Version, path: Path, mapping: ColumnMapping) -> None:
        alike = path == old.path and lands_alike(old.arrival.mapping, mapping.model_dump(mode="json"))
        current = old.arrival.landing_rules == landing_rules(self.first_month)
        if alike and current and old.arrival.mapping != mapping.model_dump(mode="json"):
            new = self._renamed(old, mapping)
        else:
            new = self._read(path, mapping, old.arrival.rank, old.arrival.id)
        self._leave(old, "replaced")
        self.versions.append(new)

    def _renamed(self, old: Version, mapping: ColumnMapping) -> Version:
        arrival = replace(
            old.arrival, id=self._new_id(), replaces=old.arrival.id, mapping=mapping.model_dump(mode="json")
        )
        parts = tuple(replace(p, arrival_id=arrival.id, mapping=arrival.mapping) for p in old.parts)
        return Version(arrival, old.path, parts)

    def _read(self, path: Path, mapping: ColumnMapping, rank: int, replaces: str | None) -> Version:
        landing, sha256 = self._land(path, mapping), _sha256(path)
        arrival = Arrival(
            id=self._new_id(),
            workspace_id=WORKSPACE,
            connector_id="uploads",
            sha256=sha256,
            file_name=path.name,
            format="csv",
            bytes=path.stat().st_size,
            status="landed",
            rank=rank,
            mapping=mapping.model_dump(mode="json"),
            schema_fingerprint=landing.schema_fingerprint,
            columns=[{"name": name, "type": kind} for name, kind in landing.columns],
            records=landing.records,
            landed=landing.landed,
            non_event=landing.non_event,
            quarantined=landing.quarantined,
            message=None,
            created_by=None,
            created_at=NOW,
            replaces=replaces,
            landing_rules=landing_rules(self.first_month),
            review_at=landing.review_at,
        )
        parts = tuple(
            RawPart(
                arrival_id=arrival.id,
                arrival_sha256=sha256,
                rank=rank,
                month=month,
                url=str(file.path),
                object_key=f"{WORKSPACE}/raw/csv_upload/{month}/{file.path.parent.parent.name}.parquet",
                rows=file.rows,
                content_sha256=_sha256(file.path),
                columns=tuple(name for name, _kind in landing.columns),
                mapping=arrival.mapping,
            )
            for month, file in sorted(landing.months.items())
        )
        return Version(arrival, path, parts)

    def _land(self, path: Path, mapping: ColumnMapping) -> Landing:
        asked = [_sha256(path), mapping.model_dump(mode="json"), self.first_month, self.now.isoformat()]
        key = hashlib.sha256(json.dumps(asked).encode()).hexdigest()[:24]
        if key not in self.landings:
            self.landings[key] = land(
                path, mapping, first_month=self.first_month, now=self.now, into=path.parent / key
            )
        return self.landings[key]

    def _new_id(self) -> str:
        self._entered += 1
        return f"00000000-0000-4000-8000-{self._entered:012}"


def _mapping(version: Version) -> ColumnMapping:
    return ColumnMapping.model_validate(version.arrival.mapping)


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
