"""Delimited text as it is met in the wild: nothing is lost, nothing is guessed."""

from pathlib import Path

import pytest

from orchestration.connectors import InvalidMapping, Limits, UnreadableFile
from tests.connectors.landed import LandBytes, ProbeBytes

HEADER = b"case,activity,time\n"


def test_ragged_records_are_quarantined_with_their_line(land_bytes: LandBytes) -> None:
    landed = land_bytes(
        HEADER
        + b'c1,"two\nlines",2024-01-01\n'  # lines 2 and 3
        + b"c2,short\n"  # line 4
        + b"\n"  # line 5 is no record
        + b"c3,a,2024-01-03,long\n"  # line 6
        + b"c4,a,2024-01-04"  # line 7, without line end
    )
    assert landed.reasons() == [(2, 4, "ragged_row"), (3, 6, "ragged_row")]
    assert landed.quarantine[0]["raw"] == "c2,short"
    assert "2 fields" in landed.quarantine[0]["message"]
    assert landed.column("_row_number") == [1, 4]
    assert landed.column("activity") == ["two\nlines", "a"]
    assert (landed.landing.records, landed.landing.landed, landed.landing.quarantined) == (4, 2, 2)


def test_lines_are_right_after_many_quoted_line_ends(land_bytes: LandBytes) -> None:
    body = b"".join(b'c,"x\n\ny",2024-01-01\n' if n % 7 else b"\nc,a,never\n" for n in range(1, 30001))
    landed = land_bytes(HEADER + body)
    lines = (HEADER + body).split(b"\n")
    assert landed.landing.records == 30000
    assert len(landed.quarantine) == 30000 // 7
    assert all(lines[row["line_number"] - 1] == b"c,a,never" for row in landed.quarantine)


def test_byte_order_mark_and_sep_line(land_bytes: LandBytes) -> None:
    landed = land_bytes(b"\xef\xbb\xbfsep=;\r\ncase;activity;time\r\nc1;a,b;2024-01-01\r\nc2;;2024-01-01\r\n")
    assert landed.column("_case_id") == ["c1"]
    assert landed.column("_activity") == ["a,b"]
    assert landed.landing.delimiter == ";"
    assert landed.reasons() == [(2, 4, "missing_activity")]


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_delimiter_is_found(land_bytes: LandBytes, delimiter: str) -> None:
    rows = ["case activity time note", "c1 a 2024-01-01 1,5;x", "c2 b 2024-01-02 2,5"]
    text = "\n".join(rows).replace("1,5;x", '"1,5;x"').replace("2,5", '"2,5"').replace(" ", delimiter)
    landed = land_bytes(text.encode())
    assert landed.landing.delimiter == delimiter
    assert landed.column("note") == ["1,5;x", "2,5"]


@pytest.mark.parametrize("line_end", [b"\n", b"\r\n", b"\r"])
def test_line_ends(land_bytes: LandBytes, line_end: bytes) -> None:
    text = b'case,activity,time\nc1,"a\nb",2024-01-01\n\nc2,,2024-01-02\n'.replace(b"\n", line_end)
    landed = land_bytes(text)
    assert landed.column("activity") == ["a" + line_end.decode() + "b"]
    assert landed.reasons() == [(2, 5, "missing_activity")]


def test_other_encoding_is_refused_with_the_line_and_read_when_told(land_bytes: LandBytes) -> None:
    content = HEADER + b"c1,a,2024-01-01\n" * 50_000 + "c2,Prüfung,2024-01-01\n".encode("cp1252")
    with pytest.raises(UnreadableFile, match=r"Line 50002 is not utf-8.*Prüfung.*--encoding cp1252"):
        land_bytes(content)
    landed = land_bytes(content, encoding="cp1252")
    assert landed.column("_activity")[-1] == "Prüfung"
    with pytest.raises(InvalidMapping, match="no encoding 'klingon'"):
        land_bytes(content, encoding="klingon")


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-32"])
def test_utf_16(land_bytes: LandBytes, encoding: str) -> None:
    content = "case;activity;time\nc1;Prüfung €;2024-01-01\n".encode(encoding)
    if encoding.endswith("-le"):  # no byte order mark
        with pytest.raises(UnreadableFile, match="--encoding utf-16-le"):
            land_bytes(content)
        landed = land_bytes(content, encoding=encoding)
    else:
        landed = land_bytes(content)
    assert landed.column("_activity") == ["Prüfung €"]


def test_nul_characters_are_taken_out_and_counted(land_bytes: LandBytes) -> None:
    landed = land_bytes(HEADER + b"c\x001,a\x00\x00,2024-01-01\n")
    assert landed.column("_case_id") == ["c1"]
    assert landed.landing.nul_characters == 3


def test_no_value_is_null_unless_told(land_bytes: LandBytes) -> None:
    content = HEADER + b"NA,None,2024-01-01\nnull,NaN,2024-01-01\n"
    assert land_bytes(content).column("_case_id") == ["NA", "null"]
    told = land_bytes(content, null=("NA",))
    assert told.column("_case_id") == ["null"]
    assert told.reasons() == [(1, 2, "missing_case_id")]
    assert told.quarantine[0]["value"] == "NA"


