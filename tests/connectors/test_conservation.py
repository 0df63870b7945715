"""Whatever a table of text holds: every record lands or is quarantined, and lands as it was written."""

import csv
import io
import tempfile
from datetime import datetime
from pathlib import Path

import pyarrow.parquet as pq
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestration.connectors import Mapping, land
from tests.connectors.landed import NOW, SIMPLE, Landed

TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=12)
TIME = st.one_of(
    TEXT, st.datetimes(datetime(1990, 1, 1), datetime(2030, 1, 1)).map(lambda moment: moment.isoformat(" "))
)
RECORD = st.one_of(
    st.tuples(TEXT, TEXT, TIME, TEXT).map(list),
    st.lists(TEXT, min_size=1, max_size=6).filter(lambda record: record != [""]),
)


@settings(max_examples=40, deadline=None)
@given(
    records=st.lists(RECORD, max_size=12),
    delimiter=st.sampled_from([",", ";", "\t", "|"]),
    line_end=st.sampled_from(["\n", "\r\n"]),
    encoding=st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]),
)
def test_every_record_is_accounted_for_and_values_round_trip(
    records: list[list[str]], delimiter: str, line_end: str, encoding: str
) -> None:
    buffer = io.StringIO(newline="")
    writer = csv.writer(buffer, delimiter=delimiter, lineterminator=line_end, quoting=csv.QUOTE_ALL)
    writer.writerows([["case", "activity", "time", "note"], *records])
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "log.csv"
        path.write_bytes(buffer.getvalue().encode(encoding))
        mapping = Mapping.model_validate(SIMPLE | {"delimiter": delimiter, "timestamp_format": "iso"})
        landed = Landed(land(path, mapping, first_month="2000-01", now=NOW, into=Path(folder) / "in"))
        months = {
            m: pq.read_table(f.path)["_timestamp"].to_pylist() for m, f in landed.landing.months.items()
        }
    landing = landed.landing
    assert landing.records == len(records) == landing.landed + landing.non_event + landing.quarantined
    rows = {row["_row_number"]: row for row in landed.rows()}
    reasons = {number: reason for number, _, reason in landed.reasons()}
    assert not rows.keys() & reasons.keys()
    assert len(rows) + len(reasons) + landing.non_event == len(records)
    for number, record in enumerate(records, start=1):
        assert (reasons.get(number) == "ragged_row") == (len(record) != 4)
        if number in rows:
            assert [rows[number][name] for name in ("case", "activity", "time", "note")] == record
            assert rows[number]["_case_id"] == record[0]
    assert all(f"{moment:%Y-%m}" == month for month, moments in months.items() for moment in moments)
