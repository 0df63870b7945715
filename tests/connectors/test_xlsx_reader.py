"""Excel workbooks: what a cell shows is not guessed, what it holds is kept."""

from datetime import datetime

import pytest

from orchestration.connectors import AmbiguousMapping, InvalidMapping, Limits, UnreadableFile
from tests.connectors.landed import LandBytes, ProbeBytes
from tests.connectors.workbooks import Value, workbook

HEADER: list[Value] = ["case", "activity", "time"]
DAY = 45292  # 2024-01-01
START: Value = (DAY + 0.5, "date and time")


def log(*rows: list[Value], header: list[Value] = HEADER) -> bytes:
    return workbook(("Log", [header, *rows]))


def test_every_kind_of_cell_becomes_text(land_bytes: LandBytes) -> None:
    header = [*HEADER, "int", "decimal", "tiny", "yes", "formula", "inline", "error", "none"]
    row: list[Value] = [
        *("c1", "a & b", START, 990001, 0.10000000000000001, 1e-07, True),
        ("<f>1+1</f><v>two</v>", "str"),
        ('<is><r><t>rich </t></r><r><t>text</t></r><rPh sb="0" eb="1"><t>no</t></rPh></is>', "inlineStr"),
        ("<v>#N/A</v>", "e"),
        None,
    ]
    landed = land_bytes(log(row, header=header))
    (found,) = landed.rows()
    assert (found["_case_id"], found["_activity"]) == ("c1", "a & b")
    assert (found["int"], found["decimal"], found["tiny"]) == ("990001", "0.1", "1e-07")
    assert (found["yes"], found["formula"], found["inline"]) == ("true", "two", "rich text")
    assert (found["error"], found["none"]) == ("#N/A", None)
    assert landed.landing.warnings == ("1 cells hold an error such as #N/A, which is read as text.",)
    types = dict(landed.landing.columns)
    assert (types["case"], types["time"], types["int"], types["yes"]) == (
        "string",
        "timestamp",
        "double",
        "bool",
    )


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ((DAY, "date"), "2024-01-01"),
        ((DAY + 0.5, "date"), "2024-01-01 12:00:00"),
        ((DAY, "date and time"), "2024-01-01 00:00:00"),
        ((DAY + 0.25, "own date"), "2024-01-01 06:00:00"),
        ((DAY, "month"), "2024-01-01"),
        ((45292.423726851854, "date and time"), "2024-01-01 10:10:10"),
        ((45292.4237268634280, "date and time"), "2024-01-01 10:10:10.001"),
        ((59, "date"), "1900-02-28"),
        ((61, "date"), "1900-03-01"),
        ((60, "date"), "60"),
        ((0.75, "hour"), "0.75"),
        ((1.5, "elapsed"), "1.5"),
        ((12.5, "money"), "12.5"),
        ((-3, "date"), "-3"),
        ((10**9, "date"), "1000000000"),
        (("<v>2024-01-01T10:10:10</v>", "d"), "2024-01-01T10:10:10"),
    ],
)
def test_a_number_is_a_moment_where_its_format_says_so(
    land_bytes: LandBytes, value: Value, text: str
) -> None:
    landed = land_bytes(log(["c", "a", START, value], header=[*HEADER, "value"]))
    assert landed.column("value") == [text]


def test_days_may_count_from_1904(land_bytes: LandBytes) -> None:
    content = workbook(
        ("Log", [HEADER, ["c", "a", (43830.5, "date and time")]]),
        workbook='<workbook xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main" xmlns:r='
        '"http://schemas.openxmlformats.org/officeDocument/2006/relationships"><workbookPr date1904="1"/>'
        '<sheets><sheet name="Log" sheetId="1" r:id="rId1"/></sheets></workbook>',
    )
    assert land_bytes(content).column("_timestamp") == [datetime(2024, 1, 1, 12)]


def test_times_have_no_zone_so_that_it_is_asked_for(land_bytes: LandBytes) -> None:
    with pytest.raises(AmbiguousMapping, match="--timezone"):
        land_bytes(log(["c", "a", START]), timezone=None)
    assert land_bytes(log(["c", "a", START]), timezone="Europe/Berlin").column("_timestamp") == [
        datetime(2024, 1, 1, 11)
    ]


def test_empty_rows_are_no_records_and_lines_are_those_of_the_sheet(land_bytes: LandBytes) -> None:
    content = log([], ["c", "a", START], [None, None, None], [], ["", "b", START], ["d", "b", START])
    landed = land_bytes(content)
    assert landed.reasons() == [(2, 6, "missing_case_id")]
    assert (landed.landing.records, landed.column("_row_number")) == (3, [1, 3])


def test_rows_before_the_table_are_skipped_only_if_they_are_empty(land_bytes: LandBytes) -> None:
    content = workbook(("Log", [[], [None], HEADER, ["c", "a", START]]))
    assert land_bytes(content).column("_case_id") == ["c"]


def test_a_row_that_is_wider_than_the_header_is_quarantined_whole(land_bytes: LandBytes) -> None:
    landed = land_bytes(log(["c", "a", START], ["c", "b", START, None, "lost?"]))
    assert landed.reasons() == [(2, 3, "ragged_row")]
    assert "column 5, the header has 3" in landed.quarantine[0]["message"]
    assert landed.quarantine[0]["raw"].endswith("\tlost?")


