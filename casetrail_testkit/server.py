"""What both servers share: real HTTP on a real port, the script of faults, the clock, a log of requests.

What belongs here: sockets, and what a fault does on the wire. What a vendor answers is in its own package.
"""

import contextlib
import html
import json
import re
import socket
import threading
import time
import traceback
import zlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from email.utils import format_datetime
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

from casetrail_testkit import admin
from casetrail_testkit.clock import Clock
from casetrail_testkit.faults import Fault, FaultScript
from casetrail_testkit.messages import Refusal, Request, Response
from casetrail_testkit.tables import Tables

LOOPBACK = "127.0.0.1"


@dataclass(frozen=True)
class Served:
    """One request that was answered, for tests that count calls. Status 0: the connection was dropped."""

    method: str
    target: str
    status: int


class VendorServer(ABC):
    """A vendor's system on a port of this machine.

    Use it as a context manager; ``url`` is its address. ``clock`` and ``faults`` steer it from the same process,
    ``/_testkit/...`` from any other.
    """

    def __init__(self, *, clock: Clock | None = None, port: int = 0) -> None:
        """Listen on ``port`` (0: a free one); requests are answered after ``start``.

        Raises:
            OSError: If the port is taken.
        """
        self.clock = clock or Clock()
        self.faults = FaultScript(lambda: self.effects)
        self.requests: list[Served] = []
        self.cpu_seconds = 0.0
        """Processor time of this server's own work, summed over requests; to be taken off a benchmark's."""
        self.failures: list[str] = []
        """Tracebacks of this server's own mistakes; a test that finds one has found a bug of the test server."""
        self._lock = threading.Lock()
        self._http = _HttpServer((LOOPBACK, port), self)
        self.url = f"http://{LOOPBACK}:{self._http.server_address[1]}"
        self._thread: threading.Thread | None = None

    @property
    @abstractmethod
    def tables(self) -> Tables:
        """Where the state is."""

    @property
    @abstractmethod
    def effects(self) -> dict[str, Callable[[], None]]:
        """What a fault or ``POST /_testkit/effects/NAME`` can make happen, by name."""

    @abstractmethod
    def answer(self, request: Request) -> Response:
        """What the vendor answers; may raise ``Refusal``."""

    @abstractmethod
    def change(self, change: dict[str, Any]) -> Any:
        """Apply a change of records that came as JSON to ``POST /_testkit/changes``; what it gives, such as an id.

        Raises:
            ValueError: If the change is not understood.
        """

    def start(self) -> Self:
        """Answer requests, in threads of this process."""
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()
        return self

    def stop(self) -> None:
        """Close the port and every connection, and remove the state."""
        if self._thread is not None:
            self._http.shutdown()
            self._thread.join()
        self._http.server_close()
        self._http.close_connections()
        self.tables.close()

    def __enter__(self) -> Self:
        """Start."""
        return self.start()

    def __exit__(self, *_: object) -> None:
        """Stop."""
        self.stop()

    def respond(self, request: Request, faults: list[Fault]) -> Response:
        """The answer to a request that ``faults`` hit, as the vendor or the script would have it."""
        for fault in faults:
            time.sleep(fault.delay_seconds)
            self.clock.advance(fault.advance_seconds)
            for effect in fault.effects:
                self.effects[effect]()
        scripted = next((fault for fault in faults if fault.status is not None), None)
        try:
            self.tables.settle()
            return _scripted(scripted, request.given) if scripted else self.answer(request)
        except Refusal as refusal:
            return refusal.response
        except Exception:
            self.failures.append(traceback.format_exc())
            return Response(500, {"Content-Type": "text/plain"}, self.failures[-1].encode())

    def add_cpu_seconds(self, seconds: float) -> None:
        """Count processor time as this server's own."""
        with self._lock:
            self.cpu_seconds += seconds


def _scripted(fault: Fault, given: Mapping[str, str]) -> Response:
    assert fault.status is not None, "only a fault with a status answers"
    if fault.json is not None:
        text, kind = json.dumps(fault.json), "application/json;charset=UTF-8"
        written = {name: json.dumps(value)[1:-1] for name, value in given.items()}
    else:
        text, kind = fault.text or "", "text/html;charset=UTF-8"
        written = {name: html.escape(value) for name, value in given.items()}
    body = re.sub(r"\{(\w+)\}", lambda found: written.get(found[1], found[0]), text)
    return Response(fault.status, {"Content-Type": kind, **fault.headers}, body.encode())


