import socket

from orchestration.services.ports import LOOPBACK, choose_ports, is_free


def test_a_listening_port_is_not_free() -> None:
    with socket.create_server((LOOPBACK, 0)) as server:
        port = server.getsockname()[1]
        assert not is_free(port)
    assert is_free(port)


def test_chosen_ports_are_distinct_and_free() -> None:
    ports = choose_ports(8)
    assert len(set(ports)) == 8
    assert all(map(is_free, ports))
