"""Excel workbooks, written part by part."""

import io
import zipfile
from collections.abc import Sequence
from xml.sax.saxutils import escape, quoteattr

_MAIN = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
_RELATIONS = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
_PACKAGE = "http://schemas.openxmlformats.org/package/2006/relationships"

STYLES = {"date": 1, "date and time": 2, "own date": 3, "elapsed": 4, "money": 5, "month": 6, "hour": 7}
_FORMATS = {
    164: 'yyyy\\-mm\\-dd" at "hh:mm;@',
    165: "[h]:mm:ss",
    166: '#,##0.00 "dollars"',
    167: "[$-409]mmm\\ yy",
}
_STYLE_FORMATS = (0, 14, 22, 164, 165, 166, 167, 20)

Value = str | int | float | bool | None | tuple[float | str, str]
"""A cell; a tuple is a number and its style, or a raw XML of the cell's content and its type."""


def workbook(
    *sheets: tuple[str, Sequence[Sequence[Value]]], hidden: Sequence[str] = (), **parts: bytes | str
) -> bytes:
    """A workbook with shared texts. ``sheet1``, ``styles``, ``workbook``, ``texts``."""
    texts: dict[str, int] = {}
    written: dict[str, str | bytes] = {
        f"sheet{number}": worksheet(rows, texts) for number, (_, rows) in enumerate(sheets, start=1)
    }
    states = {name: "hidden" if name in hidden else "visible" for name, _ in sheets}
    names = "".join(
        f'<sheet name={quoteattr(name)} sheetId="{number}" state="{states[name]}" r:id="rId{number}"/>'
        for number, (name, _) in enumerate(sheets, start=1)
    )
    written["workbook"] = (
        f'<workbook xmlns="{_MAIN}" xmlns:r="{_RELATIONS}"><sheets>{names}</sheets></workbook>'
    )
    items = "".join(f'<si><t xml:space="preserve">{escape(text)}</t></si>' for text in texts)
    written["texts"] = f'<sst xmlns="{_MAIN}">{items}</sst>'
    formats = "".join(
        f'<numFmt numFmtId="{number}" formatCode={quoteattr(code)}/>' for number, code in _FORMATS.items()
    )
    styles = "".join(f'<xf numFmtId="{number}"/>' for number in _STYLE_FORMATS)
    written["styles"] = (
        f'<styleSheet xmlns="{_MAIN}"><numFmts>{formats}</numFmts><cellXfs>{styles}</cellXfs></styleSheet>'
    )
    kinds = {"texts": "sharedStrings", "styles": "styles"}
    targets = {"texts": "sharedStrings.xml", "styles": "styles.xml"}
    sheet_names = [f"sheet{number}" for number in range(1, len(sheets) + 1)]
    relations = "".join(
        f'<Relationship Id="rId{number}" Type="{_RELATIONS}/{kinds.get(name, "worksheet")}"'
        f' Target="{targets.get(name, f"worksheets/{name}.xml")}"/>'
        for number, name in enumerate((*sheet_names, "texts", "styles"), start=1)
    )
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("[Content_Types].xml", "<Types/>")
        archive.writestr(
            "xl/_rels/workbook.xml.rels", f'<Relationships xmlns="{_PACKAGE}">{relations}</Relationships>'
        )
        for name, content in {**written, **parts}.items():
            target = "workbook.xml" if name == "workbook" else targets.get(name, f"worksheets/{name}.xml")
            archive.writestr(f"xl/{target}", content)
    return buffer.getvalue()


def worksheet(rows: Sequence[Sequence[Value]], texts: dict[str, int]) -> str:
    """A sheet whose rows start at 1; an empty row is left out, as Excel does."""
    written = [
        f'<row r="{number}">{"".join(_cell(value, place, number, texts) for place, value in enumerate(row))}</row>'
        for number, row in enumerate(rows, start=1)
        if row
    ]
    return f'<worksheet xmlns="{_MAIN}"><sheetData>{"".join(written)}</sheetData></worksheet>'


def _cell(value: Value, place: int, row: int, texts: dict[str, int]) -> str:
    where = f'r="{_letters(place)}{row}"'
    if value is None:
        return f'<c {where} s="1"/>'
    if isinstance(value, tuple):
        content, kind = value
        if kind in STYLES:
            return f'<c {where} s="{STYLES[kind]}"><v>{content}</v></c>'
        return f'<c {where} t="{kind}">{content}</c>'
    if isinstance(value, bool):
        return f'<c {where} t="b"><v>{int(value)}</v></c>'
    if isinstance(value, str):
        return f'<c {where} t="s"><v>{texts.setdefault(value, len(texts))}</v></c>'
    return f"<c {where}><v>{value!r}</v></c>"


def _letters(place: int) -> str:
    letters = ""
    place += 1
    while place:
        place, rest = divmod(place - 1, 26)
        letters = chr(65 + rest) + letters
    return letters
