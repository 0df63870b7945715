"""Parquet: typed columns arrive as text, times with and without a zone, and odd schemas."""

import gzip
import io
from datetime import date, datetime
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from orchestration.connectors import AmbiguousMapping, UnreadableFile
from tests.connectors.landed import LandBytes


def parquet(**columns: Any) -> bytes:
    """A Parquet file of one row group for each 1000 rows."""
    buffer = io.BytesIO()
    pq.write_table(pa.table(columns), buffer, row_group_size=1000)
    return buffer.getvalue()


def test_typed_values_become_text(land_bytes: LandBytes) -> None:
    landed = land_bytes(
        parquet(
            case=pa.array([1, 2]),
            activity=pa.array(["a", "b"]).dictionary_encode(),
            time=pa.array(
                [datetime(2024, 1, 1, 1, 2, 3, 4), datetime(2024, 2, 1)], pa.timestamp("us", "Europe/Berlin")
            ),
            amount=pa.array([1.5, None]),
            ok=pa.array([True, False]),
            text=pa.array(["x\x00y", ""]),
            nested=pa.array([{"k": [1, 2]}, None]),
        ),
        timezone=None,
    )
    rows = landed.rows()
    assert [row["_case_id"] for row in rows] == ["1", "2"]
    assert rows[0]["_timestamp"] == datetime(2024, 1, 1, 1, 2, 3, 4)
    assert [rows[0][name] for name in ("amount", "ok", "text", "nested")] == [
        "1.5",
        "true",
        "xy",
        '{"k":[1,2]}',
    ]
    assert [rows[1][name] for name in ("amount", "text", "nested")] == [None, "", None]
    assert landed.landing.nul_characters == 1
    assert dict(landed.landing.columns)["time"] == "timestamp[us, tz=Europe/Berlin]"


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (pa.array([datetime(2024, 7, 1, 12)], pa.timestamp("s")), datetime(2024, 7, 1, 10)),
        (pa.array([datetime(2024, 7, 1, 12)], pa.timestamp("ms")), datetime(2024, 7, 1, 10)),
        (pa.array([1719835200123456789], pa.timestamp("ns")), datetime(2024, 7, 1, 10, 0, 0, 123456)),
        (pa.array([date(2024, 7, 1)]), datetime(2024, 6, 30, 22)),
    ],
)
def test_times_without_a_zone_need_one(land_bytes: LandBytes, values: pa.Array, expected: datetime) -> None:
    content = parquet(case=pa.array(["c"]), activity=pa.array(["a"]), time=values)
    with pytest.raises(AmbiguousMapping):
        land_bytes(content, timezone=None)
    assert land_bytes(content, timezone="Europe/Berlin").column("_timestamp") == [expected]


def test_integers_are_epochs(land_bytes: LandBytes) -> None:
    content = parquet(case=pa.array(["c"]), activity=pa.array(["a"]), time=pa.array([1_700_000_000_123]))
    landed = land_bytes(content, timezone=None)
    assert landed.column("_timestamp") == [datetime(2023, 11, 14, 22, 13, 20, 123000)]
    assert landed.landing.timestamp_reading == "Unix epoch in milliseconds"


def test_rows_keep_their_order_over_row_groups(land_bytes: LandBytes) -> None:
    n = 5000
    content = parquet(
        case=pa.array([str(i) for i in range(n)]),
        activity=pa.array(["a"] * n),
        time=pa.array([1_700_000_000 + 86400 * (i % 90) for i in range(n)]),
    )
    for packed in (content, gzip.compress(content)):
        landed = land_bytes(packed)
        assert landed.column("_case_id") == [str(i) for i in range(n)]
        assert landed.column("_row_number") == list(range(1, n + 1))


def test_damaged_parquet_is_refused(land_bytes: LandBytes) -> None:
    content = parquet(case=pa.array(["c"]), activity=pa.array(["a"]), time=pa.array([1]))
    for damaged in (content[:-10], b"PAR1" + b"\0" * 100, b"PARE" + content[4:]):
        with pytest.raises(UnreadableFile):
            land_bytes(damaged)
