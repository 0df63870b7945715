"""Weak link keys: a value that two records of one person share, kept only as a keyed hash.

An address is compared without case and surrounding space, and not otherwise changed: dots and ``+tag`` mean something
to some hosts. Addresses that stand for a role, a machine or nothing link nobody.
"""

import hmac
import unicodedata
from collections import Counter

import numpy as np
import pyarrow as pa

_NAMES_OF_ROLES = """
abuse accounting accounts admin administrator all billing careers ceo contact customerservice facturation feedback
finance hello help helpdesk hi hostmaster hr info information invoice invoices it jobs kontakt kundenservice legal
mail marketing media news newsletter office order orders payroll postmaster press privacy purchasing rechnung
recruiting root sales security service spam staff subscribe support team tech unsubscribe ventas vertrieb webmaster
welcome
"""
ROLE_ADDRESSES = frozenset(_NAMES_OF_ROLES.split())
"""Local parts that several people read."""

_MACHINES = ("noreply", "donotreply", "mailerdaemon", "bounce", "nobody")
_NAMES_OF_NOBODY = "none na null unknown test testing example noemail nomail email abc asdf xxx dummy fake"
_PLACEHOLDERS = frozenset(_NAMES_OF_NOBODY.split())
_EXAMPLE_DOMAINS = (
    "example.com",
    "example.org",
    "example.net",
    "test.com",
    "none.com",
    "noemail.com",
    "email.com",
)
_EXAMPLE_ENDINGS = (".invalid", ".test", ".example", ".localhost")

_VERSION = b"casetrail-email-1"


def email_keys(
    addresses: pa.Array, secret: bytes, blocked: frozenset[str] = frozenset()
) -> tuple[pa.Array, Counter[str]]:
    """The link key of each address, null where it links nobody.

    Args:
        addresses: Text; nulls stay null.
        secret: The workspace's key, at least 32 bytes: without it no one can try addresses against the hashes, and
            the same address in two workspaces has two hashes.
        blocked: Further addresses or local parts that link nobody, in lower case.

    Returns:
        HMAC-SHA256 in hex, and how many addresses were left out, by reason: ``malformed``, ``role``, ``machine``,
        ``placeholder``, ``blocked``.

    Raises:
        ValueError: ``secret`` is too short to protect the addresses.
    """
    if len(secret) < 32:
        raise ValueError(
            "the secret of link keys needs at least 32 bytes: make one with secrets.token_bytes(32)"
        )
    keys: list[str | None] = []
    refused: Counter[str] = Counter()
    # Most addresses of a log come again and again.
    distinct = addresses.dictionary_encode()
    times = np.bincount(distinct.indices.drop_null(), minlength=len(distinct.dictionary))
    for address, count in zip(distinct.dictionary.to_pylist(), times.tolist(), strict=True):
        normal = unicodedata.normalize("NFKC", address).strip().lower()
        reason = _refusal(normal, blocked) if normal else "empty"
        keys.append(None if reason else hmac.digest(secret, _VERSION + normal.encode(), "sha256").hex())
        if reason and normal:
            refused[reason] += count
    return pa.array(keys, pa.string()).take(distinct.indices), refused


def _refusal(address: str, blocked: frozenset[str]) -> str | None:
    """Why an address links nobody; None if it links."""
    local, at, domain = address.rpartition("@")
    if not (at and local) or "@" in local or "." not in domain.strip(".") or len(address.split()) != 1:
        return "malformed"
    plain = "".join(c for c in local.partition("+")[0] if c.isalnum())
    if address in blocked or local in blocked:
        return "blocked"
    if domain in _EXAMPLE_DOMAINS or domain.endswith(_EXAMPLE_ENDINGS) or plain in _PLACEHOLDERS:
        return "placeholder"
    if plain.startswith(_MACHINES):
        return "machine"
    return "role" if plain in ROLE_ADDRESSES else None
