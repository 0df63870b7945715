"""Where a webhook may go: an https address on the public internet, or a host that the operator has named.

A tenant chooses the URL and this installation calls it, so it must not become a way to the machines behind it. The
address that was judged is the one that is connected to: a name is resolved once.
"""

import ipaddress
import socket
from collections.abc import Collection
from dataclasses import dataclass
from urllib.parse import urlsplit

from orchestration.control_plane.errors import InvalidInput


class TargetRefused(InvalidInput):
    """The installation does not call this address."""


@dataclass(frozen=True)
class Target:
    """A webhook's URL in parts; ``host`` is a name or an address without brackets."""

    scheme: str
    host: str
    port: int
    path: str

    @property
    def shown(self) -> str:
        """The URL without its path, which often is a secret."""
        return f"{self.scheme}://{_bracketed(self.host)}:{self.port}/…"


def parse_target(url: str, internal_hosts: Collection[str]) -> Target:
    """Take a URL apart. Only ``internal_hosts`` may be called without TLS.

    Raises:
        TargetRefused: it is no such URL. The message does not repeat it.
    """
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port = None, None
    if not host or any(c.isspace() or not c.isprintable() for c in url):
        raise TargetRefused("This is no URL of a webhook: use https://HOST/PATH.")
    if parts.username or parts.password:
        raise TargetRefused("A webhook's URL has no user and password in it: messages are signed instead.")
    if parts.scheme != "https" and not (parts.scheme == "http" and host in internal_hosts):
        raise TargetRefused("A webhook needs an https:// address.")
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return Target(parts.scheme, host, port or (443 if parts.scheme == "https" else 80), path)


def resolve(target: Target, internal_hosts: Collection[str]) -> str:
    """The address to connect to.

    Raises:
        TargetRefused: one of the name's addresses is not public, and the operator has not named the host.
        OSError: the name has no address.
    """
    found = socket.getaddrinfo(target.host, target.port, type=socket.SOCK_STREAM)
    addresses = [str(entry[4][0]) for entry in found]
    if target.host not in internal_hosts and not all(is_public(address) for address in addresses):
        raise TargetRefused(
            f"{target.host} is an internal address. The operator can allow it with "
            "CASETRAIL_NOTIFY_INTERNAL_HOSTS."
        )
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
    return ip.is_global and not ip.is_multicast


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


_NAT64 = ipaddress.ip_network("64:ff9b::/96")
