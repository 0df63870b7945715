"""The id that the registry says a record is born with is the one that its events carry without links."""

from pathlib import Path

import pyarrow.parquet as pq

from orchestration.connectors.mapping import Mapping
from orchestration.identity import born_id
from orchestration.stages.events import stage_events
from tests.stages.local_bench import land_parts, local_bench


def test_a_record_is_born_with_the_id_that_its_events_have(tmp_path: Path) -> None:
    log = tmp_path / "log.csv"
    ids = ["1", "00Q5e000001abcDEAU", "Ärger|1:2", "a" * 300]
    rows = [f"{case},start,2024-01-02T03:04:05Z" for case in ids]
    log.write_text("\n".join(["case_id,activity,timestamp", *rows]), encoding="utf-8")
    mapping = Mapping(system="the crm", case_id="case_id", activity="activity", timestamp="timestamp")
    bench = local_bench(tmp_path, land_parts(log, mapping, tmp_path / "landed", rank=1))
    stage_events(bench, ["2024-01"])
    events = pq.read_table(bench.tree.url(bench.tree.files("events")["2024-01"]))
    carried = dict(
        zip(events["native_case_id"].to_pylist(), events["global_case_id"].to_pylist(), strict=True)
    )
    assert {case: str(carried[case]) for case in ids} == {case: born_id("the crm", case) for case in ids}
