"""What landing promises: the columns, the keys, the order, the account, the same files every time."""

import hashlib
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from orchestration.connectors import LANDED_COLUMNS, QUARANTINE_SCHEMA, Mapping, land
from tests.connectors.landed import NOW, SIMPLE, LandBytes

LOG = b"""case,activity,time,who,position,unit,state,no
c1,start,2024-01-01,ann,clerk,north,complete,2
c2,start,2024-02-01,bob,boss,south,start,10
c1,end,2024-01-02,,,,,9
"""


def test_columns_of_a_month_file(land_bytes: LandBytes) -> None:
    landed = land_bytes(
        LOG,
        resource="who",
        role="position",
        org_unit="unit",
        lifecycle="state",
        order="no",
        record_key=("case", "no"),
    )
    january = pq.read_table(landed.landing.months["2024-01"].path)
    text, time = pa.string(), pa.timestamp("us")
    assert dict(zip(january.column_names, january.schema.types, strict=True)) == {
        **dict.fromkeys(["case", "activity", "time", "who", "position", "unit", "state", "no"], text),
        "_row_number": pa.int64(),
        "_timestamp": time,
        "_start_timestamp": time,
        **dict.fromkeys(["_case_id", "_activity", "_resource_id", "_role", "_org_unit", "_lifecycle"], text),
        "_order_key": pa.int64(),
        "_record_key": text,
    }
    assert tuple(january.column_names[8:]) == LANDED_COLUMNS
    first = january.to_pylist()[0]
    assert [first[name] for name in LANDED_COLUMNS[3:-1]] == [
        "c1",
        "start",
        "ann",
        "clerk",
        "north",
        "complete",
        2,
    ]
    assert first["_record_key"] == hashlib.sha256(b"2:c11:2").hexdigest()
    month = landed.landing.months["2024-01"]
    assert (month.rows, month.min_timestamp, month.max_timestamp) == (
        2,
        datetime(2024, 1, 1),
        datetime(2024, 1, 2),
    )
    assert pq.read_schema(landed.landing.quarantine) == QUARANTINE_SCHEMA


def test_record_keys_do_not_meet(land_bytes: LandBytes) -> None:
    landed = land_bytes(
        b"case,activity,time,x,y\nc,a,2024-01-01,a,bc\nc,a,2024-01-01,ab,c\nc,a,2024-01-01,abc,\n"
        b'c,a,2024-01-01,,abc\nc,a,2024-01-01,,\nc,a,2024-01-01,-,\nc,a,2024-01-01,"\xc3\xa4",-\n',
        record_key=("x", "y"),
    )
    keys = landed.column("_record_key")
    assert len(set(keys)) == len(keys) == 6
    assert keys[5] == hashlib.sha256("2:ä1:-".encode()).hexdigest()
    assert landed.reasons() == [(5, 6, "missing_record_key")]
    assert landed.quarantine[0]["field"] == "x, y"


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        (["-3", "2", "10", "9223372036854775807"], pa.int64()),
        (["9", "10", "9223372036854775808"], pa.string()),
        (["1.25", "1.5", "2", "10.1"], pa.string()),
        (["step 2", "step 10", "step 10b", "step 100"], pa.string()),
        (["2024-01-01 09:59:59.5", "2024-01-01 10:00:00.25", "2024-01-01 10:00:00.5"], pa.string()),
    ],
)
def test_order_keys_sort_as_people_count(land_bytes: LandBytes, values: list[str], kind: pa.DataType) -> None:
    body = "".join(f"c,a,2024-01-01,{value}\n" for value in values)
    landed = land_bytes(f"case,activity,time,no\n{body}c,a,2024-01-01,\n".encode(), order="no")
    keys = landed.column("_order_key")
    assert landed.table is not None
    assert landed.table.schema.field("_order_key").type == kind
    assert keys[-1] is None
    assert sorted(keys[:-1]) == keys[:-1]
    assert len(set(keys)) == len(keys)


