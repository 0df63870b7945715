"""Which addresses this installation connects to for a tenant: public ones, and hosts that the operator has named.

A tenant chooses the host and this installation connects, so it must not become a way to the machines behind it. The
address that was judged is the one to connect to: a name is resolved once.
"""

import ipaddress
import socket
from collections.abc import Collection


class InternalAddress(Exception):
    """The host has an address that is not public, and the operator has not named it."""


def allowed_address(host: str, port: int, internal_hosts: Collection[str]) -> str:
    """The address to connect to for a host (name or address).

    Raises:
        InternalAddress: one of the name's addresses is not public, and the host is none of ``internal_hosts``.
        OSError: the name has no address.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except UnicodeError:
        # No name is written so: a part of it is empty or too long.
        raise socket.gaierror(socket.EAI_NONAME, "No name is written so") from None
    addresses = [str(entry[4][0]) for entry in found]
    if host not in internal_hosts and not all(is_public(address) for address in addresses):
        raise InternalAddress(f"{host} is an internal address.")
    return addresses[0]


def is_public(address: str) -> bool:
    """Whether an IP address is one of the public internet, whichever way it is written."""
    ip = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address):
        # An IPv4 address inside an IPv6 one leads to the same machine.
        inner = ip.ipv4_mapped or ip.sixtofour or (ip.teredo and ip.teredo[1])
        if inner:
            return is_public(str(inner))
        if ip in _NAT64:
            return is_public(str(ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)))
        if ip not in _GLOBAL_UNICAST:
            return False
    return ip.is_global and not ip.is_multicast


_NAT64 = ipaddress.ip_network("64:ff9b::/96")

_GLOBAL_UNICAST = ipaddress.ip_network("2000::/3")
"""What IANA gives out. Of the rest ``is_global`` takes some for public: site-local, and IPv4 in other disguises."""