class _HttpServer(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, address: tuple[str, int], vendor: VendorServer) -> None:
        self.vendor = vendor
        self._connections: set[socket.socket] = set()
        super().__init__(address, _Handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        self._connections.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self._connections.discard(request)
        super().shutdown_request(request)

    def close_connections(self) -> None:
        """A kept-alive connection would otherwise be answered after the end."""
        for connection in list(self._connections):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:
        # A client that hangs up in mid-answer is what these servers are for.
        return


class _Handler(BaseHTTPRequestHandler):
    server: _HttpServer
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def _serve(self) -> None:
        began = time.thread_time()
        vendor = self.server.vendor
        size = int(self.headers.get("Content-Length") or 0)
        request = Request(self.command, self.path, self.headers, self.rfile.read(size))
        if request.path.startswith(admin.PREFIX):
            return self._send(admin.answer(vendor, request), [])
        faults = vendor.faults.due(request)
        response = vendor.respond(request, faults)
        dropped = any(fault.drop_after is not None for fault in faults)
        # Before it is sent: who has the answer in hand finds it in the log.
        vendor.requests.append(Served(request.method, request.target, 0 if dropped else response.status))
        self._send(response, faults)
        return vendor.add_cpu_seconds(time.thread_time() - began)

    do_GET = do_POST = do_DELETE = do_PATCH = do_PUT = do_HEAD = _serve

    def _send(self, response: Response, faults: list[Fault]) -> None:
        """Send an answer as its faults leave it."""
        drop = min((f.drop_after for f in faults if f.drop_after is not None), default=None)
        truncate = min((f.truncate_after for f in faults if f.truncate_after is not None), default=None)
        speed = min((f.bytes_per_second for f in faults if f.bytes_per_second is not None), default=None)
        body = response.chunks() if truncate is None else _first(response.chunks(), truncate)
        headers = {"Date": self.date_time_string(), **response.headers}
        if response.compressible and "gzip" in self.headers.get("Accept-Encoding", ""):
            headers |= {"Content-Encoding": "gzip", "Transfer-Encoding": "chunked"}
            body = _chunked(_gzipped(body))
        elif response.status != HTTPStatus.NO_CONTENT:
            length = len(response.body)
            headers["Content-Length"] = str(length if truncate is None else min(truncate, length))
        status = f"HTTP/1.1 {response.status} {_phrase(response.status)}"
        head = "\r\n".join([status, *(f"{name}: {value}" for name, value in headers.items()), "", ""])
        self._write(head.encode("latin-1"), () if self.command == "HEAD" else body, drop, speed)
        if drop is not None:
            self._hang_up()

    def _write(self, unsent: bytes, body: Iterable[bytes], drop: int | None, speed: int | None) -> None:
        """Send the head (``unsent``) with the body's start, and then the rest; ``drop`` bytes of it at most."""
        if drop == 0:
            return
        left = drop
        for chunk in body:
            part = chunk if left is None else chunk[:left]
            if speed:
                time.sleep(len(part) / speed)
            self.wfile.write(unsent + part)
            unsent = b""
            if left is not None:
                left -= len(part)
                if left <= 0:
                    return
        if unsent:
            self.wfile.write(unsent)

    def _hang_up(self) -> None:
        self.close_connection = True
        with contextlib.suppress(OSError):
            self.connection.shutdown(socket.SHUT_RDWR)

    def date_time_string(self, timestamp: float | None = None) -> str:
        """The Date header goes by the server's clock."""
        return format_datetime(self.server.vendor.clock.now(), usegmt=True)

    def log_message(self, format: str, *arguments: Any) -> None:
        # The log is `requests`.
        return


def _phrase(status: int) -> str:
    return HTTPStatus(status).phrase if status in set(HTTPStatus) else "Enhance Your Calm"  # 420 has no other


def _first(chunks: Iterable[bytes], count: int) -> Iterator[bytes]:
    for chunk in chunks:
        yield chunk[:count]
        count -= len(chunk)
        if count <= 0:
            return


def _gzipped(chunks: Iterable[bytes]) -> Iterator[bytes]:
    packer = zlib.compressobj(level=1, wbits=31)
    for chunk in chunks:
        if packed := packer.compress(chunk):
            yield packed
    yield packer.flush()


def _chunked(chunks: Iterable[bytes]) -> Iterator[bytes]:
    for chunk in chunks:
        yield b"%x\r\n%s\r\n" % (len(chunk), chunk)
    yield b"0\r\n\r\n"
