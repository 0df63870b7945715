import socket
import subprocess
import sys
from subprocess import PIPE

import pytest

from orchestration.services.ports import LOOPBACK, choose_ports, claim, is_free


def test_a_listening_port_is_not_free() -> None:
    with socket.create_server((LOOPBACK, 0)) as server:
        port = server.getsockname()[1]
        assert not is_free(port)
    assert is_free(port)


def test_chosen_ports_are_distinct_and_free() -> None:
    ports = choose_ports(8)
    assert len(set(ports)) == 8
    assert all(map(is_free, ports))


@pytest.mark.skipif(sys.platform != "linux", reason="ports are claimed on Linux alone")
def test_a_port_is_claimed_by_one_process_for_as_long_as_it_lives() -> None:
    (port,) = choose_ports(1)
    script = f"from orchestration.services.ports import claim; print(claim({port}), flush=True); input()"
    with subprocess.Popen([sys.executable, "-c", script], stdin=PIPE, stdout=PIPE, text=True) as other:
        assert other.stdout
        assert other.stdout.readline() == "True\n"
        assert is_free(port)
        assert not claim(port)
        other.communicate("\n")
    assert claim(port)
    assert claim(port)
    with socket.create_server((LOOPBACK, port)):
        assert not claim(port)
