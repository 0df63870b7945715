"""Backfills from the Dagster UI, in every form that it offers, through the real daemon."""

import time
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from orchestration.control_plane import database, workspaces
from orchestration.lake.credentials import CredentialBroker
from orchestration.lake.objects import WorkspaceStore
from orchestration.stages.staleness import add_months
from tests.e2e.conftest import Casetrail, installed
from tests.e2e.ui import ASSETS, Backfill, DagsterUi

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]

SLUGS = ("ada", "bob", "cid")
MONTHS = [add_months(f"{datetime.now(UTC):%Y-%m}", back) for back in (-3, -2, -1)]


@pytest.fixture(scope="module")
def casetrail(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Casetrail]:
    """An installation of few months, with three released workspaces."""
    folder = tmp_path_factory.mktemp("logs")
    with installed(CASETRAIL_FIRST_MONTH=MONTHS[0]) as command:
        for slug in SLUGS:
            command.json("workspace", "create", slug, "--slug", slug, "--owner", f"o@{slug}.example")
            log = folder / f"{slug}.csv"
            lines = [
                f"{slug}{month}{case},{step},{month}-{day:02}T10:00:00Z"
                for month in MONTHS
                for case in range(3)
                for day, step in ((1 + case, "ask"), (10 + case, "pay"))
            ]
            log.write_text("case,activity,time\n" + "\n".join(lines) + "\n")
            command.json("upload", slug, str(log))
        for slug in SLUGS:
            wait_until(lambda slug=slug: is_fresh(command, slug), f"{slug} is released")  # type: ignore[misc]
        yield command


@pytest.fixture(scope="module")
def ui(casetrail: Casetrail) -> DagsterUi:
    return DagsterUi(casetrail.settings())


def wait_until(condition: Callable[[], bool], what: str, seconds: float = 300) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"{what}: not within {seconds} s"
        time.sleep(1)


def show(casetrail: Casetrail, slug: str) -> Any:
    return casetrail.json("workspace", "show", slug)


def is_fresh(casetrail: Casetrail, slug: str) -> bool:
    shown = show(casetrail, slug)
    fresh = shown["freshness"]["stale_since"] is None and shown["freshness"]["looked_at"] is not None
    return fresh and shown["standing_analysis"]["status"] == "succeeded"


def release(casetrail: Casetrail, slug: str) -> str:
    return str(show(casetrail, slug)["standing_analysis"]["provenance_id"])


def made_by(ui: DagsterUi, backfill: Backfill) -> dict[tuple[str, str], str]:
    """(Asset, partition) -> state, over all runs of a backfill, each partition materialised once."""
    states: dict[tuple[str, str], str] = {}
    for run in backfill.runs:
        for key, texts in ui.materialised(run["runId"]).items():
            assert key not in states, "each partition is materialised once"
            states[key] = texts["state"]
    return states


def keys(*slugs: str, months: list[str] = MONTHS) -> list[str]:
    return [f"{month}|{slug}" for month in months for slug in slugs]


def slugs_of(partitions: Iterable[str]) -> set[str]:
    return {key.split("|")[1] for key in partitions}


def test_every_form_of_backfill_materialises_its_partitions_and_carries_over_what_is_true(
    casetrail: Casetrail, ui: DagsterUi
) -> None:
    """One partition, a range, one month over all workspaces, and everything, at once: they wait for each other."""
    before = {slug: release(casetrail, slug) for slug in SLUGS}
    wanted = {
        ui.backfill(keys("ada", months=MONTHS[1:2])): keys("ada", months=MONTHS[1:2]),
        ui.backfill(keys("bob")): keys("bob"),
        ui.backfill(keys(*SLUGS, months=MONTHS[:1])): keys(*SLUGS, months=MONTHS[:1]),
    }
    everything = ui.backfill(None)
    for backfill_id, partitions in wanted.items():
        done = ui.ended(backfill_id)
        assert done.status == "COMPLETED_SUCCESS", partitions
        states = made_by(ui, done)
        asked = {(asset, key) for asset in ASSETS for key in partitions}
        assert asked <= set(states)
        kinds = {states[key].split(" since ")[0] for key in asked}
        assert kinds == {"landed", "carried over", "unchanged"}
        # Dagster adds what lies downstream by the partition mappings: other months, never another workspace.
        assert slugs_of(key for _asset, key in states) == slugs_of(partitions)
    done = ui.ended(everything)
    assert done.status == "COMPLETED_SUCCESS"
    assert {("cases", key) for key in keys(*SLUGS)} <= set(made_by(ui, done))
    assert {slug: release(casetrail, slug) for slug in SLUGS} == before, (
        "nothing changed, nothing was released"
    )
    for slug in SLUGS:
        wait_until(lambda slug=slug: is_fresh(casetrail, slug), f"{slug} is at rest")  # type: ignore[misc]


