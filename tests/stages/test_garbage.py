"""Garbage: what is kept and for how long, what is removed, and what a reader of a collected release is told."""

from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path
from time import sleep

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestration.control_plane import (
    analyses,
    arrivals,
    connectors,
    corrections,
    database,
    inbox,
    jobs,
    kept_releases,
    releases,
    staging,
)
from orchestration.control_plane.corrections import Cause
from orchestration.control_plane.jobs import AnalysisJob
from orchestration.control_plane.kept_releases import ReleaseAge, ReleaseCollected
from orchestration.lake import layout
from orchestration.lake.objects import WorkspaceStore
from orchestration.settings import Settings
from orchestration.stages.answer import answer
from orchestration.stages.garbage import KeepPolicy, collect_garbage, expired_releases
from orchestration.stages.intake import CONNECTOR_TYPE
from orchestration.stages.opening import open_analysis, open_workspace
from orchestration.stages.workbench import AnalysisParameters
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


@dataclass
class Question:
    """An analysis on demand of a tenant's release, and runs of it that end as a test wants."""

    tenant: Tenant
    id: str

    def start(self) -> AnalysisJob:
        """A new attempt."""
        with database.as_system(self.tenant.settings.system_dsn, self.tenant.log.workspace.id) as connection:
            return jobs.start(connection, self.tenant.log.workspace.id, self.id)

    def work(self, started: AnalysisJob, stages: int | None = None) -> None:
        """Answer it, or make the files of so many stages."""
        with open_analysis(self.tenant.settings, started, "run") as opened:
            for _made in islice(answer(self.tenant.settings, opened, "run", lambda: False), stages):
                pass

    def fail(self, started: AnalysisJob, message: str) -> None:
        """Note that the attempt failed."""
        with database.as_system(self.tenant.settings.system_dsn, self.tenant.log.workspace.id) as connection:
            jobs.fail(connection, self.tenant.log.workspace.id, self.id, started.attempt, message)

    def staged(self) -> set[str]:
        """The objects that its working tree names."""
        with database.as_system(self.tenant.settings.system_dsn, self.tenant.log.workspace.id) as connection:
            files = staging.all_staged_files(connection, self.tenant.log.workspace.id, self.id)
        return {file.object_key for file in files}


def question(tenant: Tenant, size: int) -> Question:
    """Asked, but not started; each size is another question."""
    parameters = AnalysisParameters.model_validate({"filters": [{"kind": "case_size", "min": size}]})
    with database.as_user(tenant.settings.app_dsn, tenant.settings.operator) as connection:
        release = jobs.standing_job(connection, tenant.log.workspace.id).provenance_id
        assert release
        asked = analyses.enqueue(
            connection, tenant.log.workspace.id, parameters.model_dump(mode="json", by_alias=True), release
        )
    return Question(tenant, asked.id)


def test_what_a_failed_analysis_made_goes_when_it_is_old_and_a_retry_makes_it_again(
    tenant: Callable[..., Tenant],
) -> None:
    acme = tenant("failed")
    acme.release()
    failed, running, answered = (question(acme, size) for size in (1, 2, 3))
    attempt = failed.start()
    failed.work(attempt, stages=2)
    failed.fail(attempt, "cancelled while it was running")
    running.work(running.start(), stages=2)
    answered.work(answered.start())
    made, others = failed.staged(), running.staged() | answered.staged()
    assert made
    assert collect_garbage(acme.settings, "failed").failed_analyses == 0, "it may be tried again"
    assert made | others <= stored(acme.settings, acme.log.workspace)

    impatient = acme.settings.model_copy(update={"orphan_seconds": -60})
    foretold = collect_garbage(impatient, "failed", dry_run=True)
    assert (foretold.failed_analyses, foretold.objects) == (1, len(made))
    assert failed.staged() == made
    assert made <= stored(acme.settings, acme.log.workspace)
    collected = nothing_is_left_over(acme.settings, "failed")
    assert (collected.failed_analyses, collected.objects, collected.missing) == (1, len(made), [])
    assert failed.staged() == set()
    assert not made & stored(acme.settings, acme.log.workspace)
    assert running.staged() | answered.staged() == others <= stored(acme.settings, acme.log.workspace)

    failed.work(failed.start())
    assert made <= failed.staged() <= stored(acme.settings, acme.log.workspace)
    assert nothing_is_left_over(acme.settings, "failed").failed_analyses == 0


def test_the_release_of_an_analysis_on_demand_deletes_nothing(tenant: Callable[..., Tenant]) -> None:
    """It does not hold the workspace's lock: what it deletes, a refresh could just be making again."""
    acme = tenant("bystander")
    old = acme.release()
    new = acme.release()
    sleep(1.1)
    asked = question(acme, 1)
    asked.work(asked.start())
    assert acme.keys(old) - acme.keys(new)
    assert acme.keys(old) <= stored(acme.settings, acme.log.workspace)


def test_a_retry_of_a_failed_analysis_keeps_its_files(tenant: Callable[..., Tenant]) -> None:
    """Also those that it has left behind, such as of another code: it may be making them again just now."""
    acme = tenant("retried")
    acme.release()
    retried = question(acme, 1)
    attempt = retried.start()
    retried.work(attempt, stages=2)
    retried.fail(attempt, "the process of the run was killed")
    left = layout.dataset_key(acme.log.workspace.id, retried.id, "events", "2024-02", "0" * 64)
    store_of(acme.settings, acme.log.workspace).put_bytes(left, b"of the first attempt")
    retried.start()
    made = retried.staged()
    impatient = acme.settings.model_copy(update={"orphan_seconds": -60})
    assert collect_garbage(impatient, "retried").failed_analyses == 0
    assert retried.staged() == made
    assert made | {left} <= stored(acme.settings, acme.log.workspace)


def test_a_failed_analysis_starts_again_only_after_its_files_are_deleted(
    tenant: Callable[..., Tenant], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the collection would delete what the retry has just made again under the same keys."""
    acme = tenant("waiting")
    acme.release()
    failed = question(acme, 1)
    attempt = failed.start()
    failed.work(attempt, stages=1)
    failed.fail(attempt, "cancelled while it was running")
    made = failed.staged()
    delete, retries = WorkspaceStore.delete, ThreadPoolExecutor(1)
    started: list[Future[AnalysisJob]] = []

    def slow_delete(store: WorkspaceStore, keys: Iterable[str]) -> None:
        started.append(retries.submit(failed.start))
        with pytest.raises(TimeoutError):
            started[0].result(timeout=1)
        delete(store, keys)

    impatient = acme.settings.model_copy(update={"orphan_seconds": -60})
    with monkeypatch.context() as patch:
        patch.setattr(WorkspaceStore, "delete", slow_delete)
        assert collect_garbage(impatient, "waiting").objects == len(made)
    failed.work(started[0].result(timeout=30))
    retries.shutdown()
    assert failed.staged() <= stored(acme.settings, acme.log.workspace)


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
