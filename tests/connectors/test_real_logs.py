"""Public event logs land complete: events, cases, activities and time span are those of their truth files."""

import json
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from orchestration.connectors import Hints, Landing, land, probe

NOW = datetime(2026, 1, 15, tzinfo=UTC)
LOGS = {
    "sepsis/Sepsis_Cases.xes.gz": None,
    "receipt/08_receipt.xes.gz": None,
    "receipt/receipt.parquet": "Europe/Amsterdam",  # its naive times are local ones
    "helpdesk/helpdesk.xes.gz": None,
    "bpic2020_domestic/BPI_2020_DomesticDeclarations.xes.gz": None,
    "bpic2013_closed/06_bpic2013_closed.xes.gz": None,
    "bpic2012/bpic2012.xes.gz": None,
    "traffic_fines/traffic_fines.parquet": None,
}


def landed(path: Path, timezone: str | None, into: Path) -> tuple[Landing, pa.Table]:
    """Land a log as its probe proposes."""
    looked = probe(path, Hints(timezone=timezone), first_month="2000-01", now=NOW, max_records=20_000)
    landing = land(path, looked.mapping, first_month="2000-01", now=NOW, into=into)
    columns = [
        "_row_number",
        "_case_id",
        "_activity",
        "_timestamp",
        "_resource_id",
        "_lifecycle",
        "_org_unit",
    ]
    tables = [pq.read_table(month.path, columns=columns) for month in landing.months.values()]
    return landing, pa.concat_tables(tables).sort_by("_row_number")


LARGE = {log for log in LOGS if log.startswith(("bpic2012", "traffic_fines", "helpdesk"))}


@pytest.mark.parametrize(
    "log", [pytest.param(log, marks=pytest.mark.slow if log in LARGE else ()) for log in LOGS]
)
def test_a_log_lands_as_its_truth_says(shared_data: Path, tmp_path: Path, log: str) -> None:
    path = shared_data / log
    truth = json.loads((path.parent / "truth.json").read_text())
    expected = truth["logs"][0]
    landing, table = landed(path, LOGS[log], tmp_path / "in")
    assert landing.records == landing.landed == expected["n_events"]
    assert landing.quarantined == landing.non_event == 0
    assert len(table["_case_id"].unique()) == expected["n_cases"]
    counts = {row["values"]: row["counts"] for row in pc.value_counts(table["_activity"]).to_pylist()}
    assert counts == expected["activity_counts"]
    span = pc.min_max(table["_timestamp"]).as_py()
    assert span["min"].replace(tzinfo=UTC) == datetime.fromisoformat(expected["first_timestamp"])
    assert span["max"].replace(tzinfo=UTC) == datetime.fromisoformat(expected["last_timestamp"])
    for month, file in landing.months.items():
        assert f"{file.min_timestamp:%Y-%m}" == month == f"{file.max_timestamp:%Y-%m}"
    if truth.get("lifecycle"):
        found = {row["values"]: row["counts"] for row in pc.value_counts(table["_lifecycle"]).to_pylist()}
        assert found == truth["lifecycle"]


def test_one_log_in_two_formats_lands_equal(shared_data: Path, tmp_path: Path) -> None:
    _, from_xes = landed(shared_data / "receipt/08_receipt.xes.gz", None, tmp_path / "xes")
    _, from_parquet = landed(
        shared_data / "receipt/receipt.parquet", "Europe/Amsterdam", tmp_path / "parquet"
    )
    assert from_xes.equals(from_parquet)
