"""From a file to a release and back: what a person sees of uploads, dropped files, rejects, late rows and failures."""

import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from orchestration.control_plane import connectors, database, inbox, jobs, releases, workspaces
from orchestration.lake import layout
from orchestration.lake.objects import WorkspaceStore
from tests.e2e.conftest import Casetrail
from tests.faults import reader

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]

WAIT_SECONDS = 240
GRACE_SECONDS = 2  # that of the fixture's installation

Event = tuple[str, str, str]


def write(path: Path, events: Sequence[Event]) -> Path:
    """A CSV log with the columns case, activity, time."""
    path.write_text("case,activity,time\n" + "".join(f"{','.join(event)}\n" for event in events))
    return path


def month_of_orders(month: str, cases: int) -> list[Event]:
    """Cases of three events, all in one month."""
    days = (("order", 3), ("ship", 8), ("pay", 12))
    return [
        (f"{month}/{case}", activity, f"{month}-{day + case % 5:02}T{case % 24:02}:00:00Z")
        for case in range(cases)
        for activity, day in days
    ]


FEBRUARY = month_of_orders("2024-02", 12)
MARCH = month_of_orders("2024-03", 9)


def create(casetrail: Casetrail, slug: str) -> None:
    """A workspace in the EU."""
    casetrail.json("workspace", "create", slug, "--slug", slug, "--owner", f"ada@{slug}.example")


def analysis(casetrail: Casetrail, slug: str) -> dict[str, Any]:
    """The standing analysis as ``workspace show`` tells it."""
    found: dict[str, Any] = casetrail.json("workspace", "show", slug)["standing_analysis"]
    return found


def store_of(casetrail: Casetrail, slug: str) -> WorkspaceStore:
    """The workspace's objects, with credentials for that workspace alone."""
    settings = casetrail.settings()
    with database.as_user(settings.app_dsn, settings.operator) as connection:
        workspace = workspaces.find_workspace(connection, slug)
    return reader.store_of(settings, workspace)


def wait_until(condition: Callable[[], bool], what: str) -> None:
    """Wait for something that Dagster does by itself."""
    deadline = time.monotonic() + WAIT_SECONDS
    while not condition():
        assert time.monotonic() < deadline, f"{what}: not within {WAIT_SECONDS} s"
        time.sleep(2)


def released_file_names(casetrail: Casetrail, slug: str) -> set[str]:
    """The uploads that the current release holds."""
    record = casetrail.json("provenance", "show", slug)
    return {arrival["file_name"] for arrival in record["etl_steps"][0]["arrivals"]}


def test_rejected_rows_are_told_and_do_not_stop_the_rest(casetrail: Casetrail, tmp_path: Path) -> None:
    create(casetrail, "rejects")
    log = write(tmp_path / "log.csv", FEBRUARY)
    bad = (",order,2024-02-03T00:00:00Z", "x,order,yesterday", "y,order", "z,,2024-02-04T00:00:00Z")
    log.write_text(log.read_text() + "\n".join(bad) + "\n")
    taken = casetrail.json("upload", "rejects", str(log), "--wait")
    assert (taken["records"], taken["landed"], taken["quarantined"]) == (len(FEBRUARY) + 4, len(FEBRUARY), 4)
    (events,) = casetrail.query("rejects", "select count(*) as n from events")
    assert events["n"] == len(FEBRUARY)
    rejected = casetrail.query(
        "rejects",
        "select file_name, row_number, line_number, reason, field, value from quarantine order by row_number",
    )
    first = len(FEBRUARY) + 1
    assert [tuple(row.values()) for row in rejected] == [
        ("log.csv", first, first + 1, "missing_case_id", "case", None),
        ("log.csv", first + 1, first + 2, "unparseable_timestamp", "time", "yesterday"),
        ("log.csv", first + 2, first + 3, "ragged_row", None, None),
        ("log.csv", first + 3, first + 4, "missing_activity", "activity", None),
    ]


