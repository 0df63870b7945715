"""TCP ports for the embedded services."""

import random
import socket

LOOPBACK = "127.0.0.1"

# Below the range from which Linux takes the ports of outgoing connections, so that none of them sits on ours.
_FIRST, _LAST = 15000, 32000


def is_free(port: int, host: str = LOOPBACK) -> bool:
    """Tell whether a server could listen on the port now."""
    with socket.socket() as probe:
        # As servers do: a connection that lingers after its server's end does not occupy the port.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
        return True


def choose_ports(count: int) -> list[int]:
    """Choose distinct free ports, at random, so that two installations that start together rarely collide.

    Raises:
        RuntimeError: the machine has too few free ports.
    """
    candidates = random.sample(range(_FIRST, _LAST), _LAST - _FIRST)
    chosen: list[int] = []
    for port in candidates:
        if len(chosen) == count:
            return chosen
        if is_free(port):
            chosen.append(port)
    raise RuntimeError(f"Fewer than {count} free TCP ports between {_FIRST} and {_LAST}: stop some programs.")
