"""Which of the formats that we read a file has, by its content."""

from pathlib import Path
from typing import Literal

from orchestration.connectors.archive import Limits, open_expanded
from orchestration.connectors.errors import UnreadableFile

Format = Literal["csv", "xes", "parquet"]

_BOMS = (b"\xef\xbb\xbf", b"\xff\xfe\x00\x00", b"\xff\xfe", b"\xfe\xff")
_FOREIGN = {
    b"PARE": "an encrypted Parquet file. Send it without encryption.",
    b"\xd0\xcf\x11\xe0": "an old Excel workbook. Save the sheet as CSV (UTF-8) first.",
    b"SQLite format 3": "an SQLite database. Export the event table as CSV first.",
    b"%PDF": "a PDF. Export the log as CSV, XES or Parquet.",
    b"7z\xbc\xaf\x27\x1c": "a 7z archive. Pack the log with zip or gzip.",
    b"\x28\xb5\x2f\xfd": "a zstd archive. Pack the log with zip or gzip.",
    b"BZh": "a bzip2 archive. Pack the log with zip or gzip.",
}


def detect(path: Path, limits: Limits) -> Format:
    """The format of the file, looking through gzip and zip.

    Raises:
        UnreadableFile: The file is empty or of a kind that is not read here.
    """
    with open_expanded(path, limits) as stream:
        head = stream.read(4096)
    if not head:
        raise UnreadableFile(f"{path.name} is empty.")
    if head.startswith(b"PAR1"):
        return "parquet"
    for magic, what in _FOREIGN.items():
        if head.startswith(magic):
            raise UnreadableFile(f"{path.name} is {what}")
    return "xes" if _is_xml(head) else "csv"


def _is_xml(head: bytes) -> bool:
    for bom in _BOMS:
        head = head.removeprefix(bom)
    # UTF-16 puts a NUL beside every ASCII character.
    return head.replace(b"\x00", b"").lstrip().startswith(b"<")
