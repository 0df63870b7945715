"""The rows of one answer as bytes on disk, with the place of each: pages are served without making them again."""

import csv
import hashlib
import tempfile
from array import array
from collections.abc import Iterable, Sequence
from itertools import chain
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
        self._header = b""

    def __len__(self) -> int:
        """How many rows."""
        return len(self._starts)

    @property
    def size(self) -> int:
        """Bytes of the whole file."""
        return self._size

    def write_lines(self, lines: Iterable[bytes]) -> None:
        """Append one row a line."""
        with self.path.open("ab", CHUNK_BYTES) as file:
            for line in lines:
                self._starts.append(self._size)
                self._size += file.write(line)

    def write_csv(
        self, header: Sequence[str], rows: Iterable[Sequence[Any]], *, line_ending: str = "\n", **dialect: Any
    ) -> None:
        """Write header and rows as CSV (UTF-8). ``dialect`` is what ``csv.writer`` takes."""
        starts, size, ending = self._starts, 0, line_ending.encode()
        with self.path.open("wb", CHUNK_BYTES) as file:
            write = file.write

            class _Lines:
                """Takes each line from the CSV writer, one call a row."""

                def write(self, line: str) -> None:
                    nonlocal size
                    starts.append(size)
                    size += write(line[:-2].encode() + ending)

            # With \r\n as its own line ending the writer quotes a lone CR or LF in a value, in every Python version.
            csv.writer(_Lines(), lineterminator="\r\n", **dialect).writerows(chain([header], rows))
        del starts[0]
        self._size = size
        with self.path.open("rb") as file:
            self._header = file.read(starts[0] if starts else size)

    def rows(self, first: int, count: int) -> FileSlice:
        """Rows ``first`` to ``first + count - 1`` (fewer at the end), after the header, if there is one."""
        last = min(first + count, len(self))
        start = self._starts[first] if first < len(self) else self._size
        end = self._starts[last] if last < len(self) else self._size
        return FileSlice(self.path, start, end - start, self._header)

    def sha256(self) -> str:
        """The checksum of the file in hexadecimal digits."""
        with self.path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()

    def remove(self) -> None:
        """Remove the file."""
        self.path.unlink(missing_ok=True)
