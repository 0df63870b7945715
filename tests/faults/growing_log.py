"""A workspace with a generated log that grows by one upload at a time."""

import random
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TextIO

from orchestration.connectors.mapping import Mapping
from orchestration.control_plane import connectors, database, jobs, workspaces
from orchestration.control_plane.workspaces import Workspace
from orchestration.settings import Settings
from orchestration.stages.intake import CONNECTOR_TYPE, take_in
from tests.faults.reader import store_of

MAPPING = Mapping(case_id="case", activity="activity", timestamp="time", resource="who")
FIRST = datetime(2024, 1, 1, tzinfo=UTC)
MONTHS = 5
CASES = 250
FEW = 12
"""So many cases come with a later upload."""


@dataclass
class GrowingLog:
    """A workspace and its uploads: a log over five months, then in turn new cases, late first and late last events."""

    settings: Settings
    workspace: Workspace
    folder: Path
    uploads: int = 0
    _random: random.Random = field(default_factory=lambda: random.Random(7))

    @property
    def slug(self) -> str:
        return self.workspace.slug

    @property
    def analysis_id(self) -> str:
        """Of the workspace's standing analysis."""
        with database.as_system(self.settings.system_dsn, self.workspace.id) as connection:
            return jobs.standing_job(connection, self.workspace.id).id

    def grow(self) -> None:
        """Upload the next file, whose content depends on nothing but its number."""
        path = self.folder / f"upload-{self.uploads:03}.csv"
        with path.open("w") as file:
            file.write("case,activity,time,who,region\n")
            self._write(file)
        upload(self.settings, self.workspace, path)
        self.uploads += 1

    def _write(self, file: TextIO) -> None:
        number = self.uploads
        if number == 0:
            for case in range(CASES):
                self._write_case(file, f"c{case}", FIRST + timedelta(hours=case * MONTHS * 30 * 24 / CASES))
        elif number % 3 == 1:
            for case in range(FEW):
                began = FIRST + timedelta(days=self._random.uniform(0, MONTHS * 30))
                self._write_case(file, f"n{number}-{case}", began)
        else:
            # Late rows of known cases: before their first event (which can move a case home) or after their last.
            late = timedelta(days=-20 if number % 3 == 2 else 45, seconds=number)
            for case in self._random.sample(range(CASES), FEW):
                began = FIRST + timedelta(hours=case * MONTHS * 30 * 24 / CASES)
                file.write(f"c{case},corrected,{(began + late).isoformat()},Pat,north\n")

    def _write_case(self, file: TextIO, case: str, began: datetime) -> None:
        region, time = self._random.choice(("north", "south")), began
        for activity in ("order", "check", "ship", "pay"):
            if activity == "check" and self._random.random() < 0.3:
                continue
            who = self._random.choice(("Ann", "Bob", "Cem"))
            file.write(f"{case},{activity},{time.isoformat()},{who},{region}\n")
            time += timedelta(days=self._random.expovariate(1 / (9 if region == "south" else 3)))


def upload(settings: Settings, workspace: Workspace, path: Path) -> None:
    """Take a file in, as ``casetrail upload`` does."""
    with database.as_user(settings.app_dsn, settings.operator) as connection:
        connector = connectors.ensure_connector(connection, workspace.id, CONNECTOR_TYPE, "uploads")
    take_in(
        lambda: database.as_user(settings.app_dsn, settings.operator),
        store_of(settings, workspace),
        path,
        MAPPING,
        connector_id=connector.id,
        file_name=path.name,
        first_month=settings.first_month,
    )


def new_workspace(settings: Settings, slug: str) -> Workspace:
    """A workspace of the operator."""
    with database.as_user(settings.app_dsn, settings.operator) as connection:
        return workspaces.create_workspace(connection, slug, "EU", "pro", settings.operator, slug)
