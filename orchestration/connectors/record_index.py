"""An independent count of the records of a delimited text file, and the line that each record starts on.

This is the control total that proves that the CSV parser lost nothing. It shares no code with the parser:
where quoting is regular it works on whole arrays of bytes, else the standard library's strict reader counts
again.
"""

import csv
from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from orchestration.connectors.errors import UnreadableFile

_LF, _CR, _QUOTE = 10, 13, 34

Positions = npt.NDArray[np.int64]


class RecordIndex:
    """Counts records while the bytes of a file stream past.

    Attributes:
        records: Complete records seen so far; blank lines are none.
        irregular: A quote was seen that neither opens nor closes a field, so that this count does not hold
            and ``recount`` must be used.
    """

    def __init__(self, delimiter: str, first_line: int, line_end: bytes) -> None:
        """Start at the first data record, which begins on the 1-based line ``first_line``."""
        self.records = 0
        self.irregular = False
        self._around_quotes = np.frombuffer(f'{delimiter}\r\n"'.encode(), dtype=np.uint8)
        self._line_end = line_end[0]
        self._line = first_line  # the line that the next byte lies on
        self._record_line = first_line  # the line that the record under way starts on
        self._open_length = 0  # bytes of the record under way
        self._in_quotes = False
        self._last_byte = _LF
        self._drift: list[tuple[Positions, Positions]] = []  # (record, line - record) where it changes
        self._last_drift: int | None = None

    def feed(self, chunk: bytes) -> None:
        """Take in the next bytes of the file."""
        if not chunk:
            return
        data = np.frombuffer(chunk, dtype=np.uint8)
        quotes = np.flatnonzero(data == _QUOTE)
        self._judge_quotes(data, quotes)
        ends = data == _LF
        if b"\r" in chunk:
            ends |= data == _CR
        ends_at = np.flatnonzero(ends)
        if quotes.size or self._in_quotes:
            quoted = (np.searchsorted(quotes, ends_at) + self._in_quotes) % 2 == 1
            ends_at = ends_at[~quoted]
        self._add(data, ends_at)
        self._in_quotes = bool((quotes.size + self._in_quotes) % 2)
        self._last_byte = int(data[-1])

    def finish(self) -> None:
        """The file ends here: so does its last record.

        Raises:
            UnreadableFile: A quoted field is still open.
        """
        if self.irregular:
            return
        if self._in_quotes:
            raise _unclosed(self._record_line)
        if self._open_length:
            self._note(np.array([self._record_line]))
            self._open_length = 0

    def recount(self, lines: Iterable[str], first_line: int, delimiter: str) -> None:
        """Count again, strictly and slowly, from the data's first line on.

        Raises:
            UnreadableFile: A quoted field is followed by something else than a delimiter, or never closed.
        """
        self.records, self._drift, self._last_drift = 0, [], None
        csv.field_size_limit(1 << 24)  # its default of 128 KB is less than a record may have
        reader = csv.reader(lines, delimiter=delimiter, strict=True)
        starts: list[int] = []
        line = 0
        try:
            for record in reader:
                if record:
                    starts.append(first_line + line)
                line = reader.line_num
                if len(starts) == 1 << 16:
                    self._note(np.array(starts))
                    starts.clear()
        except csv.Error as error:
            raise UnreadableFile(
                f"The record on line {first_line + line} has a quoted field that does not end where it "
                f"should ({error}). Write a quote inside a quoted field twice."
            ) from None
        if starts:
            self._note(np.array(starts))

    def lines_of(self, records: Positions) -> Positions:
        """The 1-based line that each of the 1-based record numbers starts on."""
        if not self._drift:
            return records
        changed = np.concatenate([record for record, _ in self._drift])
        drift = np.concatenate([value for _, value in self._drift])
        return np.asarray(
            records + drift[np.searchsorted(changed, records, side="right") - 1], dtype=np.int64
        )

    def _judge_quotes(self, data: npt.NDArray[np.uint8], quotes: Positions) -> None:
        """Set ``irregular`` unless every quote stands between a field and its delimiter, or doubled."""
        odd = (np.arange(quotes.size) + self._in_quotes) % 2 == 1  # these close a field
        openers, closers = quotes[~odd], quotes[odd]
        before = np.where(openers > 0, data[openers - 1], self._last_byte)
        after = data[closers[closers < data.size - 1] + 1]
        regular = bool(np.isin(np.concatenate([before, after]), self._around_quotes).all())
        if self._last_byte == _QUOTE and not self._in_quotes:  # the last chunk ended with a closing quote
            regular = regular and int(data[0]) in self._around_quotes
        self.irregular = self.irregular or not regular

    def _add(self, data: npt.NDArray[np.uint8], ends_at: Positions) -> None:
        """Add the records that end in this chunk at ``ends_at``."""
        lines_at = np.flatnonzero(data == self._line_end)
        if ends_at.size:
            starts = np.concatenate([[0], ends_at[:-1] + 1])
            lengths = ends_at - starts
            lengths[0] += self._open_length
            lines = self._line + np.searchsorted(lines_at, starts)
            lines[0] = self._record_line if self._open_length else lines[0]
            self._note(lines[lengths > 0])
            tail = int(ends_at[-1]) + 1
            self._open_length = data.size - tail
            self._record_line = self._line + int(np.searchsorted(lines_at, tail))
        else:
            if not self._open_length:
                self._record_line = self._line
            self._open_length += data.size
        self._line += lines_at.size

    def _note(self, lines: Positions) -> None:
        """Append records that start on these lines; only changes of (line - record) are kept."""
        if not lines.size:
            return
        numbers = np.arange(self.records + 1, self.records + 1 + lines.size, dtype=np.int64)
        drift = lines.astype(np.int64) - numbers
        changed = np.concatenate([[drift[0] != self._last_drift], drift[1:] != drift[:-1]])
        if changed.any():
            self._drift.append((numbers[changed], drift[changed]))
        self._last_drift = int(drift[-1])
        self.records += int(lines.size)


def _unclosed(line: int) -> UnreadableFile:
    return UnreadableFile(
        f"The record that starts on line {line} opens a quote that is never closed. Repair the line."
    )
