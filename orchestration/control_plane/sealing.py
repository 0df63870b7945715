"""Secrets at rest: AES-256-GCM, bound to the row that they belong to, under a key of the installation.

A sealed value is a version byte, the id of its key (8 bytes), the nonce (12 bytes) and the ciphertext with its tag. An
installation has one key, or several while they are exchanged: the first seals, all of them open. Not here: where values
are kept.
"""

import os
from collections.abc import Sequence

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from pydantic import SecretStr

from orchestration.control_plane.errors import ControlPlaneError

Keys = Sequence[SecretStr]
"""The keys of an installation, the one that seals first; none: it cannot keep secrets."""

_VERSION, _VERSION_WITHOUT_ID = b"\x02", b"\x01"
_ID_BYTES, _NONCE_BYTES = 8, 12


class NoSecretKey(ControlPlaneError):
    """The installation has no key to seal secrets with."""


class SealBroken(ControlPlaneError):
    """A sealed value was made with another key, for another row, or was changed."""


def seal(keys: Keys, place: str, secret: str) -> bytes:
    """Encrypt a secret for one place, such as ``notification_secrets/WORKSPACE/CHANNEL``; it opens nowhere else.

    Raises:
        NoSecretKey: the installation has no key.
    """
    _require_key(keys)
    head, nonce = _head(keys[0]), os.urandom(_NONCE_BYTES)
    return head + nonce + _cipher(keys[0]).encrypt(nonce, secret.encode(), head + place.encode())


def unseal(keys: Keys, place: str, sealed: bytes) -> SecretStr:
    """The secret that was sealed for this place, with any of the keys.

    Raises:
        NoSecretKey: the installation has no key.
        SealBroken: it does not open.
    """
    _require_key(keys)
    for key in keys:
        # Values of before keys had ids open with whichever it was.
        head = _VERSION_WITHOUT_ID if sealed[:1] == _VERSION_WITHOUT_ID else _head(key)
        bound = place.encode() if head == _VERSION_WITHOUT_ID else head + place.encode()
        if sealed.startswith(head):
            nonce, text = sealed[len(head) : len(head) + _NONCE_BYTES], sealed[len(head) + _NONCE_BYTES :]
            try:
                return SecretStr(_cipher(key).decrypt(nonce, text, bound).decode())
            except (InvalidTag, ValueError):
                continue
    raise SealBroken(
        "A stored secret cannot be opened: CASETRAIL_SECRET_KEY is not the one that it was sealed with. "
        "Set the old key again (CASETRAIL_OLD_SECRET_KEYS), or enter the secret anew."
    )


def is_current(keys: Keys, sealed: bytes) -> bool:
    """Whether a value was sealed with the first key. It need not open.

    Raises:
        NoSecretKey: the installation has no key.
    """
    _require_key(keys)
    return sealed.startswith(_head(keys[0]))


def _require_key(keys: Keys) -> None:
    if not keys:
        raise NoSecretKey(
            "There is no key for stored secrets: run `casetrail up`, or set CASETRAIL_SECRET_KEY."
        )


def _head(key: SecretStr) -> bytes:
    return _VERSION + _derived(key, b"casetrail key id 1", _ID_BYTES)


def _cipher(key: SecretStr) -> AESGCM:
    return AESGCM(_derived(key, b"casetrail sealed secrets 1", 32))


def _derived(key: SecretStr, purpose: bytes, length: int) -> bytes:
    derive = HKDF(algorithm=SHA256(), length=length, salt=None, info=purpose)
    return derive.derive(key.get_secret_value().encode())
