"""Reading Excel workbooks (.xlsx): one sheet, its first filled row as the header, every value as text.

A stream over the parts of the workbook: a DOCTYPE is refused, and caps hold as for any archive. Only stored values are
read: a formula is what it last gave. A number whose format is one of dates becomes ISO 8601 without a zone, to the
millisecond; other numbers are the shortest text that means the same. Rows without any value are no records.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from lxml import etree

from orchestration.connectors.archive import Limits, Progress, open_member
from orchestration.connectors.errors import AmbiguousMapping, InvalidMapping, Question, UnreadableFile
from orchestration.connectors.guarded_xml import guarded_elements, has_doctype, let_go
from orchestration.connectors.record_chunks import RecordChunks
from orchestration.connectors.staging import REJECTS_SCHEMA, Staged

_WORKBOOK = "xl/workbook.xml"
_ROOTS = ("worksheet", "sst", "styleSheet", "workbook", "Relationships")
_DATE_FORMATS = frozenset((*range(14, 23), *range(27, 37), *range(50, 59)))  # 45 to 47 are elapsed times
_NOT_SHOWN = re.compile(
    r'"[^"]*"|\\.|_.|\*.|\[[^\]]*\]'
)  # quoted text, escapes, padding, colours and locales
_ESCAPE = re.compile(r"_x([0-9A-Fa-f]{4})_")
_LETTERS = re.compile(r"[A-Z]+")

Cell = tuple[str, str]
"""(kind, text); the kind is a type as it is told of columns."""


def stage_xlsx(
    path: Path,
    scratch: Path,
    *,
    sheet: str | None,
    limits: Limits,
    progress: Progress | None = None,
    max_records: int | None = None,
) -> Staged:
    """Read a sheet of a workbook into ``scratch``.

    Raises:
        UnreadableFile: The workbook is damaged, holds no table, or exceeds a limit.
        InvalidMapping: It has no sheet of that name.
        AmbiguousMapping: No name is given, and several sheets are visible.
    """
    book = _Workbook(path, limits)
    rows = _Rows(book, book.part_of(sheet), progress)
    table = iter(rows)
    header = next(table, None)
    if header is None:
        raise UnreadableFile("The sheet is empty. Name another one with --sheet.")
    chunks, staged = RecordChunks(scratch, limits), _Records(scratch / "rejects.parquet", header[1])
    chunks.declare([(str(place), name) for place, name in enumerate(staged.header)])
    truncated = False
    for number, cells in table:
        if len(staged.sheet_rows) == max_records:
            truncated = True
            break
        if record := staged.record(number, cells):
            chunks.add(len(staged.sheet_rows), record)
    chunks.flush()
    staged.write_rejects()
    sheet_rows = np.array(staged.sheet_rows, dtype=np.int64)
    return Staged(
        format="xlsx",
        columns=tuple((name, staged.types.get(key, "string")) for key, name in chunks.columns.items()),
        relation=chunks.relation(),
        records=len(sheet_rows),
        truncated=truncated,
        rejects=staged.rejects_path if staged.rejects else None,
        lines_of=lambda numbers: sheet_rows[np.array(numbers, dtype=np.int64) - 1].tolist(),
        nul_count=book.nul_count,
        warnings=(*chunks.names.warnings, *rows.warnings()),
    )


class _Records:
    """Turns the rows of a sheet into records: what has a value where the header has none is rejected."""

    def __init__(self, rejects_path: Path, header: dict[int, Cell]) -> None:
        self.header = [header.get(place, ("", ""))[1] for place in range(max(header) + 1)]
        self.types: dict[str, str] = {}
        self.sheet_rows: list[int] = []
        self.rejects_path = rejects_path
        self.rejects: list[dict[str, Any]] = []

    def record(self, number: int, cells: dict[int, Cell]) -> dict[str, str | None] | None:
        """The record of a row of the sheet, by the places of its columns; None if it is rejected."""
        self.sheet_rows.append(number)
        if max(cells) >= len(self.header):
            message = (
                f"The row has a value in column {max(cells) + 1}, the header has {len(self.header)} columns."
            )
            raw = "\t".join(cells[place][1] if place in cells else "" for place in range(max(cells) + 1))
            self.rejects.append({"row_number": len(self.sheet_rows), "message": message, "raw": raw})
            return None
        for place, (kind, _) in cells.items():
            self.types.setdefault(str(place), kind)
        return {str(place): text for place, (_, text) in cells.items()}

    def write_rejects(self) -> None:
        """Write the rejected rows, if there are any."""
        if self.rejects:
            pq.write_table(pa.Table.from_pylist(self.rejects, REJECTS_SCHEMA), self.rejects_path)


@dataclass(frozen=True)
class _Sheet:
    name: str
    part: str
    visible: bool


class _Workbook:
    """What the sheets of a workbook share: their names, texts and formats.

    Attributes:
        texts: The shared texts, by number.
        dates: For each style whether its numbers are dates, and whether it shows a time.
        from_1904: Days are counted from 1904 instead of 1900.
        nul_count: NUL characters that were taken out.
    """

    def __init__(self, path: Path, limits: Limits) -> None:
        self.path, self.limits, self.nul_count = path, limits, 0
        self._kinds: dict[str, str] = {}
        parts = self._parts()
        self.from_1904, self._sheets = False, list[_Sheet]()
        for element in self.elements(_WORKBOOK, "workbookPr", "sheet"):
            if _local(element) == "workbookPr":
                self.from_1904 = element.get("date1904") in ("1", "true")
            elif (part := parts.get(_relation_id(element))) and self._kinds[part] == "worksheet":
                visible = element.get("state", "visible") == "visible"
                self._sheets.append(_Sheet(element.get("name", ""), part, visible))
        by_kind = {self._kinds[part]: part for part in parts.values()}
        self.texts = self._shared_texts(by_kind.get("sharedStrings"))
        self.dates = self._date_styles(by_kind.get("styles"))

    def part_of(self, wanted: str | None) -> str:
        """The part of the sheet of that name, or of the only visible one."""
        there_are = ", ".join(repr(sheet.name) for sheet in self._sheets)
        if wanted is not None:
            found = [sheet for sheet in self._sheets if sheet.name == wanted]
            if not found:
                raise InvalidMapping(
                    f"The workbook has no sheet {wanted!r}. Its sheets: {there_are or 'none'}."
                )
            return found[0].part
        visible = [sheet for sheet in self._sheets if sheet.visible]
        if not visible:
            raise UnreadableFile("The workbook has no visible sheet. Name a hidden one with --sheet.")
        if len(visible) > 1:
            names = tuple(sheet.name for sheet in visible)
            message = f"The workbook has {len(visible)} sheets, and a log is one of them."
            raise AmbiguousMapping((Question("sheet", "--sheet", names, message),))
        return visible[0].part

    def elements(self, part: str, *tags: str, progress: Progress | None = None) -> Iterator[Any]:
        """The elements of a part that have one of the tags, each as it ends; then it is let go."""
        with open_member(self.path, part, self.limits, progress) as stream:
            try:
                for element in guarded_elements(stream, _ROOTS, tags, partial(_require_root, part)):
                    yield element
                    let_go(element)
            except etree.XMLSyntaxError as error:
                raise UnreadableFile(
                    f"The part {part} of the workbook is not well-formed: {error.msg}. Save it again."
                ) from error

    def text(self, raw: str) -> str:
        """A text with its escapes read and NUL taken out."""
        if "_x" in raw:
            raw = _ESCAPE.sub(_unescaped, raw)
        if "\x00" in raw:
            self.nul_count += raw.count("\x00")
            raw = raw.replace("\x00", "")
        return raw

    def _parts(self) -> dict[str, str]:
        """Relation id to part; notes the kind of each."""
        parts = {}
        for relation in self.elements("xl/_rels/workbook.xml.rels", "Relationship"):
            target = relation.get("Target", "")
            part = target.lstrip("/") if target.startswith("/") else f"xl/{target}"
            parts[relation.get("Id", "")] = part
            self._kinds[part] = relation.get("Type", "").rpartition("/")[2]
        return parts

    def _shared_texts(self, part: str | None) -> list[str]:
        texts, size = [], 0
        for item in self.elements(part, "si") if part else ():
            texts.append(self.text(_rich_text(item)))
            size += len(texts[-1])
            if size > self.limits.shared_text:
                raise UnreadableFile(
                    f"The workbook has more than {self.limits.shared_text:,} characters of text. Save the sheet as CSV."
                )
        return texts

    def _date_styles(self, part: str | None) -> list[tuple[bool, bool]]:
        """(is a date, shows a time) for each cell style."""
        if part is None:
            return []
        codes: dict[str, str] = {}
        for number_format in self.elements(part, "numFmt"):
            codes[number_format.get("numFmtId", "")] = number_format.get("formatCode", "")
        styles = []
        for formats in self.elements(part, "cellXfs"):
            styles = [_date_style(xf.get("numFmtId", "0"), codes) for xf in formats]
        return styles


class _Rows:
    """The rows of a sheet that hold a value: (number in the sheet, column from 0 to cell)."""

    def __init__(self, book: _Workbook, part: str, progress: Progress | None) -> None:
        self._book, self._part, self._progress = book, part, progress
        self._merged = self._errors = 0

    def __iter__(self) -> Iterator[tuple[int, dict[int, Cell]]]:
        number = 0
        for element in self._book.elements(self._part, "row", "mergeCell", progress=self._progress):
            if _local(element) == "mergeCell":
                self._merged += 1
                continue
            number = int(element.get("r") or number + 1)
            cells = self._cells(element)
            if cells:
                yield number, cells

    def warnings(self) -> list[str]:
        """What a person should know of the rows that were read."""
        warnings = []
        if self._merged:
            warnings.append(f"{self._merged:,} merged ranges: only the first cell of each holds the value.")
        if self._errors:
            warnings.append(f"{self._errors:,} cells hold an error such as #N/A, which is read as text.")
        return warnings

    def _cells(self, row: Any) -> dict[int, Cell]:
        cells: dict[int, Cell] = {}
        column = -1
        for cell in row:
            if _local(cell) != "c":
                continue
            letters = _LETTERS.match(cell.get("r", ""))
            column = _column(letters[0]) if letters else column + 1
            if column >= self._book.limits.columns:
                raise UnreadableFile(
                    f"The sheet has more than {self._book.limits.columns:,} columns. Delete those that are not needed."
                )
            found = self._cell(cell)
            if found is not None and found[1] != "":
                cells[column] = found
        return cells

    def _cell(self, cell: Any) -> Cell | None:
        kind, value = cell.get("t", "n"), None
        for child in cell:
            if _local(child) == "v":
                value = child.text
            elif _local(child) == "is":
                return "string", self._book.text(_rich_text(child))
        if value is None:
            return None
        if kind == "s":
            return "string", self._shared(value)
        if kind == "n":
            return self._number(value, int(cell.get("s", "0")))
        if kind == "b":
            return "bool", "true" if value.strip() == "1" else "false"
        self._errors += kind == "e"
        return ("timestamp" if kind == "d" else "string"), self._book.text(value)

    def _shared(self, value: str) -> str:
        try:
            return self._book.texts[int(value)]
        except (ValueError, IndexError):
            raise UnreadableFile(
                f"A cell names the shared text {value!r}, which the workbook does not have. Save it again."
            ) from None

    def _number(self, value: str, style: int) -> Cell:
        try:
            number = float(value)
        except ValueError:
            raise UnreadableFile(
                f"A cell holds {value!r}, which is no number. Save the workbook again."
            ) from None
        is_date, shows_time = self._book.dates[style] if style < len(self._book.dates) else (False, False)
        text = _date(number, self._book.from_1904, shows_time) if is_date else None
        if text is not None:
            return "timestamp", text
        return "double", str(int(number)) if number == int(number) and abs(number) < 1e15 else repr(number)


def _date(serial: float, from_1904: bool, shows_time: bool) -> str | None:
    """The moment that a serial number of days stands for; None if it is none.

    Excel counts a 29 February 1900 that never was: before it days count from 31 December 1899, after it from the 30th.
    """
    if from_1904:
        start = datetime(1904, 1, 1)
    elif serial >= 61:
        start = datetime(1899, 12, 30)
    else:
        start = datetime(1899, 12, 31)
        if serial < 1 or serial >= 60:  # a time without a day, or the day that never was
            return None
    try:
        moment = start + timedelta(milliseconds=round(serial * 86_400_000))
    except OverflowError:
        return None
    if moment.time() == datetime.min.time() and not shows_time:
        return moment.date().isoformat()
    return moment.isoformat(sep=" ", timespec="milliseconds" if moment.microsecond else "seconds")


def _date_style(number_format: str, codes: dict[str, str]) -> tuple[bool, bool]:
    """Whether numbers of the format are dates, and whether it shows a time."""
    code = codes.get(number_format)
    if code is None:
        known = number_format.isdigit() and int(number_format) in _DATE_FORMATS
        return known, number_format in ("18", "19", "20", "21", "22")
    shown = _NOT_SHOWN.sub("", code.split(";")[0]).lower()
    if "general" in shown or re.search(r"\[[hms]+\]", code.lower()):  # an elapsed time is a number of days
        return False, False
    return bool(re.search("[dmyhs]", shown)), bool(re.search("[hs]", shown))


def _rich_text(item: Any) -> str:
    """The text of an item, in however many runs; hints on its pronunciation are no part of it."""
    parts = []
    for child in item:
        if _local(child) == "t":
            parts.append(child.text or "")
        elif _local(child) == "r":
            parts += [text.text or "" for text in child if _local(text) == "t"]
    return "".join(parts)


def _unescaped(match: re.Match[str]) -> str:
    code = int(match[1], 16)
    return match[0] if 0xD800 <= code <= 0xDFFF else chr(code)


def _column(letters: str) -> int:
    number = 0
    for letter in letters:
        number = number * 26 + ord(letter) - 64
    return number - 1


def _local(element: Any) -> str:
    return str(etree.QName(element).localname)


def _relation_id(sheet: Any) -> str:
    return next((value for name, value in sheet.attrib.items() if name.endswith("}id")), "")


def _require_root(part: str, element: Any) -> None:
    """Refuse what is no part of a workbook, before any of its content is parsed."""
    if element is not None and has_doctype(element):
        raise UnreadableFile("The workbook has a DOCTYPE, which can carry attacks. Save it again.")
    if element is None or element.getparent() is not None:
        raise UnreadableFile(f"The part {part} is none of a workbook. Save it again.")
