"""The weekly garbage job goes through all workspaces, and a busy one does not hold it up."""

from pathlib import Path

import pytest

from orchestration.automation import garbage
from orchestration.control_plane import database
from orchestration.lake import layout
from orchestration.settings import Settings
from tests.faults.growing_log import GrowingLog, new_workspace
from tests.faults.reader import store_of


def test_every_workspace_that_is_not_busy_is_cleaned(
    installation: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    impatient = installation.model_copy(update={"orphan_seconds": -60})
    monkeypatch.setattr(garbage, "load_settings", lambda: impatient)
    monkeypatch.setattr(garbage, "_WAIT_SECONDS", 1)
    logs = [
        GrowingLog(installation, new_workspace(installation, slug), tmp_path) for slug in ("idle", "busy")
    ]
    orphans = {}
    for log in logs:
        orphans[log.slug] = layout.original_key(log.workspace.id, "0" * 64)
        store_of(installation, log.workspace).put_bytes(orphans[log.slug], b"half an upload")
    with database.workspace_lock(installation.system_dsn, logs[1].workspace.id):
        garbage.garbage_job.execute_in_process(raise_on_error=False)
    left = {log.slug: store_of(installation, log.workspace).exists(orphans[log.slug]) for log in logs}
    assert left == {"idle": False, "busy": True}
