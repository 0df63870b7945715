"""Where a webhook may go: an https address on the public internet, or a host that the operator has named.

Which addresses are public, ``orchestration.addresses`` says.
"""

from collections.abc import Collection
from dataclasses import dataclass
from urllib.parse import urlsplit

from orchestration.addresses import InternalAddress, allowed_address
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
    try:
        return allowed_address(target.host, target.port, internal_hosts)
    except InternalAddress as error:
        raise TargetRefused(
            f"{error} The operator can allow it with CASETRAIL_NOTIFY_INTERNAL_HOSTS."
        ) from None


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host
