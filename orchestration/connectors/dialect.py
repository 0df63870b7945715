"""How a delimited text file is laid out: its delimiter and its header, from the file's beginning.

Never skips lines until something parses: the first line that is not blank is the header, save a ``sep=``
line.
"""

import csv
import io
import re
from collections.abc import Iterator
from dataclasses import dataclass

from orchestration.connectors.errors import UnreadableFile

SAMPLE_BYTES = 1 << 20
_CANDIDATES = (",", ";", "\t", "|")
_SAMPLE_RECORDS = 1000
_DATE = re.compile(r"\d{4}-\d\d?-\d\d?|\d\d?[./]\d\d?[./]\d{4}")


@dataclass(frozen=True)
class Dialect:
    """The layout of a delimited text file.

    Attributes:
        delimiter: The one character between fields.
        header: The header's cells as they are.
        data_offset: Bytes before the first data record, in the clean UTF-8 text.
        first_data_line: 1-based number of the line that the data starts on.
        line_end: The byte that ends a line: line feed, or carriage return in a file without line feeds.
    """

    delimiter: str
    header: tuple[str, ...]
    data_offset: int
    first_data_line: int
    line_end: bytes


def read_dialect(sample: bytes, delimiter: str | None, *, complete: bool) -> Dialect:
    """The dialect of a file that starts with ``sample``; ``complete`` if the sample is the whole file.

    Raises:
        UnreadableFile: There is no header, or no delimiter makes columns of the file.
    """
    text = sample.decode("utf-8", "ignore")  # strictly decoded before; only the cut can split a character
    line_end = "\n" if "\n" in text else "\r"
    first, _, rest = text.partition(line_end)
    prefix, lines = 0, 0
    if re.fullmatch(r"sep=.\r?", first, re.IGNORECASE):
        delimiter = delimiter or first[4]
        prefix, lines, text = len((first + line_end).encode()), 1, rest
    delimiter = delimiter or _best_delimiter(text, complete)
    header, consumed = next(_records(text, delimiter), ([], ""))
    if not header:
        raise UnreadableFile("The file has no header. Its first line must name the columns.")
    for cell in header:
        if _DATE.match(cell.strip()):
            raise UnreadableFile(
                f"The first line holds the date {cell!r}, so it is data and no header. "
                "Add a first line that names the columns."
            )
    return Dialect(
        delimiter=delimiter,
        header=tuple(header),
        data_offset=prefix + len(consumed.encode()),
        first_data_line=1 + lines + consumed.count(line_end),
        line_end=line_end.encode(),
    )


def _best_delimiter(text: str, complete: bool) -> str:
    """The candidate under which most records have as many fields as the header, more fields winning ties."""
    scores = {}
    for position, candidate in enumerate(_CANDIDATES):
        widths = [len(record) for record, _ in _records(text, candidate)]
        if not complete and len(widths) > 1:
            widths.pop()  # the sample may end inside its last record
        if widths and widths[0] > 1:
            agreement = sum(width == widths[0] for width in widths) / len(widths)
            scores[candidate] = (round(agreement, 2), widths[0], -position)
    if not scores:
        raise UnreadableFile("None of , ; tab | separates columns in the first line. Give --delimiter.")
    return max(scores, key=lambda candidate: scores[candidate])


def _records(text: str, delimiter: str) -> Iterator[tuple[list[str], str]]:
    """The first records that are not blank, each with all the text consumed since the one before."""
    consumed: list[str] = []

    def lines() -> Iterator[str]:
        for line in io.StringIO(text, newline=""):
            consumed.append(line)
            yield line

    try:
        reader = csv.reader(lines(), delimiter=delimiter)
        count = 0
        for record in reader:
            if record:
                yield record, "".join(consumed)
                consumed.clear()
                count += 1
            if count == _SAMPLE_RECORDS:
                return
    except csv.Error:
        return  # what cannot be parsed is found, with its line, when the whole file is read
