"""Which addresses are public, however they are written, and that a named host is let through."""

import pytest

from orchestration.addresses import InternalAddress, allowed_address, is_public


@pytest.mark.parametrize(
    "address",
    [
        *("127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.0.1", "169.254.169.254", "100.64.0.1", "0.0.0.0"),
        *("224.0.0.1", "255.255.255.255", "::1", "::", "fe80::1%eth0", "fc00::1", "ff02::1"),
        *("::ffff:127.0.0.1", "::ffff:169.254.169.254", "64:ff9b::7f00:1", "2002:7f00:1::"),
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
