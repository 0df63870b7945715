"""JSON lines: every value as it was written, every line accounted for."""

import gzip
import json

import pytest

from orchestration.connectors import Limits, UnreadableFile
from tests.connectors.landed import LandBytes, ProbeBytes


def lines(*rows: object) -> bytes:
    return b"".join(json.dumps(row, ensure_ascii=False).encode() + b"\n" for row in rows)


def event(
    case: object, activity: object = "a", time: object = "2024-01-01T00:00:00Z", **more: object
) -> dict:
    return {"case": case, "activity": activity, "time": time, **more}


def test_values_stay_as_they_were_written(land_bytes: LandBytes) -> None:
    content = (
        b'{"case": 7, "activity": "start", "time": "2024-01-01T00:00:00Z", "amount": 1.50, "big": 12345678901234567890,'
        b' "tiny": 1e-7, "paid": true, "none": null, "tags": ["\xc3\xa4", 1], "who": {"name": "ann"}}\n'
    )
    landed = land_bytes(content)
    (row,) = landed.rows()
    assert (row["_case_id"], row["_activity"]) == ("7", "start")
    assert (row["amount"], row["big"], row["tiny"]) == ("1.50", "12345678901234567890", "1e-7")
    assert (row["paid"], row["none"]) == ("true", None)
    assert (row["tags"], row["who"]) == ('["ä", 1]', '{"name": "ann"}')
    types = dict(landed.landing.columns)
    assert (types["case"], types["amount"], types["paid"], types["tags"]) == (
        "int64",
        "double",
        "bool",
        "json",
    )
    assert (landed.landing.format, landed.landing.encoding, landed.landing.delimiter) == (
        "jsonl",
        "utf-8",
        None,
    )


def test_fields_may_come_in_any_order_and_at_any_time(land_bytes: LandBytes) -> None:
    landed = land_bytes(
        lines(event("1"), {"late": "x", "time": "2024-01-02T00:00:00Z", "activity": "b", "case": "1"})
    )
    assert [name for name, _ in landed.landing.columns] == ["case", "activity", "time", "late"]
    assert landed.column("late") == [None, "x"]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (b'{"case": "1"', "no JSON object: Expecting"),
        (b"[1]", "but json"),
        (b"17", "but int64"),
        (b'{"case": "1", "case": "2"}', "'case' twice"),
        (b'{"case": NaN}', "NaN is no JSON value"),
        (b'{"who": {"a": 1, "a": 2}}', "'a' twice"),
        (b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}", "recursion"),
    ],
)
def test_a_line_that_is_no_object_is_quarantined_with_its_line(
    land_bytes: LandBytes, line: bytes, message: str
) -> None:
    content = (
        lines(event("1")) + b"\n  \n" + line + b"\r\n" + lines(event("2")) + b"\n" + lines(event("", ""))
    )
    landed = land_bytes(content)
    assert landed.reasons() == [(2, 4, "unparseable_record"), (4, 7, "missing_case_id")]
    assert message in landed.quarantine[0]["message"]
    assert landed.quarantine[0]["raw"].encode() == line + b"\r"
    assert (landed.landing.records, landed.landing.landed) == (4, 2)
    assert landed.column("_row_number") == [1, 3]


def test_an_empty_object_is_no_event(land_bytes: LandBytes) -> None:
    landed = land_bytes(lines(event("1"), {}))
    assert (landed.landing.records, landed.landing.non_event) == (2, 1)


def test_nul_is_taken_out_and_counted(land_bytes: LandBytes) -> None:
    landed = land_bytes(b'{"case": "a\\u0000b", "activity": "x", "time": "2024-01-01T00:00:00Z"}\n')
    assert landed.column("_case_id") == ["ab"]
    assert landed.landing.nul_characters == 1


def test_other_encodings_and_archives(land_bytes: LandBytes) -> None:
    content = lines(event("ä"))
    assert land_bytes(gzip.compress(content)).column("_case_id") == ["ä"]
    assert land_bytes(content.decode().encode("utf-16")).column("_case_id") == ["ä"]
    assert land_bytes(content.decode().encode("cp1252"), encoding="cp1252").column("_case_id") == ["ä"]
    assert land_bytes(b"\xef\xbb\xbf" + content.rstrip()).column("_case_id") == ["ä"]


def test_many_records_cross_chunks(land_bytes: LandBytes) -> None:
    landed = land_bytes(lines(*(event(str(number)) for number in range(60_000))))
    assert landed.column("_case_id") == [str(number) for number in range(60_000)]


def test_a_probe_reads_the_first_records(probe_bytes: ProbeBytes) -> None:
    looked = probe_bytes(lines(*(event(f"c{n // 3}", f"a{n % 3}") for n in range(30))), max_records=12)
    assert (looked.records, looked.complete, looked.questions) == (12, False, ())
    assert looked.mapping.case_id == "case"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"{}\n{}\n", "No line of the file"),
        (b'[{"case": 1}]', "one JSON array"),
        (b'{"a": "' + b"x" * 3000 + b'"}\n{', "longer than 1,000 bytes"),
        (b'{"a": "\xff"}\n', "not utf-8"),
        (lines({f"k{number}": 1 for number in range(50)}), "more than 40"),
    ],
)
def test_what_cannot_be_read_whole_is_refused(land_bytes: LandBytes, content: bytes, message: str) -> None:
    with pytest.raises(UnreadableFile, match=message):
        land_bytes(content, limits=Limits(record_bytes=1000, columns=40))
