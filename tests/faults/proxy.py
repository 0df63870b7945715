"""A TCP proxy on a port of its own that passes everything on, until it is told to do worse."""

import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Literal

Ill = Literal["cut", "delay", "stall", "truncate", "refuse"]
ILLS: tuple[Ill, ...] = ("cut", "delay", "stall", "truncate", "refuse")

DELAY_SECONDS = 0.05
PASSED_BYTES = 100
"""So much of an answer still comes through before a truncated connection ends."""

_CHUNK = 64 * 1024


class Proxy:
    """Between clients and one server. ``target`` gives the server's port at each new connection: it may move."""

    def __init__(self, target: Callable[[], int]) -> None:
        """Listen at once, on the loopback."""
        self._target = target
        self._ill: Ill | None = None
        self._until = 0.0
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port = int(self._listener.getsockname()[1])
        threading.Thread(target=self._accept, daemon=True).start()

    def inflict(self, ill: Ill, seconds: float) -> None:
        """From now on, for so long: ``delay`` each piece, ``stall`` all, ``truncate`` answers, ``refuse`` newcomers.

        ``cut`` ends every connection there is, at once; the next ones are well.
        """
        if ill == "cut":
            self.cut()
            return
        self._ill, self._until = ill, time.monotonic() + seconds

    def cut(self) -> None:
        """End every connection, both ways."""
        with self._lock:
            ends = list(self._open)
        for end in ends:
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Listen no more and end what there is."""
        self._listener.close()
        self.cut()

    def _is(self, ill: Ill) -> bool:
        return self._ill == ill and time.monotonic() < self._until

    def _accept(self) -> None:
        while True:
            try:
                client, _address = self._listener.accept()
            except OSError:
                return
            if self._is("refuse"):
                client.close()
                continue
            threading.Thread(target=self._connect, args=(client,), daemon=True).start()

    def _connect(self, client: socket.socket) -> None:
        with client:
            try:
                server = socket.create_connection(("127.0.0.1", self._target()), timeout=5)
            except (OSError, ValueError):  # It is down, or its new address is just being written.
                return
            with server:
                self._pass_both_ways(client, server)

    def _pass_both_ways(self, client: socket.socket, server: socket.socket) -> None:
        ends = {client, server}
        with self._lock:
            self._open |= ends
        server.settimeout(None)
        with suppress(OSError):
            for end in ends:
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        back = threading.Thread(target=self._pass, args=(server, client, True), daemon=True)
        back.start()
        self._pass(client, server, False)
        back.join()
        with self._lock:
            self._open -= ends

    def _pass(self, source: socket.socket, sink: socket.socket, is_answer: bool) -> None:
        try:
            while piece := source.recv(_CHUNK):
                while self._is("stall"):
                    time.sleep(0.05)
                if self._is("delay"):
                    time.sleep(DELAY_SECONDS)
                if is_answer and self._is("truncate"):
                    sink.sendall(piece[:PASSED_BYTES])
                    break
                sink.sendall(piece)
        except OSError:
            pass
        # Both: half a connection is of no use to either side.
        for end in (source, sink):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
