"""The progress line: on a terminal it is rewritten in place, elsewhere a line every few seconds."""

import sys
import time

QUIET_SECONDS = 10.0


class ProgressLine:
    """Tells on standard error what is being done, and for how long."""

    def __init__(self) -> None:
        """Nothing is printed before the first ``tell``."""
        self._terminal = sys.stderr.isatty()
        self._last = 0.0

    def tell(self, text: str) -> None:
        """Show the newest state."""
        now = time.monotonic()
        if self._terminal:
            sys.stderr.write(f"\r\x1b[K{text}")
            sys.stderr.flush()
        elif now - self._last >= QUIET_SECONDS:
            self._last = now
            sys.stderr.write(f"{text}\n")

    def done(self, text: str) -> None:
        """The final state, on a line of its own."""
        sys.stderr.write(f"\r\x1b[K{text}\n" if self._terminal else f"{text}\n")