def test_empty_and_quoted_empty_and_leading_zeros_arrive_as_they_are(land_bytes: LandBytes) -> None:
    landed = land_bytes(b'case,activity,time,note\n007, a ,2024-01-01,\n7,a,2024-01-01,""\n')
    assert landed.column("note") == [None, ""]
    assert landed.column("_case_id") == ["007", "7"]
    assert landed.column("_activity") == [" a ", "a"]


def test_blank_records_are_no_events(land_bytes: LandBytes) -> None:
    landed = land_bytes(HEADER + b"c1,a,2024-01-01\n,,\n , ,\t\n,a,2024-01-01\n")
    assert landed.landing.non_event == 2
    assert landed.reasons() == [(4, 5, "missing_case_id")]


def test_headers_that_clash_or_are_missing_are_renamed_with_a_warning(land_bytes: LandBytes) -> None:
    landed = land_bytes(b"case,activity,time,Case,,case,_case_id\nc,a,2024-01-01,1,2,3,4\n")
    names = [name for name, _ in landed.landing.columns]
    assert names == ["case", "activity", "time", "Case__2", "column_5", "case__3", "_case_id__2"]
    assert len(landed.landing.warnings) == 4
    row = landed.rows()[0]
    assert [row[name] for name in names] == ["c", "a", "2024-01-01", "1", "2", "3", "4"]
    assert row["_case_id"] == "c"


def test_column_names_cannot_reach_the_sql(land_bytes: LandBytes) -> None:
    landed = land_bytes(
        b'case,activity,time,t_utc,c1,"a""b\'; --"\nc,a,2024-01-01,1,2,3\n', record_key=("t_utc",)
    )
    row = landed.rows()[0]
    assert (row["t_utc"], row["c1"], row["a\"b'; --"]) == ("1", "2", "3")


def test_stray_quotes_are_kept_and_hopeless_ones_refused(land_bytes: LandBytes) -> None:
    landed = land_bytes(HEADER + b'c1,5" pipe,2024-01-01\nc2,"a ""b""",2024-01-01\nc3,short\n')
    assert landed.column("_activity") == ['5" pipe', 'a "b"']
    assert landed.reasons() == [(3, 4, "ragged_row")]
    with pytest.raises(UnreadableFile, match="line 3 opens a quote that is never closed"):
        land_bytes(HEADER + b'c0,a,2024-01-01\nc1,"open,2024-01-01\nc2,a,2024-01-01\n')
    # the parser alone would take the three lines for one record of three fields
    with pytest.raises(UnreadableFile, match="record on line 2 has a quoted field"):
        land_bytes(HEADER + b'c1,"open,2024-01-01\nc2,a,2024-01-01\nc3,"x",2024-01-01\n')


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"\n\n", "separates columns"),
        (b"just one column\nx\n", "--delimiter"),
        (b"2024-01-01,c1,a\n2024-01-02,c2,b\n", "data and no header"),
        (b"%PDF-1.7 ...", "a PDF"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "Excel"),
    ],
)
def test_files_that_are_no_log(land_bytes: LandBytes, content: bytes, message: str) -> None:
    with pytest.raises(UnreadableFile, match=message):
        land_bytes(content)


def test_a_header_alone_is_a_log_without_records(land_bytes: LandBytes) -> None:
    landed = land_bytes(HEADER)
    assert (landed.landing.records, landed.landing.months, landed.quarantine) == (0, {}, [])


def test_a_column_that_is_not_there(land_bytes: LandBytes) -> None:
    with pytest.raises(InvalidMapping, match=r"'Case'.*Its columns: case, activity, time"):
        land_bytes(HEADER, case_id="Case")


def test_a_record_longer_than_the_limit_is_refused(land_bytes: LandBytes) -> None:
    content = HEADER + b"c1,a,2024-01-01\n" + b"c2," + b"x" * 200_000 + b",2024-01-01\n"
    assert land_bytes(content).landing.landed == 2
    with pytest.raises(UnreadableFile, match="longer than 65,536 bytes"):
        land_bytes(content, limits=Limits(record_bytes=1 << 16))


def test_nothing_is_left_of_a_refused_file(land_bytes: LandBytes, tmp_path: Path) -> None:
    with pytest.raises(UnreadableFile):
        land_bytes(HEADER + b"c1,a,2024-01-01\n" * 10_000 + b"\xff\n")
    assert not [p for p in tmp_path.rglob("*") if p.is_file() and p.name != "log0"]


def test_a_probe_reads_no_more_than_asked(probe_bytes: ProbeBytes) -> None:
    probe = probe_bytes(HEADER + b"c1,a,2024-01-01T00:00:00Z\n" * 5000, max_records=100)
    assert (probe.records, probe.complete) == (100, False)