def test_a_backfill_waits_for_a_workspace_that_another_run_works_on_and_says_so(
    casetrail: Casetrail, ui: DagsterUi
) -> None:
    settings = casetrail.settings()
    with database.as_user(settings.app_dsn, settings.operator) as connection:
        workspace = workspaces.find_workspace(connection, "cid")

    def waits() -> bool:
        runs = ui.look_at(backfill).runs
        return bool(runs) and any("another run works on it" in m for m in ui.messages(runs[0]["runId"]))

    with database.workspace_lock(settings.system_dsn, workspace.id):
        backfill = ui.backfill(keys("cid", months=MONTHS[:1]), ["events"])
        wait_until(waits, "the run says that it waits")
    assert ui.ended(backfill).status == "COMPLETED_SUCCESS"
    wait_until(lambda: is_fresh(casetrail, "cid"), "the job that the backfill started is ended")


def test_a_failed_backfill_is_told_and_its_failed_part_can_be_run_again(
    casetrail: Casetrail, ui: DagsterUi
) -> None:
    settings = casetrail.settings()
    with database.as_user(settings.app_dsn, settings.operator) as connection:
        workspace = workspaces.find_workspace(connection, "bob")
    store = WorkspaceStore(CredentialBroker(settings).for_workspace(workspace.id, workspace.region))
    (raw,) = store.list(f"{workspace.id}/raw/csv_upload/{MONTHS[1]}/")
    content, before = store.get(raw.key), release(casetrail, "bob")
    store.delete([raw.key])
    failed = ui.ended(ui.backfill(keys("bob")))
    assert failed.status == "COMPLETED_FAILED"
    assert release(casetrail, "bob") == before
    wait_until(
        lambda: raw.key in (show(casetrail, "bob")["standing_analysis"]["error_message"] or ""),
        "the reason is told",
    )
    store.put_bytes(raw.key, content)
    again = ui.ended(ui.retry_failed(failed.id))
    assert again.status == "COMPLETED_SUCCESS"
    assert {("provenance", key) for key in keys("bob")} <= set(made_by(ui, again))
    wait_until(lambda: is_fresh(casetrail, "bob"), "the job is mended")


def test_a_backfill_of_cases_alone_changes_no_release_until_everything_fits(
    casetrail: Casetrail, ui: DagsterUi
) -> None:
    before = release(casetrail, "ada")
    ui.stop_sensor("arrival_sensor")
    try:
        casetrail.json("analysis", "configure", "ada", "--end-activity", "never")
        partial = ui.ended(ui.backfill(keys("ada", months=MONTHS[1:2]), ["cases", "variants", "process_map"]))
        assert partial.status == "COMPLETED_SUCCESS"
        assert made_by(ui, partial)["cases", f"{MONTHS[1]}|ada"] == "made"
        assert release(casetrail, "ada") == before
        assert casetrail.json("provenance", "verify", "ada")["agrees"] is True
        (seen,) = casetrail.query("ada", "select count(*) as n from cases where state = 'completed'")
        assert seen["n"] == 3 * len(MONTHS), "readers have the old release whole"
        refused = ui.ended(ui.backfill(keys("ada", months=MONTHS[1:2]), ["provenance"]))
        assert refused.status == "COMPLETED_FAILED"
        assert release(casetrail, "ada") == before
    finally:
        ui.start_sensor("arrival_sensor")
    wait_until(lambda: release(casetrail, "ada") != before, "the sensor completes what the backfill began")
    (seen,) = casetrail.query("ada", "select count(*) as n from cases where state = 'completed'")
    assert seen["n"] == 0
    wait_until(lambda: is_fresh(casetrail, "ada"), "the workspace is at rest")
