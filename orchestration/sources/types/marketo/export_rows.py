"""The records of an export's file: CSV as Marketo writes it, read as a stream, no record lost to what stands in it.

Lines end with a line feed. A carriage return that is no end of a line stands in values, quoted or not; a NUL means
nothing and is left out; an empty value is the word null.
"""

import csv
from collections.abc import Iterator
from pathlib import Path

LARGEST_VALUE = 1 << 24
"""The default of Python's reader, 128 KB, is less than a form may have."""

_NULL = "null"
_RETURN = "\udc0d"
"""Stands for a carriage return, which Python's reader takes for the end of a line. No text of UTF-8 has it."""

Row = list[str | None]


class NotAnExport(Exception):
    """The file is no CSV with a header, or a row has other columns than the header. The message is for people."""


def export_rows(path: Path) -> Iterator[Row]:
    """The header, and then each record.

    Raises:
        NotAnExport: see there.
    """
    csv.field_size_limit(LARGEST_VALUE)
    with path.open(encoding="utf-8-sig", errors="replace", newline="\n") as file:
        lines = _Lines(file)
        reader = csv.reader(lines)
        try:
            header = next(reader)
            ends_with_return = header[-1].endswith(_RETURN)
            yield [name.removesuffix(_RETURN) for name in header]
            for row in reader:
                if len(row) != len(header):
                    raise NotAnExport(
                        f"Line {reader.line_num} of an export has {len(row)} values for {len(header)} columns."
                    )
                if ends_with_return:
                    row[-1] = row[-1].removesuffix(_RETURN)
                if lines.have_returns:
                    row = [value.replace(_RETURN, "\r") for value in row]
                yield [None if value == _NULL else value for value in row]
        except StopIteration:
            raise NotAnExport("The file of an export is empty.") from None
        except csv.Error as error:
            raise NotAnExport(f"The file of an export is no CSV: {error}.") from None


class _Lines:
    """Lines as Python's reader takes them; ``have_returns`` once there was a carriage return."""

    def __init__(self, lines: Iterator[str]) -> None:
        self._lines, self.have_returns = lines, False

    def __iter__(self) -> Iterator[str]:
        for line in self._lines:
            if "\0" in line:
                line = line.replace("\0", "")
            if "\r" in line:
                self.have_returns = True
                line = line.replace("\r", _RETURN)
            yield line
