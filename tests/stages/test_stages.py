"""What the product promises of the stages: cases whole, order total, months exact, arrivals in any order."""

import itertools
from pathlib import Path

import pytest

from orchestration.connectors.mapping import Mapping
from orchestration.stages.workbench import AnalysisParameters
from tests.stages.local_bench import hashes, land_parts, local_bench, refreshed, rows

MAPPING = Mapping(case_id="case", activity="activity", timestamp="time")
DATASETS = (
    *("events", "event_index", "case_index", "cases", "variants", "process_map"),
    *("samples", "waits", "explanations"),
)


def write(path: Path, lines: list[str]) -> Path:
    path.write_text("case,activity,time,region\n" + "\n".join(lines) + "\n")
    return path


A = [
    "a,order,2024-01-30T10:00:00Z,north",
    "a,ship,2024-02-02T10:00:00Z,north",
    "a,pay,2024-03-01T10:00:00Z,north",
]
B = ["b,order,2024-02-01T00:00:00Z,south", "b,pay,2024-02-01T00:00:00Z,south"]
C = ["c,order,2024-03-05T10:00:00Z,south"]


def test_a_case_over_three_months_is_counted_once_in_the_month_of_its_first_event(tmp_path: Path) -> None:
    bench = refreshed(
        local_bench(tmp_path, land_parts(write(tmp_path / "log.csv", A + B + C), MAPPING, tmp_path, 1))
    )
    per_month = {m: f.rows for m, f in bench.tree.files("cases").items()}
    assert per_month == {"2024-01": 1, "2024-02": 1, "2024-03": 1}
    (a,) = [row for row in rows(bench, "cases") if row["event_count"] == 3]
    assert a["partition_id"] == "2024-01|acme"
    assert a["cycle_time_seconds"] == 31 * 86_400
    assert {m: f.rows for m, f in bench.tree.files("events").items()} == {
        "2024-01": 1,
        "2024-02": 3,
        "2024-03": 2,
    }


def test_equal_timestamps_keep_the_order_of_the_file(tmp_path: Path) -> None:
    bench = refreshed(local_bench(tmp_path, land_parts(write(tmp_path / "log.csv", B), MAPPING, tmp_path, 1)))
    assert rows(bench, "variants")[0]["activities"] == ["order", "pay"]
    assert rows(bench, "cases")[0]["order_is_tied"] is True


@pytest.mark.parametrize("order", list(itertools.permutations((0, 1, 2))))
def test_whole_case_deliveries_in_any_order_equal_one_upload(tmp_path: Path, order: tuple[int, ...]) -> None:
    whole = refreshed(
        local_bench(
            tmp_path / "w", land_parts(write(tmp_path / "log.csv", A + B + C), MAPPING, tmp_path / "w", 1)
        )
    )
    files = [write(tmp_path / f"{i}.csv", lines) for i, lines in enumerate((A, B, C))]
    bench = local_bench(tmp_path / "p", [])
    for rank, place in enumerate(order, start=1):
        bench.raw_parts = [*bench.raw_parts, *land_parts(files[place], MAPPING, tmp_path / "p", rank)]
        refreshed(bench)
    for dataset in DATASETS:
        assert hashes(bench, dataset) == hashes(whole, dataset), dataset


def test_a_late_first_event_moves_the_case_to_its_new_home_month(tmp_path: Path) -> None:
    bench = local_bench(tmp_path, land_parts(write(tmp_path / "1.csv", A[1:] + C), MAPPING, tmp_path, 1))
    refreshed(bench)
    assert {m: f.rows for m, f in bench.tree.files("cases").items()} == {"2024-02": 1, "2024-03": 1}
    march = bench.tree.files("cases")["2024-03"]
    bench.raw_parts = [*bench.raw_parts, *land_parts(write(tmp_path / "2.csv", A[:1]), MAPPING, tmp_path, 2)]
    refreshed(bench)
    assert {m: f.rows for m, f in bench.tree.files("cases").items()} == {"2024-01": 1, "2024-03": 1}
    assert bench.tree.files("cases")["2024-03"] is march, (
        "a month that the late record does not touch is carried over"
    )