def test_rows_of_a_month_keep_the_order_of_the_file(land_bytes: LandBytes) -> None:
    months = [f"2024-{n * 7 % 12 + 1:02}" for n in range(5000)]
    body = "".join(f"c,a,{month}-{28 - n % 28:02}\n" for n, month in enumerate(months))
    landed = land_bytes(f"case,activity,time\n{body}".encode())
    assert list(landed.landing.months) == sorted(set(months))
    for month, file in landed.landing.months.items():
        numbers = pq.read_table(file.path)["_row_number"].to_pylist()
        assert numbers == [n for n, m in enumerate(months, start=1) if m == month]


def test_the_same_file_gives_the_same_bytes(tmp_path: Path) -> None:
    rows = "".join(
        f"c{n % 97},a{n % 7},2024-{n % 12 + 1:02}-01,{n}\n" if n % 50 else "c,a\n" for n in range(30_000)
    )
    path = tmp_path / "log.csv"
    path.write_text(f"case,activity,time,note\n{rows}")
    digests = []
    for name in ("one", "two"):
        land(path, Mapping.model_validate(SIMPLE), first_month="2000-01", now=NOW, into=tmp_path / name)
        files = sorted((tmp_path / name).rglob("*.parquet"))
        digests.append([(file.name, hashlib.sha256(file.read_bytes()).hexdigest()) for file in files])
    assert digests[0] == digests[1]
    assert len(digests[0]) == 13


def test_the_schema_fingerprint_is_of_names_types_and_order(land_bytes: LandBytes) -> None:
    prints = [
        land_bytes(header + b"\nc,a,2024-01-01,1\n").landing.schema_fingerprint
        for header in (b"case,activity,time,x", b"case,activity,time,y", b"case,activity,time,x")
    ]
    assert prints[0] == prints[2] != prints[1]


def test_progress_and_an_occupied_folder(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    path.write_bytes(b"case,activity,time\n" + b"c,a,2024-01-01\n" * 200_000)
    seen: list[tuple[int, int]] = []
    run = partial(
        land, path, Mapping.model_validate(SIMPLE), first_month="2000-01", now=NOW, into=tmp_path / "in"
    )
    run(progress=lambda done, total: seen.append((done, total)))
    size = path.stat().st_size
    assert seen[-1] == (size, size)
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)
    with pytest.raises(FileExistsError):
        run()


def test_relative_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    table = pa.table({"case": ["c"], "activity": ["a"], "time": ["2024-01-01"]})
    pq.write_table(table, tmp_path / "it's a log.parquet")
    mapping = Mapping.model_validate(SIMPLE)
    landing = land(Path("it's a log.parquet"), mapping, first_month="2000-01", now=NOW, into=Path("in"))
    assert landing.landed == 1
    assert landing.months["2024-01"].path == tmp_path.resolve() / "in" / "raw" / "2024-01.parquet"
    assert sorted(p.name for p in (tmp_path / "in").iterdir()) == ["quarantine.parquet", "raw"]


def test_a_mapping_goes_through_json() -> None:
    mapping = Mapping(case_id="c", activity="a", timestamp="t", record_key=("x", "y"), null=("NA",))
    assert Mapping.model_validate_json(mapping.model_dump_json()) == mapping


def test_the_time_of_review_is_when_the_first_record_of_the_future_may_land(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    times = ("2026-01-10T00:00:00", "2026-03-01T00:00:00", "2026-02-01T00:00:00", "9999-12-31T00:00:00")
    path.write_text("case,activity,time\n" + "".join(f"a,x,{time}\n" for time in times))

    def landed(now: datetime, name: str) -> tuple[int, datetime | None]:
        landing = land(
            path, Mapping.model_validate(SIMPLE), first_month="2000-01", now=now, into=tmp_path / name
        )
        return landing.landed, landing.review_at

    review = datetime(2026, 1, 31, tzinfo=UTC)
    assert landed(NOW, "at first") == (1, review)
    assert landed(review - timedelta(microseconds=1), "just before") == (1, review)
    assert landed(review, "then") == (2, datetime(2026, 2, 28, tzinfo=UTC))
    assert landed(datetime(2026, 3, 1, tzinfo=UTC), "later") == (3, None)
