"""Which of the formats that we read a file has, by its content."""

import re
from pathlib import Path
from typing import Literal

from orchestration.connectors.archive import Limits, is_workbook, open_expanded
from orchestration.connectors.errors import UnreadableFile

Format = Literal["csv", "xes", "parquet", "jsonl", "ocel-json", "ocel-sqlite", "xlsx"]

_OCEL_1 = re.compile(rb'\{\s*"ocel:')
_OCEL_2 = re.compile(rb'\{\s*"(objectTypes|eventTypes|objects|events)"\s*:\s*\[')
_JSON_ARRAY = re.compile(rb"\[\s*[\[{\]]")
_JSON_OBJECT = re.compile(rb'\{\s*("|\})')
_BOMS = (b"\xef\xbb\xbf", b"\xff\xfe\x00\x00", b"\xff\xfe", b"\xfe\xff")
_FOREIGN = {
    b"PARE": "an encrypted Parquet file. Send it without encryption.",
    b"\xd0\xcf\x11\xe0": "an old or an encrypted Excel workbook. Save it as .xlsx, without a password.",
    b"%PDF": "a PDF. Export the log as CSV, XES, OCEL or Parquet.",
    b"7z\xbc\xaf\x27\x1c": "a 7z archive. Pack the log with zip or gzip.",
    b"\x28\xb5\x2f\xfd": "a zstd archive. Pack the log with zip or gzip.",
    b"BZh": "a bzip2 archive. Pack the log with zip or gzip.",
}


def detect(path: Path, limits: Limits) -> Format:
    """The format of the file, looking through gzip and zip.

    Raises:
        UnreadableFile: The file is empty or of a kind that is not read here.
    """
    if is_workbook(path):
        return "xlsx"
    with open_expanded(path, limits) as stream:
        head = stream.read(4096)
    if not head:
        raise UnreadableFile(f"{path.name} is empty.")
    if head.startswith(b"PAR1"):
        return "parquet"
    for magic, what in _FOREIGN.items():
        if head.startswith(magic):
            raise UnreadableFile(f"{path.name} is {what}")
    if head.startswith(b"SQLite format 3\x00"):
        return "ocel-sqlite"
    return _text_format(path, head)


def _text_format(path: Path, head: bytes) -> Format:
    for bom in _BOMS:
        head = head.removeprefix(bom)
    # UTF-16 puts a NUL beside every ASCII character.
    text = head.replace(b"\x00", b"").lstrip()
    if text.startswith(b"<"):
        return "xes"
    if _OCEL_1.match(text):
        raise UnreadableFile(
            f"{path.name} is OCEL 1.0. Convert it to OCEL 2.0, which has JSON and SQLite forms."
        )
    if _OCEL_2.match(text):
        return "ocel-json"
    if _JSON_ARRAY.match(text):
        raise UnreadableFile(f"{path.name} is one JSON array. Write JSON lines: one object on each line.")
    return "jsonl" if _JSON_OBJECT.match(text) else "csv"
