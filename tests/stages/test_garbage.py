"""Garbage: what is kept and for how long, what is removed, and what a reader of a collected release is told."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from time import sleep

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestration.control_plane import (
    arrivals,
    connectors,
    corrections,
    database,
    inbox,
    kept_releases,
    releases,
)
from orchestration.control_plane.corrections import Cause
from orchestration.control_plane.kept_releases import ReleaseAge, ReleaseCollected
from orchestration.lake import layout
from orchestration.settings import Settings
from orchestration.stages.garbage import KeepPolicy, collect_garbage, expired_releases
from orchestration.stages.intake import CONNECTOR_TYPE
from orchestration.stages.opening import open_workspace
from tests.faults.growing_log import GrowingLog, new_workspace
from tests.faults.leftovers import named, nothing_is_left_over, stored
from tests.faults.reader import Reader, store_of
from tests.faults.refresh import refresh_and_release

NOW = datetime(2026, 11, 28, tzinfo=UTC)
DAY = timedelta(days=1)
POLICY = KeepPolicy(superseded=30 * DAY, newest=3, orphan=DAY, dropped=DAY)


def ages(*superseded_days_ago: int | None, analysis: str = "standing") -> list[ReleaseAge]:
    """Releases, newest first; None is the current one."""
    return [
        ReleaseAge(f"{analysis}-{place}", analysis, NOW, None if days is None else NOW - days * DAY, None)
        for place, days in enumerate(superseded_days_ago)
    ]


def test_a_release_is_kept_for_its_days_and_the_newest_ones_for_longer() -> None:
    found = ages(None, 90, 91, 92, 29)
    assert expired_releases(found, POLICY, NOW) == ["standing-3"]


def test_each_analysis_keeps_its_own_newest_releases() -> None:
    found = ages(None, 90, 91) + ages(None, 90, 91, 92, analysis="other")
    assert expired_releases(found, POLICY, NOW) == ["other-3"]


@given(
    st.lists(st.integers(0, 100), max_size=8).map(sorted),
    st.integers(1, 5),
    st.integers(0, 60),
)
def test_neither_the_current_release_nor_a_younger_one_than_a_kept_one_expires(
    days: list[int], newest: int, keep: int
) -> None:
    found = ages(None, *days)
    policy = KeepPolicy(superseded=keep * DAY, newest=newest, orphan=DAY, dropped=DAY)
    expired = expired_releases(found, policy, NOW)
    assert found[0].id not in expired
    assert expired == [age.id for age in found][len(found) - len(expired) :]
    assert len(found) - len(expired) >= min(newest, len(found))


@dataclass
class Tenant:
    """A workspace of a test and its installation, which keeps releases for a second."""

    settings: Settings
    log: GrowingLog

    def release(self) -> str:
        """Upload the next file and release it; the release's id."""
        self.log.grow()
        with open_workspace(self.settings, self.log.slug, "run") as opened:
            refresh_and_release(self.settings, opened, "run")
        return Reader(self.settings, self.log.workspace).read().provenance_id

    def keys(self, provenance_id: str) -> set[str]:
        """The objects of a release."""
        with database.as_system(self.settings.system_dsn, self.log.workspace.id) as connection:
            files = releases.release_files(connection, self.log.workspace.id, provenance_id)
        return {file.object_key for file in files}


@pytest.fixture
def tenant(installation: Settings, tmp_path: Path) -> Callable[..., Tenant]:
    """Makes one."""

    def make(slug: str, **keep: int) -> Tenant:
        chosen = {"release_grace_seconds": 1, "keep_release_days": 0, "keep_releases": 1} | keep
        settings = installation.model_copy(update=chosen)
        return Tenant(settings, GrowingLog(settings, new_workspace(settings, slug), tmp_path))

    return make


def test_a_release_deletes_what_only_expired_releases_name(tenant: Callable[..., Tenant]) -> None:
    """However long ago it was written: its readers began when it was still current."""
    acme = tenant("superseded", release_grace_seconds=2)
    old = acme.release()
    sleep(3)  # Now all of its files are older than the grace period.
    new = acme.release()
    assert acme.keys(old) - acme.keys(new)
    assert acme.keys(old) | acme.keys(new) <= stored(acme.settings, acme.log.workspace)
    sleep(3)
    newest = acme.release()
    assert stored(acme.settings, acme.log.workspace) & acme.keys(old) <= acme.keys(new) | acme.keys(newest)
    assert stored(acme.settings, acme.log.workspace) == named(acme.settings, acme.log.workspace)


def test_the_newest_releases_stay_whole_however_old(tenant: Callable[..., Tenant]) -> None:
    acme = tenant("kept", keep_releases=2)
    first, second = acme.release(), acme.release()
    sleep(1.1)
    third = acme.release()
    collected = nothing_is_left_over(acme.settings, "kept")
    left = stored(acme.settings, acme.log.workspace)
    assert acme.keys(second) | acme.keys(third) <= left
    assert not (acme.keys(first) - acme.keys(second) - acme.keys(third)) & left
    assert collected.releases == 0, "the release itself gave the first one up"