def test_the_same_bytes_twice_do_nothing(casetrail: Casetrail, tmp_path: Path) -> None:
    create(casetrail, "twice")
    log = write(tmp_path / "log.csv", MARCH)
    first = casetrail.json("upload", "twice", str(log), "--wait")
    before = analysis(casetrail, "twice")
    assert before["status"] == "succeeded"
    renamed = log.rename(tmp_path / "renamed.csv")
    again = casetrail.json("upload", "twice", str(renamed), "--wait")
    assert again["already_here"] is True
    assert (again["id"], again["provenance_id"]) == (first["id"], first["provenance_id"])
    assert casetrail.json("workspace", "show", "twice")["arrivals_landed"] == 1
    assert analysis(casetrail, "twice") == before


def test_an_ambiguous_file_is_refused_with_the_options_to_give(casetrail: Casetrail, tmp_path: Path) -> None:
    create(casetrail, "ambiguous")
    log = tmp_path / "log.csv"
    log.write_text("case,activity,time\na,order,03/04/2024 10:00\na,pay,05/06/2024 11:30\n")
    refused = casetrail.run("upload", "ambiguous", str(log))
    assert refused.returncode == 2
    for option in ("--timezone", "--timestamp-format day-first", "--timestamp-format month-first"):
        assert option in refused.stderr
    assert casetrail.json("workspace", "show", "ambiguous")["arrivals_landed"] == 0
    answered = ("--timezone", "Europe/Berlin", "--timestamp-format", "day-first")
    looked = casetrail.json("upload", "ambiguous", str(log), *answered, "--dry-run")
    assert not looked["questions"]


def test_dropped_files_are_taken_in_and_a_bad_one_stops_no_other(casetrail: Casetrail) -> None:
    create(casetrail, "dropped")
    settings, store = casetrail.settings(), store_of(casetrail, "dropped")
    workspace_id = store.credentials.workspace_id
    with database.as_user(settings.app_dsn, settings.operator) as connection:
        connector = connectors.ensure_connector(connection, workspace_id, "csv_upload", "nightly", {})
    prefix = layout.inbox_prefix(workspace_id, connector.id)
    lines = "case,activity,time\n" + "".join(f"{','.join(event)}\n" for event in MARCH)
    store.put_bytes(f"{prefix}a-broken.xes", b"<log><trace>")
    store.put_bytes(f"{prefix}march.csv", lines.encode())
    wait_until(
        lambda: analysis(casetrail, "dropped")["provenance_id"] is not None, "a release of the dropped file"
    )
    assert released_file_names(casetrail, "dropped") == {"march.csv"}
    (events,) = casetrail.query("dropped", "select count(*) as n from events")
    assert events["n"] == len(MARCH)
    with database.as_system(settings.system_dsn, workspace_id) as connection:
        outcome = {f.object_key.removeprefix(prefix): f for f in inbox.inbox_files(connection, workspace_id)}
    assert {name: file.status for name, file in outcome.items()} == {
        "a-broken.xes": "failed",
        "march.csv": "landed",
    }
    assert outcome["a-broken.xes"].message
    wait_until(lambda: analysis(casetrail, "dropped")["status"] == "succeeded", "the analysis succeeded")


def test_late_rows_move_a_case_and_the_release_can_be_proved(casetrail: Casetrail, tmp_path: Path) -> None:
    create(casetrail, "late")
    casetrail.json("upload", "late", str(write(tmp_path / "first.csv", FEBRUARY + MARCH)), "--wait")
    case = FEBRUARY[0][0]
    homes = f"""
        select distinct left(partition_id, 7) as home, event_count, start_activity from cases
        semi join (select global_case_id from events where native_case_id = '{case}') using (global_case_id)
    """
    assert casetrail.query("late", homes) == [
        {"home": "2024-02", "event_count": 3, "start_activity": "order"}
    ]
    late = write(tmp_path / "late.csv", [(case, "ask", "2024-01-30T12:00:00Z")])
    casetrail.json("upload", "late", str(late), "--wait")
    assert casetrail.query("late", homes) == [{"home": "2024-01", "event_count": 4, "start_activity": "ask"}]
    (totals,) = casetrail.query("late", "select count(*) as n, sum(event_count)::bigint as events from cases")
    assert totals == {"n": 21, "events": len(FEBRUARY) + len(MARCH) + 1}

    proved = [casetrail.json("provenance", "verify", "late", "--threads", threads) for threads in "12"]
    for command in ("down", "up"):
        ended = casetrail.run(command)
        assert ended.returncode == 0, ended.stderr
    proved.append(casetrail.json("provenance", "verify", "late"))
    for verdict in proved:
        assert verdict["agrees"] is True
        assert verdict["files"] == proved[0]["files"]
    months = {f["month"] for f in proved[0]["files"] if f["dataset"] == "cases"}
    assert months == {"2024-01", "2024-02", "2024-03"}
    assert casetrail.query("late", homes) == [{"home": "2024-01", "event_count": 4, "start_activity": "ask"}]


