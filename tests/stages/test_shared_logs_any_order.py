"""Real logs in three deliveries of whole cases: in whatever order they come, the months are those of one delivery.

The deliveries are CSV files cut from the landed log, so that one delivery and three have the same columns.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import duckdb
import pytest

from orchestration.connectors.landing import land
from orchestration.connectors.mapping import Hints, Mapping
from orchestration.connectors.probe import probe
from orchestration.stages.case_index import stage_case_index
from orchestration.stages.events import stage_events
from orchestration.stages.explainability import stage_explanations
from orchestration.stages.process import stage_process
from orchestration.stages.workbench import RawPart, Workbench
from tests.stages.local_bench import hashes, land_parts, local_bench

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

DELIVERIES = 3
DATASETS = ("events", "event_index", "case_index", "cases", "variants", "process_map")
ALL_ORDERS = tuple(itertools.permutations(range(DELIVERIES)))
FEW_ORDERS = (ALL_ORDERS[-1], ALL_ORDERS[3])
"""Where all six take too long: the reverse of the order in which the whole is written, and one between."""


@dataclass(frozen=True)
class Log:
    """Where a log lies, what its times need, and in how many orders its parts are delivered."""

    path: str
    orders: Sequence[tuple[int, ...]] = ALL_ORDERS
    timezone: str | None = None


LOGS = {
    "sepsis": Log("sepsis/Sepsis_Cases.xes.gz", FEW_ORDERS),
    "receipt": Log("receipt/receipt.parquet", timezone="Europe/Amsterdam"),
    "helpdesk": Log("helpdesk/helpdesk.xes.gz"),
    "bpic2020_domestic": Log("bpic2020_domestic/BPI_2020_DomesticDeclarations.xes.gz"),
    "bpic2013_closed": Log("bpic2013_closed/06_bpic2013_closed.xes.gz"),
    "bpic2012": Log("bpic2012/bpic2012.xes.gz", FEW_ORDERS),
    "traffic_fines": Log("traffic_fines/traffic_fines.parquet", (ALL_ORDERS[-1],)),
}
FEW_LOGS = ("sepsis", "receipt", "bpic2012")


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=() if name in FEW_LOGS else pytest.mark.exhaustive) for name in LOGS],
)
def test_the_order_of_arrival_leaves_no_trace(shared_data: Path, tmp_path: Path, name: str) -> None:
    log = LOGS[name]
    mapping = cut(shared_data / log.path, log.timezone, tmp_path)
    whole = refreshed(
        local_bench(tmp_path / "whole", land_parts(tmp_path / "whole.csv", mapping, tmp_path, 1))
    )
    parts = [land_parts(tmp_path / f"{part}.csv", mapping, tmp_path, 1) for part in range(DELIVERIES)]
    assert sum(part.rows for delivery in parts for part in delivery) == rows(whole, "events")
    for order in log.orders:
        bench = deliver([parts[part] for part in order], tmp_path / "-".join(map(str, order)))
        for dataset in DATASETS:
            assert hashes(bench, dataset) == hashes(whole, dataset), f"{dataset}, delivered as {order}"


def test_explanations_do_not_know_the_order_of_arrival(shared_data: Path, tmp_path: Path) -> None:
    mapping = cut(shared_data / LOGS["sepsis"].path, None, tmp_path)
    whole = refreshed(
        local_bench(tmp_path / "whole", land_parts(tmp_path / "whole.csv", mapping, tmp_path, 1))
    )
    parts = [land_parts(tmp_path / f"{part}.csv", mapping, tmp_path, 1) for part in range(DELIVERIES)]
    late = deliver(parts[::-1], tmp_path / "late")
    for bench in (whole, late):
        stage_explanations(bench, bench.tree.files("cases"))
    for dataset in ("explanations", "contributions"):
        assert hashes(whole, dataset)
        assert hashes(late, dataset) == hashes(whole, dataset), dataset


def test_the_comparison_sees_a_case_that_was_torn_in_two(shared_data: Path, tmp_path: Path) -> None:
    """What must hold for whole cases does not hold for torn ones: their equal times then follow the deliveries."""
    mapping = cut(shared_data / LOGS["sepsis"].path, None, tmp_path, part="_row_number")
    whole = refreshed(
        local_bench(tmp_path / "whole", land_parts(tmp_path / "whole.csv", mapping, tmp_path, 1))
    )
    parts = [land_parts(tmp_path / f"{part}.csv", mapping, tmp_path, 1) for part in range(DELIVERIES)]
    torn = deliver(parts, tmp_path / "torn")
    assert rows(torn, "events") == rows(whole, "events")
    assert hashes(torn, "cases") != hashes(whole, "cases")


def cut(log: Path, timezone: str | None, folder: Path, part: str = "md5_number_lower(_case_id)") -> Mapping:
    """Write ``whole.csv`` and ``{0,1,2}.csv``, each in the log's own order; ``part`` says what belongs together."""
    now = datetime(2026, 1, 15, tzinfo=UTC)
    looked = probe(log, Hints(timezone=timezone), first_month="2000-01", now=now, max_records=20_000)
    landing = land(log, looked.mapping, first_month="2000-01", now=now, into=folder / "log")
    mapped = {column for _field, column in looked.mapping.named_columns()}
    others = "".join(f', "{name}"' for name, _kind in landing.columns if name not in mapped)
    with duckdb.connect() as connection:
        connection.execute(
            f"""
            create table rows as
            select _case_id as case_id, _activity as activity, _resource_id as resource, _lifecycle as lifecycle,
                   strftime(_timestamp, '%Y-%m-%dT%H:%M:%S.%fZ') as time{others},
                   _row_number, {part} % {DELIVERIES} as part
            from read_parquet('{folder / "log" / "raw"}/*.parquet')
            """
        )
        files = {"whole": "true"} | {str(number): f"part = {number}" for number in range(DELIVERIES)}
        for name, condition in files.items():
            connection.execute(
                f"""
                copy (select * exclude (_row_number, part) from rows where {condition} order by _row_number)
                to '{folder / name}.csv' (header)
                """
            )
    return Mapping(
        case_id="case_id", activity="activity", timestamp="time", resource="resource", lifecycle="lifecycle"
    )


def deliver(deliveries: Sequence[Sequence[RawPart]], folder: Path) -> Workbench:
    """The deliveries one after another as uploads of their own, with a refresh after each."""
    bench = local_bench(folder, [])
    for rank, delivery in enumerate(deliveries, start=1):
        bench.raw_parts = [*bench.raw_parts, *(replace(part, rank=rank) for part in delivery)]
        refreshed(bench)
    return bench


def refreshed(bench: Workbench) -> Workbench:
    """The bench after all stages but the explanations, which take most of a refresh and follow from the others."""
    stage_events(bench, {part.month for part in bench.raw_parts})
    stage_case_index(bench)
    stage_process(bench, bench.tree.files("case_index").keys() | bench.tree.files("cases").keys())
    return bench


def rows(bench: Workbench, dataset: str) -> int:
    """Rows of a dataset over all months."""
    return sum(file.rows for file in bench.tree.files(dataset).values())