def test_a_reader_of_a_collected_release_is_told_so(tenant: Callable[..., Tenant]) -> None:
    acme = tenant("told")
    old = acme.release()
    acme.release()
    sleep(1.1)
    current = acme.release()
    with database.as_user(acme.settings.app_dsn, acme.settings.operator) as connection:
        kept_releases.require_kept(connection, acme.log.workspace.id, current)
        with pytest.raises(
            ReleaseCollected,
            match=rf"release {old} was superseded at .* UTC, its files were kept until .* UTC; "
            rf"the current one is {current}",
        ):
            kept_releases.require_kept(connection, acme.log.workspace.id, old)
        with pytest.raises(kept_releases.UnknownRelease, match="casetrail provenance list"):
            kept_releases.require_kept(connection, acme.log.workspace.id, "no-release")
    with database.as_system(acme.settings.system_dsn, acme.log.workspace.id) as connection:
        assert releases.provenance(connection, acme.log.workspace.id, old)["etl_steps"], "the record stays"


def test_what_broken_runs_leave_goes_when_it_is_old(tenant: Callable[..., Tenant]) -> None:
    acme = tenant("abandoned")
    acme.release()
    ids = acme.log.workspace.id, acme.log.analysis_id
    left = [
        layout.dataset_key(*ids, "events", "2024-02", "0" * 64),
        layout.raw_key(ids[0], "csv_upload", "2024-02", "half-an-upload.parquet"),
        layout.original_key(ids[0], "0" * 64),
    ]
    store = store_of(acme.settings, acme.log.workspace)
    for key in left:
        store.put_bytes(key, b"of a process that was killed")
    before = {entry.key for entry in store.list()}
    patient = collect_garbage(acme.settings, "abandoned")
    assert (patient.objects, patient.young) == (0, 3)
    impatient = acme.settings.model_copy(update={"orphan_seconds": -60})
    assert collect_garbage(impatient, "abandoned", dry_run=True).objects == 3
    assert {entry.key for entry in store.list()} == before
    assert nothing_is_left_over(acme.settings, "abandoned").objects == 3


def test_a_lost_file_is_named(tenant: Callable[..., Tenant]) -> None:
    acme = tenant("lost")
    key = min(acme.keys(acme.release()))
    store = store_of(acme.settings, acme.log.workspace)
    content = store.get(key)
    store.delete([key])
    assert collect_garbage(acme.settings, "lost").missing == [key]
    store.put_bytes(key, content)
    assert collect_garbage(acme.settings, "lost").missing == []


def test_raw_files_of_a_retracted_arrival_stay_while_a_kept_release_was_made_from_them(
    tenant: Callable[..., Tenant],
) -> None:
    acme = tenant("retracted")
    acme.release()
    acme.release()
    with database.as_system(acme.settings.system_dsn, acme.log.workspace.id) as connection:
        gone = arrivals.list_arrivals(connection, acme.log.workspace.id, "landed")[-1]
        raw = {f.object_key for f in arrivals.list_landed_files(connection, acme.log.workspace.id, "raw")
               if f.arrival_id == gone.id}  # fmt: skip
        corrections.retract(connection, acme.log.workspace.id, gone.id, Cause("retracted", "a mistake"))
    nothing_is_left_over(acme.settings, "retracted")
    assert raw <= stored(acme.settings, acme.log.workspace)
    with open_workspace(acme.settings, "retracted", "run") as opened:
        refresh_and_release(acme.settings, opened, "run")
    sleep(1.1)
    nothing_is_left_over(acme.settings, "retracted")
    left = stored(acme.settings, acme.log.workspace)
    assert not raw & left
    assert layout.original_key(acme.log.workspace.id, gone.sha256) in left


def test_a_dropped_file_that_landed_leaves_the_inbox_unless_another_took_its_place(
    tenant: Callable[..., Tenant],
) -> None:
    acme = tenant("dropped")
    acme.release()
    store, workspace_id = store_of(acme.settings, acme.log.workspace), acme.log.workspace.id
    with database.as_user(acme.settings.app_dsn, acme.settings.operator) as connection:
        connector = connectors.ensure_connector(connection, workspace_id, CONNECTOR_TYPE, "uploads")
    folder = layout.inbox_prefix(workspace_id, connector.id)
    for name in ("landed", "replaced", "waiting"):
        store.put_bytes(folder + name, name.encode())
    with database.as_system(acme.settings.system_dsn, workspace_id) as connection:
        for entry in store.list(folder):
            if not entry.key.endswith("waiting"):
                inbox.record_seen(connection, workspace_id, connector.id, entry.key, entry.etag, entry.bytes)
        for file in inbox.inbox_files(connection, workspace_id):
            inbox.record_outcome(connection, file, "landed", None, None)
    store.put_bytes(folder + "replaced", b"another version")
    sleep(2.1)  # S3 tells times in whole seconds.
    assert nothing_is_left_over(acme.settings, "dropped").dropped_files == 1
    assert {entry.key for entry in store.list(folder)} == {folder + "replaced", folder + "waiting"}
