"""Which addresses are public, however they are written, and that a named host is let through."""

import socket
from typing import Any

import pytest

from orchestration.addresses import InternalAddress, allowed_address, is_public


@pytest.mark.parametrize(
    "address",
    [
        *("127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.0.1", "169.254.169.254", "100.64.0.1", "0.0.0.0"),
        *("224.0.0.1", "255.255.255.255", "::1", "::", "fe80::1%eth0", "fc00::1", "ff02::1"),
        *("::ffff:127.0.0.1", "::ffff:169.254.169.254", "64:ff9b::7f00:1", "2002:7f00:1::"),
        *("::127.0.0.1", "::ffff:0:7f00:1", "64:ff9b:1::a00:1", "::5efe:7f00:1", "fec0::1", "5f00::1"),
    ],
)
def test_addresses_inside(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize("address", ["93.184.216.34", "2606:2800:220:1::1", "64:ff9b::5db8:d822"])
def test_addresses_outside(address: str) -> None:
    assert is_public(address)


def test_a_host_inside_is_refused_unless_it_is_named() -> None:
    with pytest.raises(InternalAddress, match="localhost"):
        allowed_address("localhost", 5432, [])
    assert allowed_address("localhost", 5432, ["localhost"]) in ("127.0.0.1", "::1")


@pytest.mark.parametrize(
    "host",
    [
        *("2130706433", "0177.0.0.1", "017700000001", "0x7f000001", "0x7f.1", "127.1", "0", "LOCALHOST"),
        *(
            "::ffff:127.0.0.1",
            "::FFFF:7f00:1",
            "0:0:0:0:0:ffff:7f00:1",
            "fe80::1%lo",
            "127。0。0。1",
            "①②⑦.0.0.1",
        ),
    ],
)
def test_a_host_inside_is_refused_however_it_is_written(host: str) -> None:
    with pytest.raises(InternalAddress):
        allowed_address(host, 443, ["localhost", "127.0.0.1", "::1"])


def test_a_name_is_public_only_if_all_its_addresses_are(monkeypatch: pytest.MonkeyPatch) -> None:
    answers(
        monkeypatch, ["93.184.216.34", "10.0.0.1"], ["::1", "93.184.216.34"], ["93.184.216.34", "1.1.1.1"]
    )
    for _ in range(2):
        with pytest.raises(InternalAddress):
            allowed_address("rebound.test", 443, [])
    assert allowed_address("rebound.test", 443, []) == "93.184.216.34"


def test_another_writing_of_a_named_host_is_not_named(monkeypatch: pytest.MonkeyPatch) -> None:
    answers(monkeypatch, ["127.0.0.1"])
    with pytest.raises(InternalAddress):
        allowed_address("localhost.", 443, ["localhost"])


@pytest.mark.parametrize("host", ["a..b", ".a", "a" * 64])
def test_what_is_no_name_has_no_address(host: str) -> None:
    with pytest.raises(OSError, match="No name is written so"):
        allowed_address(host, 443, [])


def answers(monkeypatch: pytest.MonkeyPatch, *resolved: list[str]) -> None:
    """Names resolve to these addresses, one list after the other."""
    left = iter(resolved)

    def getaddrinfo(_host: str, port: int, **_: Any) -> list[Any]:
        return [(0, socket.SOCK_STREAM, 0, "", (address, port)) for address in next(left)]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
