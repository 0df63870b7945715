"""``casetrail arrivals``, ``connector`` and ``quarantine`` as a person types them, and the refresh after them."""

import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner, Result

from orchestration.cli import app
from orchestration.control_plane import database, workspaces
from orchestration.settings import Settings
from orchestration.stages.opening import open_workspace
from orchestration.stages.replay import replay
from tests.faults.refresh import refresh_and_release

HEADER = "case,activity,time,who,agent\n"
FIRST = "a,order,2024-01-01 00:00:00,Ann,x\na,pay,2024-02-05 00:00:00,Bob,y\n"
SECOND = "b,order,2024-02-01 00:00:00,Ann,x\nb,,2024-02-02 00:00:00,Ann,x\n"


def run(settings: Settings, *arguments: str, **environment: str) -> Result:
    given = {"CASETRAIL_HOME": str(settings.home), **environment}
    return CliRunner().invoke(app, arguments, env=given)


def told(settings: Settings, *arguments: str, **environment: str) -> Any:
    ended = run(settings, *arguments, "--json", **environment)
    assert ended.exit_code == 0, ended.output
    return json.loads(ended.stdout)


def write(path: Path, lines: str) -> str:
    path.write_text(HEADER + lines)
    return str(path)


def upload(settings: Settings, slug: str, path: str) -> str:
    options = ("--timezone", "UTC", "--case-id", "case", "--resource", "who")
    return str(told(settings, "upload", slug, path, *options)["id"])


def released(settings: Settings, slug: str) -> dict[tuple[str, str], str | None]:
    """Refresh and release; content of each file of the release, which a replay must confirm."""
    with open_workspace(settings, slug, "refresh") as opened:
        refresh_and_release(settings, opened, "refresh")
    compared = replay(settings, slug)
    assert [entry for entry in compared if not entry.agrees] == []
    return {(entry.dataset, entry.month): entry.released for entry in compared}


@pytest.fixture
def slug(installation: Settings, request: pytest.FixtureRequest) -> str:
    return new_workspace(installation, f"corrected-{abs(hash(request.node.name)) % 10**8}")


def new_workspace(settings: Settings, slug: str) -> str:
    with database.as_user(settings.app_dsn, settings.operator) as connection:
        workspaces.create_workspace(connection, slug, "EU", "pro", settings.operator, slug)
    return slug


def test_replacing_gives_what_the_right_file_would_have_given(
    installation: Settings, slug: str, tmp_path: Path
) -> None:
    wrong = upload(installation, slug, write(tmp_path / "wrong.csv", FIRST.replace("pay", "refund")))
    upload(installation, slug, write(tmp_path / "second.csv", SECOND))
    released(installation, slug)
    right = write(tmp_path / "right.csv", FIRST)
    made = told(installation, "arrivals", "replace", slug, wrong[:8], right, "--reason", "wrong export")
    assert (made["replaces"], made["rank"], made["file_name"]) == (wrong, 1, "right.csv")
    after = released(installation, slug)
    clean = new_workspace(installation, f"{slug}-clean")
    for path in (right, str(tmp_path / "second.csv")):
        upload(installation, clean, path)
    assert released(installation, clean) == after
    shown = told(installation, "arrivals", "show", slug, wrong)
    assert (shown["status"], shown["message"]) == ("replaced", "wrong export")
    assert [(c["kind"], c["successor_id"]) for c in shown["changes"]] == [("replaced", made["id"])]
    refused = run(installation, "arrivals", "retract", slug, wrong, "--reason", "no")
    assert refused.exit_code == 1
    assert made["id"] in refused.output
    same = run(installation, "arrivals", "replace", slug, made["id"], right)
    assert (same.exit_code, "same bytes" in same.output) == (2, True)


def test_retracting_leaves_no_trace_in_the_data_also_of_the_only_file(
    installation: Settings, slug: str, tmp_path: Path
) -> None:
    first = upload(installation, slug, write(tmp_path / "first.csv", FIRST))
    before = released(installation, slug)
    second = upload(installation, slug, write(tmp_path / "second.csv", SECOND))
    assert released(installation, slug) != before
    told(installation, "arrivals", "retract", slug, second, "--reason", "test data")
    assert released(installation, slug) == before
    listed = told(installation, "arrivals", "list", slug)
    assert [(a["id"], a["status"]) for a in listed] == [(first, "landed"), (second, "retracted")]
    assert [a["id"] for a in told(installation, "arrivals", "list", slug, "--status", "landed")] == [first]
    told(installation, "arrivals", "retract", slug, first, "--reason", "all of it")
    assert released(installation, slug) == {}


def test_remapping_reads_all_again_or_nothing(installation: Settings, slug: str, tmp_path: Path) -> None:
    files = [write(tmp_path / name, lines) for name, lines in (("1.csv", FIRST), ("2.csv", SECOND))]
    for path in files:
        upload(installation, slug, path)
    before = released(installation, slug)
    unfit = run(installation, "connector", "remap", slug, "uploads", "--set", "role=nowhere")
    assert (unfit.exit_code, "1.csv" in unfit.output) == (1, True)
    assert released(installation, slug) == before
    made = told(
        installation,
        *("connector", "remap", slug, "uploads", "--set", "resource=agent"),
        *("--set", "system=crm", "--set", "timezone=Europe/Berlin"),
    )
    assert [a["file_name"] for a in made["remapped"]] == ["1.csv", "2.csv"]
    after = released(installation, slug)
    clean = new_workspace(installation, f"{slug}-clean")
    for path in files:
        told(
            installation,
            *(
                "upload",
                clean,
                path,
                "--case-id",
                "case",
                "--resource",
                "agent",
                "--timezone",
                "Europe/Berlin",
            ),
        )
    told(installation, "connector", "remap", clean, "uploads", "--set", "system=crm")
    assert released(installation, clean) == after
    (listed,) = told(installation, "connector", "list", slug)
    assert (listed["config"]["resource"], listed["config"]["system"]) == ("agent", "crm")
    again = run(installation, "connector", "remap", slug, "uploads", "--set", "resource=agent")
    assert (again.exit_code, "has this mapping already" in again.output) == (2, True)


