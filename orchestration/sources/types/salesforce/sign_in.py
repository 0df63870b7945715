"""Signing in: client credentials, or a JWT that the app's private key signs. No passwords."""

import base64
import json
from collections.abc import Mapping
from datetime import datetime, timedelta

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from pydantic import SecretStr

from orchestration.sources.errors import ConfigurationError
from orchestration.sources.types.salesforce.config import Config

JWT_BEARER = "urn:ietf:params:oauth:grant-type:jwt-bearer"
_LIFE = timedelta(minutes=2)
"""Of an assertion; three minutes is the most that is taken."""


def grant_form(config: Config, now: datetime) -> dict[str, str]:
    """What the token endpoint is sent; all of it is secret. ``now`` is the org's time (UTC).

    Raises:
        ConfigurationError: ``private_key`` is no RSA key in PEM.
    """
    if config.client_secret is not None:
        return {
            "grant_type": "client_credentials",
            "client_id": config.client_id,
            "client_secret": config.client_secret.get_secret_value(),
        }
    assert config.private_key is not None, "the configuration has one of both"
    claims = {
        "iss": config.client_id,
        "sub": config.username,
        "aud": config.audience,
        "exp": int((now + _LIFE).timestamp()),
    }
    return {"grant_type": JWT_BEARER, "assertion": signed(claims, config.private_key)}


def signed(claims: Mapping[str, object], key: SecretStr) -> str:
    """A JWT (RS256).

    Raises:
        ConfigurationError: the key is no RSA key in PEM.
    """
    try:
        private = load_pem_private_key(key.get_secret_value().encode(), password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        private = None
    if not isinstance(private, rsa.RSAPrivateKey):
        raise ConfigurationError("private_key is no RSA key in PEM without a password.")
    content = b".".join(_packed(json.dumps(part).encode()) for part in ({"alg": "RS256"}, claims))
    return b".".join((content, _packed(private.sign(content, padding.PKCS1v15(), hashes.SHA256())))).decode()


def _packed(content: bytes) -> bytes:
    return base64.urlsafe_b64encode(content).rstrip(b"=")