def test_a_column_may_have_no_name_or_a_taken_one(land_bytes: LandBytes) -> None:
    landed = land_bytes(log(["c", "a", START, "x", "y"], header=[*HEADER, None, "Case"]))
    assert [name for name, _ in landed.landing.columns] == [*HEADER, "column_4", "Case__2"]
    assert landed.column("column_4") == ["x"]
    assert len(landed.landing.warnings) == 2


def test_a_sheet_is_asked_for_where_several_are_visible(
    land_bytes: LandBytes, probe_bytes: ProbeBytes
) -> None:
    content = workbook(
        ("Notes", [["x"]]), ("Log", [HEADER, ["c", "a", START]]), ("Old", [["y"]]), hidden=["Old"]
    )
    with pytest.raises(AmbiguousMapping, match=r"2 sheets.*--sheet Notes or --sheet Log"):
        land_bytes(content)
    assert land_bytes(content, sheet="Log").column("_case_id") == ["c"]
    with pytest.raises(InvalidMapping, match=r"no sheet 'Lag'\. Its sheets: 'Notes', 'Log', 'Old'"):
        land_bytes(content, sheet="Lag")
    alone = workbook(("Log", [HEADER, ["c", "a", START]]), ("Old", [["y"]]), hidden=["Old"])
    assert probe_bytes(alone, timezone="UTC").mapping.case_id == "case"


def test_escapes_are_read_and_nul_is_taken_out(land_bytes: LandBytes) -> None:
    landed = land_bytes(log(["a_x000A_b", "_x005F_x000D_", START], ["n_x0000_ul", "_xD800_", START]))
    assert landed.column("_case_id") == ["a\nb", "nul"]
    assert landed.column("_activity") == ["_x000D_", "_xD800_"]
    assert landed.landing.nul_characters == 1


def test_merged_cells_are_told(land_bytes: LandBytes) -> None:
    sheet = (
        '<worksheet xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"><sheetData>'
        "<row><c t='inlineStr'><is><t>case</t></is></c><c t='inlineStr'><is><t>activity</t></is></c>"
        "<c t='inlineStr'><is><t>time</t></is></c></row>"
        "<row><c><v>1</v></c><c><v>2</v></c><c s='2'><v>45292.5</v></c></row>"
        "</sheetData><mergeCells><mergeCell ref='A2:A3'/></mergeCells></worksheet>"
    )
    landed = land_bytes(workbook(("Log", []), sheet1=sheet))
    assert landed.column("_case_id") == ["1"]
    assert "1 merged ranges" in landed.landing.warnings[0]


def test_a_header_alone_is_a_log_without_records(land_bytes: LandBytes) -> None:
    landed = land_bytes(log())
    assert (landed.landing.records, landed.table) == (0, None)


def test_many_rows_cross_chunks_and_a_probe_stops_early(
    land_bytes: LandBytes, probe_bytes: ProbeBytes
) -> None:
    content = log(*([f"c{number}", "a", START] for number in range(60_000)))
    landed = land_bytes(content)
    assert landed.column("_case_id") == [f"c{number}" for number in range(60_000)]
    looked = probe_bytes(content, max_records=10, timezone="UTC")
    assert (looked.format, looked.records, looked.complete) == ("xlsx", 10, False)


MAIN = 'xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"'
ENTITY = '<!DOCTYPE x [<!ENTITY a "ha">]>'


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (workbook(("Log", [])), "sheet is empty"),
        (workbook(("Log", [HEADER]), hidden=["Log"]), "no visible sheet"),
        (workbook(("Log", [HEADER]), sheet1=f"{ENTITY}<worksheet {MAIN}/>"), "DOCTYPE"),
        (workbook(("Log", [HEADER]), texts=f"{ENTITY}<sst {MAIN}><si><t>&a;</t></si></sst>"), "DOCTYPE"),
        (workbook(("Log", [HEADER]), sheet1=f"<worksheet {MAIN}><sheetData><row>"), "not well-formed"),
        (workbook(("Log", [HEADER]), sheet1="<html/>"), "none of a workbook"),
        (workbook(("Log", [HEADER]), texts=f"<sst {MAIN}/>"), "shared text '0'"),
        (workbook(("Log", [[("<v>x</v>", "n")]])), "no number"),
        (workbook(("Log", [[1] * 50])), "more than 40 columns"),
        (workbook(("Log", [["x" * 3000]])), "more than 2,000 characters"),
        (workbook(("Log", [["x" * 30_000_000]])), "as bombs do|not well-formed"),
    ],
)
def test_broken_and_hostile_workbooks_are_refused(
    land_bytes: LandBytes, content: bytes, message: str
) -> None:
    limits = Limits(columns=40, shared_text=2000, ratio_floor_bytes=1_000_000)
    with pytest.raises(UnreadableFile, match=message):
        land_bytes(content, limits=limits)


def test_a_damaged_or_an_encrypted_workbook_is_refused(land_bytes: LandBytes) -> None:
    with pytest.raises(UnreadableFile, match="cannot be read"):
        land_bytes(log(["c", "a", START])[:-40])
    with pytest.raises(UnreadableFile, match=r"without a password"):
        land_bytes(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"\0" * 600)
