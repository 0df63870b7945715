"""The release: refused as long as anything is stale or wrong, made once, and told whole."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path

import pytest

from orchestration.control_plane import database, jobs, releases
from orchestration.control_plane.database import Connection
from orchestration.lake import layout
from orchestration.mining.explain import DEFAULT_QUESTION
from orchestration.settings import Settings
from orchestration.stages.case_places import IDENTITY_DATASETS
from orchestration.stages.opening import open_workspace
from orchestration.stages.publish import read_state, release_workspace
from orchestration.stages.release import STEPS, ReleaseRefused, WorkingTreeState, make_release
from orchestration.stages.workbench import MonthOutcome, today
from tests.faults.growing_log import GrowingLog, new_workspace
from tests.faults.reader import Reader, Release, store_of
from tests.faults.refresh import refresh_and_release

MONTH = "2024-02"


@pytest.fixture(scope="module")
def log(installation: Settings, tmp_path_factory: pytest.TempPathFactory) -> GrowingLog:
    """A workspace with one release."""
    log = GrowingLog(installation, new_workspace(installation, "released"), tmp_path_factory.mktemp("log"))
    log.grow()
    _refresh(installation, log, "first-run")
    return log


@pytest.fixture
def released(installation: Settings, log: GrowingLog) -> Iterator[Release]:
    """The release, read whole; it must be the same after the test."""
    reader = Reader(installation, log.workspace)
    before, rows = reader.read(), _rows(installation, log)
    yield before
    assert reader.read() == before
    assert _rows(installation, log) == rows


@pytest.mark.parametrize(
    ("tamper", "stage"),
    [
        ("stats = stats || '{\"sources\": \"other\"}' where dataset = 'events'", "events"),
        ("fingerprint = 'other' where dataset = 'cases'", "cases"),
        ("fingerprint = 'other' where dataset = 'explanations'", "explainability"),
    ],
)
def test_a_stale_month_is_named_and_not_released(
    tamper: str, stage: str, installation: Settings, log: GrowingLog, released: Release
) -> None:
    with pytest.raises(ReleaseRefused, match=f"stale: .*{stage}: .*{MONTH}.*run the refresh job"):
        _release(installation, log, released, tamper=tamper)


def test_a_workspace_with_uploads_and_no_refresh_has_nothing_to_release(
    installation: Settings, tmp_path: Path
) -> None:
    fresh = GrowingLog(installation, new_workspace(installation, "fresh"), tmp_path)
    fresh.grow()
    with (
        pytest.raises(ReleaseRefused, match=r"events: 2024-01, 2024-02, 2024-03, and \d+ more"),
        open_workspace(installation, "fresh", "hasty") as opened,
    ):
        release_workspace(installation, opened, [], "hasty")
    assert set(_rows(installation, fresh).values()) == {0}
    with _system(installation, fresh) as connection:
        assert jobs.standing_job(connection, fresh.workspace.id).provenance_id is None


def test_a_failed_audit_is_named_and_not_released(
    installation: Settings, log: GrowingLog, released: Release
) -> None:
    failed = '[{"audit": "total_order", "passed": false, "detail": "2 places in a case"}]'
    with pytest.raises(ReleaseRefused, match=f"1 audit.* failed: events {MONTH} total_order: 2 places"):
        _release(installation, log, released, tamper=f"audits = '{failed}' where dataset = 'events'")


@pytest.mark.parametrize(
    ("lose", "audit"),
    [
        (lambda state: replace(state, arrivals=[replace(a, records=0) for a in state.arrivals]), "arrivals"),
        (lambda state: replace(state, arrivals=[]), "raw"),
        (
            lambda state: replace(
                state,
                files=[replace(f, rows=f.rows - 1) if f.dataset == "events" else f for f in state.files],
            ),
            "cases",
        ),
    ],
)
def test_a_record_lost_on_the_way_is_found(
    lose: Callable[[WorkingTreeState], WorkingTreeState],
    audit: str,
    installation: Settings,
    log: GrowingLog,
    released: Release,
) -> None:
    with pytest.raises(ReleaseRefused, match=f"1 audit.* failed: release all {audit}_conserved"):
        _release(installation, log, released, change=lose)


def test_unchanged_content_makes_no_new_release(
    installation: Settings, log: GrowingLog, released: Release
) -> None:
    (outcome, *_) = _refresh(installation, log, "second-run")
    assert outcome.state == f"unchanged since {released.provenance_id}"


def test_an_unchanged_release_gets_the_manifest_that_its_run_did_not_live_to_write(
    installation: Settings, log: GrowingLog, released: Release
) -> None:
    store, key = store_of(installation, log.workspace), layout.manifest_key(log.workspace.id, log.analysis_id)
    written = store.get(key)
    store.put_bytes(key, b"{}")
    _refresh(installation, log, "third-run")
    assert store.get(key) == written


def test_the_provenance_tells_each_step_from_upload_to_explanation(
    installation: Settings, log: GrowingLog, released: Release
) -> None:
    with _system(installation, log) as connection:
        record = releases.provenance(connection, log.workspace.id, released.provenance_id)
        job = jobs.standing_job(connection, log.workspace.id)
        state = read_state(connection, job, today())
    steps = record["etl_steps"]
    assert [step["name"] for step in steps] == [
        "raw",
        *(name for name in STEPS if name not in IDENTITY_DATASETS),
    ]
    assert [step["step"] for step in steps] == list(range(1, len(steps) + 1))
    (arrival,) = state.arrivals
    (told,) = steps[0]["arrivals"]
    assert (told["arrival_id"], told["sha256"]) == (arrival.id, arrival.sha256)
    assert told["records"] == told["landed"] + told["non_event"] + told["quarantined"] > 0
    assert sum(output["rows"] for output in steps[0]["outputs"]) == told["landed"]
    made = {("raw", output["object"]): output["content_sha256"] for output in steps[0]["outputs"]}
    for step in steps[1:]:
        name, outputs = step["name"], {output["month"]: output for output in step["outputs"]}
        assert {month: o["content_sha256"] for month, o in outputs.items()} == _dataset(released, name)
        assert step["code_versions"]
        assert step["seconds"] >= 0
        for month, output in outputs.items():
            assert output["run_id"] == "first-run"
            assert output["inputs"]
            for entry in output["inputs"]:
                source = (
                    (entry["dataset"], entry["month"]) if "dataset" in entry else ("raw", entry["object"])
                )
                assert made[source] == entry["content_sha256"], f"{name} {month} is made of what came before"
            made[name, month] = output["content_sha256"]


def test_the_provenance_holds_schemas_and_configurations(
    installation: Settings, log: GrowingLog, released: Release
) -> None:
    with _system(installation, log) as connection:
        record = releases.provenance(connection, log.workspace.id, released.provenance_id)
        (arrival,) = read_state(connection, jobs.standing_job(connection, log.workspace.id), today()).arrivals
    source = record["schemas"]["sources"][arrival.id]
    assert source["fingerprint"] == arrival.schema_fingerprint
    assert [column["name"] for column in source["columns"]] == ["case", "activity", "time", "who", "region"]
    assert record["schemas"]["event_contract"] == 1
    mining = record["mining_config"]
    assert mining["parameters"]["completion"] == {
        "end_activities": [],
        "silence_days": None,
        "left_edge": None,
    }
    assert mining["classifier"] == ["activity"]
    assert {"process_models", "feature_version", "feature_names", "duckdb"} <= mining.keys()
    assert record["explainability_config"] == DEFAULT_QUESTION.recorded()
    assert record["audits"]
    assert all(audit["passed"] for audit in record["audits"])
    assert (record["parent_id"], record["run_id"], record["as_of"]) == (None, "first-run", today())


def test_explanations_that_the_parent_has_are_copied_and_not_read_again(
    installation: Settings, tmp_path: Path
) -> None:
    log = GrowingLog(installation, new_workspace(installation, "copied"), tmp_path)
    log.grow()
    _refresh(installation, log, "parent")
    parent = Reader(installation, log.workspace).read()
    log.grow()
    _refresh(installation, log, "child")
    child = Reader(installation, log.workspace).read()
    same = {
        month
        for month, sha256 in _dataset(child, "explanations").items()
        if sha256 == _dataset(parent, "explanations").get(month)
    }
    told = [_told(installation, log, release.provenance_id) for release in (parent, child)]
    for month in same:
        assert told[0][month] == told[1][month]
    assert told[1].keys() == _dataset(child, "explanations").keys()


def _told(settings: Settings, log: GrowingLog, provenance_id: str) -> dict[str, list[tuple[object, ...]]]:
    """The explanations of each month of a release, in their order."""
    found: dict[str, list[tuple[object, ...]]] = {}
    with _system(settings, log) as connection:
        for row in connection.execute(
            "select coalesce(month::text, 'all') as month, scope, target, global_case_id, features, summary"
            " from explainability where provenance_id = %s order by id",
            (provenance_id,),
        ).fetchall():
            month, *rest = row.values()
            found.setdefault(month, []).append(tuple(rest))
    return found


def _refresh(settings: Settings, log: GrowingLog, run_id: str) -> list[MonthOutcome]:
    with open_workspace(settings, log.slug, run_id) as opened:
        return refresh_and_release(settings, opened, run_id)


def _release(
    settings: Settings,
    log: GrowingLog,
    parent: Release,
    *,
    tamper: str | None = None,
    change: Callable[[WorkingTreeState], WorkingTreeState] = lambda state: state,
) -> None:
    """Release after one month of the working tree was tampered with, in one transaction, or what is read of it."""
    with _system(settings, log) as connection:
        if tamper is not None:
            connection.execute(f"update staged_files set {tamper} and month = %s", (MONTH,))
        job = jobs.standing_job(connection, log.workspace.id)
        make_release(
            connection,
            change(read_state(connection, job, today())),
            [],
            workspace_id=log.workspace.id,
            analysis_id=job.id,
            run_id="tampered",
            parent_id=parent.provenance_id,
        )


def _system(settings: Settings, log: GrowingLog) -> AbstractContextManager[Connection]:
    return database.as_system(settings.system_dsn, log.workspace.id)


def _rows(settings: Settings, log: GrowingLog) -> dict[str, int]:
    """The rows of the tables that a release writes."""
    counts = {}
    with _system(settings, log) as connection:
        for table in ("provenance", "release_files", "explainability"):
            (row,) = connection.execute(f"select count(*) as rows from {table}").fetchall()
            counts[table] = row["rows"]
    return counts


def _dataset(release: Release, name: str) -> dict[str, str]:
    return {month: sha256 for (dataset, month), sha256 in release.content.items() if dataset == name}
