"""The proxy does what it is told, and nothing when it is told nothing."""

import socket
import socketserver
import threading
import time
from collections.abc import Iterator

import pytest

from tests.faults.proxy import PASSED_BYTES, Proxy


class _Echo(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        while piece := self.request.recv(65536):
            self.request.sendall(piece)


@pytest.fixture
def proxy() -> Iterator[Proxy]:
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), _Echo) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        proxy = Proxy(lambda: int(server.server_address[1]))
        yield proxy
        proxy.close()
        server.shutdown()


def connected(proxy: Proxy) -> socket.socket:
    return socket.create_connection(("127.0.0.1", proxy.port), timeout=5)


def echo(client: socket.socket, text: bytes) -> bytes:
    """What comes back until it is all there or the connection ends."""
    client.sendall(text)
    answer = b""
    while len(answer) < len(text) and (piece := client.recv(65536)):
        answer += piece
    return answer


def is_turned_away(proxy: Proxy) -> bool:
    """Closed at once, or reset."""
    try:
        with connected(proxy) as client:
            return echo(client, b"a") == b""
    except OSError:
        return True


def test_what_is_well_passes_unchanged(proxy: Proxy) -> None:
    text = bytes(range(256)) * 4000
    with connected(proxy) as client:
        assert echo(client, text) == text


def test_cut_ends_every_connection_and_the_next_is_well(proxy: Proxy) -> None:
    with connected(proxy) as client:
        assert echo(client, b"a") == b"a"
        proxy.inflict("cut", 0)
        assert client.recv(1) == b""
    with connected(proxy) as client:
        assert echo(client, b"a") == b"a"


def test_stall_and_delay_take_time_and_lose_nothing(proxy: Proxy) -> None:
    with connected(proxy) as client:
        for ill, least in (("stall", 0.4), ("delay", 0.1)):
            proxy.inflict(ill, 0.5)  # type: ignore[arg-type]
            began = time.monotonic()
            assert echo(client, b"abc") == b"abc"
            assert time.monotonic() - began > least


def test_truncate_gives_a_part_of_the_answer(proxy: Proxy) -> None:
    with connected(proxy) as client:
        proxy.inflict("truncate", 5)
        assert echo(client, b"x" * 1000) == b"x" * PASSED_BYTES


def test_refuse_turns_newcomers_away_and_leaves_the_others(proxy: Proxy) -> None:
    with connected(proxy) as old:
        assert echo(old, b"a") == b"a"
        proxy.inflict("refuse", 5)
        assert is_turned_away(proxy)
        assert echo(old, b"a") == b"a"
