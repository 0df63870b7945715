"""TCP ports for the embedded services."""

import random
import socket
import sys

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


_claims: dict[int, socket.socket] = {}


def claim(port: int, host: str = LOOPBACK) -> bool:
    """Take a port for a server that is about to be started; False if a program holds it, or another process claimed it.

    Between the choice of a port and the first moment that a server listens on it, two installations that start together
    would both find it free. A claim lasts as long as this process. It is known to Linux alone.
    """
    if sys.platform == "linux" and port not in _claims:
        # A name outside the file system, which the kernel gives to one socket at a time.
        mark = socket.socket(socket.AF_UNIX)
        try:
            mark.bind(f"\0casetrail-port-{port}")
        except OSError:
            mark.close()
            return False
        _claims[port] = mark
    return is_free(port, host)


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