def test_a_record_key_lets_the_newest_version_win_in_any_order(tmp_path: Path) -> None:
    keyed = Mapping(
        case_id="case", activity="activity", timestamp="time", record_key=("id",), order="version"
    )
    old, new = tmp_path / "old.csv", tmp_path / "new.csv"
    old.write_text(
        "id,version,case,activity,time\n1,1,a,order,2024-01-01T00:00:00Z\n2,1,a,pay,2024-01-05T00:00:00Z\n"
    )
    new.write_text(
        "id,version,case,activity,time\n2,2,a,pay,2024-02-07T00:00:00Z\n1,1,a,order,2024-01-01T00:00:00Z\n"
    )
    results = []
    for name, files in (("forth", (old, new)), ("back", (new, old))):
        bench = local_bench(tmp_path / name, [])
        for rank, file in enumerate(files, start=1):
            bench.raw_parts = [*bench.raw_parts, *land_parts(file, keyed, tmp_path / name, rank)]
            refreshed(bench)
        results.append(bench)
    forth, back = results
    assert [row["timestamp"].isoformat() for row in rows(forth, "events")] == [
        "2024-01-01T00:00:00",
        "2024-02-07T00:00:00",
    ]  # type: ignore[attr-defined]
    for dataset in DATASETS:
        assert hashes(forth, dataset) == hashes(back, dataset), dataset
    lost = [entry for file in forth.tree.files("events").values() for entry in file.stats["lost"]]
    assert sorted(entry["kind"] for entry in lost) == ["duplicate", "superseded"]


def test_equal_rows_without_a_key_are_kept_and_an_overlap_is_reported(tmp_path: Path) -> None:
    parts = land_parts(write(tmp_path / "1.csv", [C[0], C[0]]), MAPPING, tmp_path, 1)
    parts += land_parts(write(tmp_path / "2.csv", C + B), MAPPING, tmp_path, 2)
    bench = refreshed(local_bench(tmp_path, parts))
    march = bench.tree.files("events")["2024-03"]
    assert march.rows == 3
    assert march.stats["equal_rows_in_two_uploads"] == 1


def test_open_cases_are_counted_but_do_not_enter_the_cycle_time(tmp_path: Path) -> None:
    parameters = AnalysisParameters.model_validate({"completion": {"end_activities": ["pay"]}})
    bench = refreshed(
        local_bench(
            tmp_path,
            land_parts(write(tmp_path / "log.csv", A + C), MAPPING, tmp_path, 1),
            parameters=parameters,
        )
    )
    states = {row["start_activity"]: row["state"] for row in rows(bench, "cases")}
    assert sorted(row["state"] for row in rows(bench, "cases")) == ["completed", "open"]
    (march,) = [row for row in rows(bench, "variants") if row["partition_id"] == "2024-03|acme"]
    assert (march["frequency"], march["completed_count"], march["avg_cycle_time_seconds"]) == (1, 0, None)
    assert states


def test_a_second_refresh_makes_nothing(tmp_path: Path) -> None:
    bench = refreshed(
        local_bench(tmp_path, land_parts(write(tmp_path / "log.csv", A + B + C), MAPPING, tmp_path, 1))
    )
    before = {d: dict(bench.tree.files(d)) for d in DATASETS}
    refreshed(bench)
    assert {d: dict(bench.tree.files(d)) for d in DATASETS} == before


def test_one_and_two_threads_give_the_same_content(tmp_path: Path) -> None:
    parts = land_parts(write(tmp_path / "log.csv", A + B + C), MAPPING, tmp_path, 1)
    one, two = (refreshed(local_bench(tmp_path / str(n), parts, threads=n)) for n in (1, 2))
    for dataset in DATASETS:
        assert hashes(one, dataset) == hashes(two, dataset), dataset
