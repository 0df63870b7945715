"""Public event logs, uploaded through the sensor and read back with ``casetrail query``, equal their verified truth."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import Casetrail

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

LOGS = {
    "sepsis/Sepsis_Cases.xes.gz": [],
    # Its times are local ones, without a zone.
    "receipt/receipt.parquet": ["--timezone", "Europe/Amsterdam"],
}
MORE_LOGS: dict[str, list[str]] = {
    "receipt/08_receipt.xes.gz": [],
    "helpdesk/helpdesk.xes.gz": [],
    "bpic2020_domestic/BPI_2020_DomesticDeclarations.xes.gz": [],
    "bpic2013_closed/06_bpic2013_closed.xes.gz": [],
    "bpic2012/bpic2012.xes.gz": [],
    "traffic_fines/traffic_fines.parquet": [],
}

CYCLE_TIMES = """
select round(avg(cycle_time_seconds), 3) as mean, round(median(cycle_time_seconds), 3) as median,
       round(min(cycle_time_seconds), 3) as min, round(max(cycle_time_seconds), 3) as max
from cases
"""


@pytest.mark.parametrize(
    "log", [*LOGS, *(pytest.param(log, marks=pytest.mark.exhaustive) for log in MORE_LOGS)]
)
def test_a_log_equals_its_truth(casetrail: Casetrail, shared_data: Path, log: str) -> None:
    path = shared_data / log
    truth = json.loads((path.parent / "truth.json").read_text())["logs"][0]
    slug = path.name.split(".")[0].lower().replace("_", "-") + (
        "-parquet" if path.suffix == ".parquet" else ""
    )
    casetrail.json("workspace", "create", slug, "--owner", "ada@logs.example", "--slug", slug)
    released = casetrail.json("upload", slug, str(path), *(LOGS | MORE_LOGS)[log], "--wait")
    assert released["records"] == released["landed"] == truth["n_events"]

    def counts(sql: str) -> dict[str, int]:
        return {row["name"]: row["n"] for row in casetrail.query(slug, sql)}

    (totals,) = casetrail.query(
        slug, "select count(*) as cases, sum(event_count)::bigint as events from cases"
    )
    assert totals == {"cases": truth["n_cases"], "events": truth["n_events"]}
    activities = counts("select activity as name, count(*) as n from events group by activity")
    assert activities == truth["activity_counts"]
    assert len(activities) == truth["n_activities"]
    starts = counts("select start_activity as name, count(*) as n from cases group by start_activity")
    ends = counts("select end_activity as name, count(*) as n from cases group by end_activity")
    assert (starts, ends) == (truth["start_activities"], truth["end_activities"])
    _variants_equal(casetrail, slug, truth)
    _process_map_equals(casetrail, slug, truth)
    (cycle,) = casetrail.query(slug, CYCLE_TIMES)
    assert cycle == pytest.approx(truth["cycle_time_s"], abs=1e-3)


def _variants_equal(casetrail: Casetrail, slug: str, truth: dict[str, Any]) -> None:
    (number,) = casetrail.query(slug, "select count(*) as n from variants")
    assert number["n"] == truth["n_variants"]
    most = casetrail.query(
        slug, "select frequency, activities from variants order by frequency desc limit 20"
    )
    found = {(row["frequency"], tuple(row["activities"])) for row in most}
    assert {(top["count"], tuple(top["variant"])) for top in truth["top5_variants"]} <= found


def _process_map_equals(casetrail: Casetrail, slug: str, truth: dict[str, Any]) -> None:
    edges = casetrail.query(slug, "select source_activity, target_activity, frequency from process_map")
    assert len(edges) == truth["n_dfg_edges"]
    found = {(row["source_activity"], row["target_activity"]): row["frequency"] for row in edges}
    assert {edge: found.get(edge) for edge in _top_edges(truth)} == _top_edges(truth)


def _top_edges(truth: dict[str, Any]) -> dict[tuple[str, str], int]:
    return {(source, target): n for source, target, n in truth["top10_dfg"]}
