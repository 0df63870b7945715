"""The rows of one answer as bytes on disk, with the place of each: pages are served without making them again."""

import csv
import hashlib
import tempfile
from array import array
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from casetrail_testkit.messages import CHUNK_BYTES, FileSlice


class ResultFile:
    """Rows that were written once and are read by their numbers; 8 bytes of memory a row."""

    def __init__(self, folder: Path) -> None:
        """An empty file in ``folder``, which the server removes at its end."""
        with tempfile.NamedTemporaryFile(dir=folder, delete=False) as file:
            self.path = Path(file.name)
        self._starts = array("Q")
        self._size = 0
        self.header = b""

    def __len__(self) -> int:
        """How many rows."""
        return len(self._starts)

    @property
    def size(self) -> int:
        """Bytes of header and rows together."""
        return len(self.header) + self._size

    def write_lines(self, lines: Iterable[bytes]) -> None:
        """Append one row a line."""
        with self.path.open("ab", CHUNK_BYTES) as file:
            for line in lines:
                self._starts.append(self._size)
                self._size += file.write(line)

    def write_csv(self, header: Sequence[str], rows: Iterable[Sequence[Any]], **dialect: Any) -> None:
        """Write rows as CSV (UTF-8). ``dialect`` is what ``csv.writer`` takes; ``line_ending`` ends each line."""
        line_ending = dialect.pop("line_ending", "\n").encode()
        starts, size = self._starts, self._size
        with self.path.open("ab", CHUNK_BYTES) as file:
            write = file.write

            class _Lines:
                """Takes each line from the CSV writer, one call a row."""

                def write(self, line: str) -> None:
                    nonlocal size
                    starts.append(size)
                    size += write(line[:-2].encode() + line_ending)

            # With \r\n as its own line ending the writer quotes a lone CR or LF in a value, in every Python version.
            csv.writer(_Lines(), lineterminator="\r\n", **dialect).writerows(rows)
        self._size = size
        self.header = _line(header, dialect) + line_ending

    def rows(self, first: int, count: int) -> FileSlice:
        """Rows ``first`` to ``first + count - 1`` (fewer at the end), after the header."""
        last = min(first + count, len(self))
        start = self._starts[first] if first < len(self) else self._size
        end = self._starts[last] if last < len(self) else self._size
        return FileSlice(self.path, start, max(end - start, 0), self.header)

    def put_header_into_file(self) -> None:
        """Make header and rows one file, for vendors that serve files by byte ranges."""
        if not self.header:
            return
        whole = self.path.with_suffix(".csv")
        with whole.open("wb") as target:
            for chunk in FileSlice(self.path, 0, self._size, self.header).chunks():
                target.write(chunk)
        self.path.unlink()
        shift = len(self.header)
        self._starts = array("Q", (start + shift for start in self._starts))
        self.path, self._size, self.header = whole, self._size + shift, b""

    def sha256(self) -> str:
        """The checksum of the file in hexadecimal digits."""
        with self.path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()

    def remove(self) -> None:
        """Remove the file."""
        self.path.unlink(missing_ok=True)


def _line(values: Sequence[str], dialect: dict[str, Any]) -> bytes:
    lines: list[str] = []

    class _Line:
        def write(self, line: str) -> None:
            lines.append(line)

    csv.writer(_Line(), lineterminator="", **dialect).writerow(values)
    return lines[0].encode()