def test_a_name_alone_is_changed_without_copying_raw_files(
    installation: Settings, slug: str, tmp_path: Path
) -> None:
    old = upload(installation, slug, write(tmp_path / "first.csv", FIRST))
    before = released(installation, slug)
    (new,) = told(installation, "connector", "remap", slug, "uploads", "--set", "system=crm")["remapped"]
    with open_workspace(installation, slug, "look") as opened:
        assert {part.arrival_id for part in opened.bench.raw_parts} == {new["id"]}
        assert all(old in part.object_key for part in opened.bench.raw_parts)
    after = released(installation, slug)
    assert {key for key in before if key[0] == "events"} == {key for key in after if key[0] == "events"}
    assert before != after


@pytest.mark.parametrize(
    ("pairs", "message"),
    [
        ((), "FIELD=VALUE, or a whole mapping"),
        (("resource",), "FIELD=VALUE"),
        (("color=red",), "one of system, case_id"),
    ],
)
def test_an_unusable_change_is_told(
    installation: Settings, slug: str, tmp_path: Path, pairs: tuple[str, ...], message: str
) -> None:
    upload(installation, slug, write(tmp_path / "first.csv", FIRST))
    options = [word for pair in pairs for word in ("--set", pair)]
    refused = run(installation, "connector", "remap", slug, "uploads", *options)
    assert (refused.exit_code, message in " ".join(refused.output.split())) == (2, True), refused.output


def test_quarantined_rows_are_listed_exported_and_readmitted_when_the_first_month_moves(
    installation: Settings, slug: str, tmp_path: Path
) -> None:
    late_start = {"CASETRAIL_FIRST_MONTH": "2024-02"}
    path = write(tmp_path / "log.csv", FIRST + SECOND)
    options = ("--timezone", "UTC", "--case-id", "case", "--resource", "who")
    taken = told(installation, "upload", slug, path, *options, **late_start)
    assert taken["quarantined_by_reason"] == {"before_first_month": 1, "missing_activity": 1}
    listed = told(installation, "quarantine", "list", slug)
    assert listed["reasons"] == {"before_first_month": 1, "missing_activity": 1}
    assert {record["reason"]: record["line_number"] for record in listed["records"]} == {
        "before_first_month": 2,
        "missing_activity": 5,
    }
    for name in ("rejected.csv", "rejected.parquet"):
        assert told(installation, "quarantine", "export", slug, "--to", str(tmp_path / name))["records"] == 2
    assert pq.read_table(tmp_path / "rejected.parquet")["reason"].to_pylist() == [
        "before_first_month",
        "missing_activity",
    ]
    nothing = told(installation, "quarantine", "readmit", slug, **late_start)
    assert nothing == {"read_again": [], "readmitted": []}
    released(installation, slug)
    (made,) = told(installation, "quarantine", "readmit", slug)["readmitted"]
    assert (made["landed"], made["quarantined"], made["replaces"]) == (3, 1, taken["id"])
    clean = new_workspace(installation, f"{slug}-clean")
    upload(installation, clean, path)
    assert released(installation, clean) == released(installation, slug)
    assert told(installation, "quarantine", "readmit", slug) == {"read_again": [], "readmitted": []}


def test_equal_rows_of_two_uploads_are_counted_and_kept(
    installation: Settings, slug: str, tmp_path: Path
) -> None:
    first = upload(installation, slug, write(tmp_path / "first.csv", FIRST))
    second = upload(installation, slug, write(tmp_path / "second.csv", FIRST + SECOND))
    released(installation, slug)
    assert [told(installation, "arrivals", "show", slug, a)["overlap"] for a in (first, second)] == [2, 2]
    assert told(installation, "arrivals", "show", slug, second)["landed"] == 3
    assert [c["overlap"] for c in told(installation, "connector", "list", slug)] == [4]
    raw = told(installation, "provenance", "show", slug)["etl_steps"][0]
    assert [arrival["equal_to_rows_of_others"] for arrival in raw["arrivals"]] == [2, 2]


def test_a_viewer_sees_and_corrects_nothing(installation: Settings, slug: str, tmp_path: Path) -> None:
    arrival = upload(installation, slug, write(tmp_path / "first.csv", FIRST))
    told(installation, "member", "add", slug, f"vic@{slug}.example", "--role", "viewer")
    viewer = ("--as", f"vic@{slug}.example")
    assert len(told(installation, "arrivals", "list", slug, *viewer)) == 1
    for command in (
        ("arrivals", "retract", slug, arrival, "--reason", "no"),
        ("connector", "remap", slug, "uploads", "--set", "system=crm"),
        ("refresh", slug),
    ):
        refused = run(installation, *command, *viewer)
        assert refused.exit_code == 1, command
        assert "analyst or an admin" in refused.output
    assert told(installation, "arrivals", "show", slug, arrival)["status"] == "landed"