def test_superseded_files_go_after_the_grace_period(casetrail: Casetrail, tmp_path: Path) -> None:
    """A client that reads the files themselves finds the release and, for the grace period, the one before."""
    create(casetrail, "globbed")
    held: list[set[str]] = []
    for number, day in enumerate(("20", "21", "22")):
        rows = [*(MARCH if number == 0 else []), (f"more-{number}", "order", f"2024-03-{day}T00:00:00Z")]
        casetrail.json("upload", "globbed", str(write(tmp_path / f"{number}.csv", rows)), "--wait")
        held.append(released_keys(casetrail, "globbed"))
        time.sleep(GRACE_SECONDS + 1)
    store, settled = store_of(casetrail, "globbed"), analysis(casetrail, "globbed")
    folder = layout.analysis_prefix(store.credentials.workspace_id, settled["id"])
    manifest = json.loads(store.get(layout.manifest_key(store.credentials.workspace_id, settled["id"])))
    assert manifest["provenance_id"] == settled["provenance_id"]
    assert {file["key"] for file in manifest["files"]} == held[2]
    wait_until(lambda: {entry.key for entry in store.list(f"{folder}events/")} >= events_of(held[2]), "swept")
    found = {entry.key for entry in store.list(f"{folder}events/")}
    assert events_of(held[2]) <= found <= events_of(held[1] | held[2])
    assert not found & (events_of(held[0]) - events_of(held[1] | held[2]))


def released_keys(casetrail: Casetrail, slug: str) -> set[str]:
    """The objects that the current release names."""
    settings = casetrail.settings()
    with database.as_user(settings.app_dsn, settings.operator) as connection:
        workspace = workspaces.find_workspace(connection, slug)
        current = jobs.standing_job(connection, workspace.id).provenance_id
        assert current is not None
        return {file.object_key for file in releases.release_files(connection, workspace.id, current)}


def events_of(keys: set[str]) -> set[str]:
    """Those of the keys that are month files of events."""
    return {key for key in keys if "/events/" in key}


def test_a_failed_run_is_told_and_the_old_release_stays(casetrail: Casetrail, tmp_path: Path) -> None:
    create(casetrail, "broken")
    casetrail.json("upload", "broken", str(write(tmp_path / "first.csv", MARCH)), "--wait")
    old = analysis(casetrail, "broken")["provenance_id"]
    store = store_of(casetrail, "broken")
    (raw,) = store.list(f"{store.credentials.prefix}raw/csv_upload/2024-03/")
    content = store.get(raw.key)
    store.delete([raw.key])
    more = write(tmp_path / "more.csv", [("more", "order", "2024-03-21T00:00:00Z")])
    failed = casetrail.run("upload", "broken", str(more), "--wait")
    assert failed.returncode == 1
    assert "raw file(s) are gone from S3" in failed.stderr
    assert raw.key in failed.stderr
    (events,) = casetrail.query("broken", "select count(*) as n from events")
    assert events["n"] == len(MARCH)
    assert analysis(casetrail, "broken")["provenance_id"] == old
    # A failed run is tried again at once; an analysis that runs has no error to tell until it has failed too.
    wait_until(lambda: raw.key in (analysis(casetrail, "broken")["error_message"] or ""), "told")
    store.put_bytes(raw.key, content)
    # A failed run is tried again.
    wait_until(
        lambda: released_file_names(casetrail, "broken") == {"first.csv", "more.csv"}, "the second attempt"
    )
    mended = analysis(casetrail, "broken")
    assert (mended["status"], mended["error_message"]) == ("succeeded", None)
