"""Secrets at rest: AES-256-GCM, bound to the row that they belong to, under the installation's key.

A sealed value is a version byte, the nonce (12 bytes) and the ciphertext with its tag. Not here: where values are kept.
"""

import os

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from pydantic import SecretStr

from orchestration.control_plane.errors import ControlPlaneError

_VERSION = b"\x01"
_NONCE_BYTES = 12


class NoSecretKey(ControlPlaneError):
    """The installation has no key to seal secrets with."""


class SealBroken(ControlPlaneError):
    """A sealed value was made with another key, for another row, or was changed."""


def seal(key: SecretStr | None, place: str, secret: str) -> bytes:
    """Encrypt a secret for one place, such as ``notification_secrets/WORKSPACE/CHANNEL``; it opens nowhere else.

    Raises:
        NoSecretKey: the installation has no key.
    """
    nonce = os.urandom(_NONCE_BYTES)
    return _VERSION + nonce + _cipher(key).encrypt(nonce, secret.encode(), place.encode())


def unseal(key: SecretStr | None, place: str, sealed: bytes) -> SecretStr:
    """The secret that was sealed for this place.

    Raises:
        NoSecretKey: the installation has no key.
        SealBroken: it does not open.
    """
    nonce, text = sealed[1 : 1 + _NONCE_BYTES], sealed[1 + _NONCE_BYTES :]
    try:
        if sealed[:1] != _VERSION:
            raise InvalidTag
        return SecretStr(_cipher(key).decrypt(nonce, text, place.encode()).decode())
    except (InvalidTag, ValueError):
        raise SealBroken(
            "A stored secret cannot be opened: CASETRAIL_SECRET_KEY is not the one that it was sealed with. "
            "Set the old key again, or enter the secret anew."
        ) from None


def _cipher(key: SecretStr | None) -> AESGCM:
    if key is None:
        raise NoSecretKey(
            "There is no key for stored secrets: run `casetrail up`, or set CASETRAIL_SECRET_KEY."
        )
    derive = HKDF(algorithm=SHA256(), length=32, salt=None, info=b"casetrail sealed secrets 1")
    return AESGCM(derive.derive(key.get_secret_value().encode()))
