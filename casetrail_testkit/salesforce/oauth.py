"""The token endpoint: client credentials, and the JWT bearer flow with a signature that is really verified."""

import base64
import binascii
import hashlib
import hmac
import json
import secrets
from datetime import datetime, timedelta
from functools import cached_property
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from casetrail_testkit.clock import Clock
from casetrail_testkit.messages import Request, Response, json_response
from casetrail_testkit.salesforce.errors import refuse, refuse_grant

TOKEN_PATH = "/services/oauth2/token"
JWT_BEARER = "urn:ietf:params:oauth:grant-type:jwt-bearer"
LONGEST_ASSERTION = timedelta(minutes=3)
ORG_ID = "00DCt0000000001MAA"
USER_ID = "005Ct0000000001IAA"


class Sessions:
    """Who may log in, and the tokens that were given out.

    Attributes:
        lifetime: Seconds that a session lives, used or not.
        pre_authorized: False: the user has not approved the app, which refuses every JWT.
    """

    def __init__(self, clock: Clock, url: str) -> None:
        """Credentials of their own for each server."""
        self.clock, self.url = clock, url
        self.consumer_key = "3MVG9" + secrets.token_urlsafe(40)
        self.consumer_secret = secrets.token_hex(32).upper()
        self.username = "integration@casetrail.example"
        self.lifetime = 7_200.0
        self.pre_authorized = True
        self._ends: dict[str, datetime] = {}

    @cached_property
    def _key(self) -> rsa.RSAPrivateKey:
        return rsa.generate_private_key(public_exponent=65537, key_size=2048)

    @property
    def private_key(self) -> str:
        """The key (PEM, PKCS 8) whose certificate the app trusts; a client signs its assertions with it."""
        pem = self._key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        return pem.decode()

    def expire(self) -> None:
        """End all sessions."""
        self._ends.clear()

    def require(self, request: Request) -> None:
        """Let pass who has a session.

        Raises:
            Refusal: 401 INVALID_SESSION_ID.
        """
        end = self._ends.get(request.bearer or "")
        if end is None or end <= self.clock.now():
            raise refuse(401, "INVALID_SESSION_ID", "Session expired or invalid")

    def token(self, request: Request) -> Response:
        """Answer the token endpoint."""
        form = request.form
        match form.get("grant_type"):
            case "client_credentials":
                self._check_client(request, form)
            case grant if grant == JWT_BEARER:
                self._check_assertion(form.get("assertion", ""))
            case _:
                raise refuse_grant("unsupported_grant_type", "grant type not supported")
        token = f"{ORG_ID[:15]}!{secrets.token_urlsafe(72)}"
        self._ends[token] = self.clock.now() + timedelta(seconds=self.lifetime)
        return json_response(self._granted(token))

    def _granted(self, token: str) -> dict[str, str]:
        issued = str(int(self.clock.now().timestamp() * 1000))
        identity = f"{self.url}/id/{ORG_ID}/{USER_ID}"
        signed = hmac.new(
            self.consumer_secret.encode(), (identity + issued).encode(), hashlib.sha256
        ).digest()
        return {
            "access_token": token,
            "signature": base64.b64encode(signed).decode(),
            "scope": "api",
            "instance_url": self.url,
            "id": identity,
            "token_type": "Bearer",
            "issued_at": issued,
        }

    def _check_client(self, request: Request, form: dict[str, str]) -> None:
        key, secret = _basic(request) or (form.get("client_id", ""), form.get("client_secret", ""))
        if not hmac.compare_digest(key.encode(), self.consumer_key.encode()):
            raise refuse_grant("invalid_client_id", "client identifier invalid")
        if not hmac.compare_digest(secret.encode(), self.consumer_secret.encode()):
            raise refuse_grant("invalid_client", "invalid client credentials", 401)

    def _check_assertion(self, assertion: str) -> None:
        header, claims = self._verified(assertion)
        if header.get("alg") != "RS256":
            raise refuse_grant("invalid_grant", "invalid assertion: the algorithm must be RS256")
        if claims.get("iss") != self.consumer_key:
            raise refuse_grant("invalid_client_id", "client identifier invalid")
        if claims.get("aud") not in (self.url, "https://login.salesforce.com", "https://test.salesforce.com"):
            raise refuse_grant("invalid_grant", "audience is invalid")
        now, expires = self.clock.now().timestamp(), claims.get("exp")
        if (
            not isinstance(expires, int | float)
            or not now < expires <= now + LONGEST_ASSERTION.total_seconds()
        ):
            raise refuse_grant("invalid_grant", "assertion has expired, or would expire too late")
        if claims.get("sub") != self.username or not self.pre_authorized:
            raise refuse_grant("invalid_grant", "user hasn't approved this consumer")

    def _verified(self, assertion: str) -> tuple[dict[str, Any], dict[str, Any]]:
        """Header and claims of a JWT that the app's key signed.

        Raises:
            Refusal: invalid_grant.
        """
        try:
            header, claims, signature = assertion.split(".")
            self._key.public_key().verify(
                _unpacked(signature), f"{header}.{claims}".encode(), padding.PKCS1v15(), hashes.SHA256()
            )
            return json.loads(_unpacked(header)), json.loads(_unpacked(claims))
        except (ValueError, InvalidSignature) as error:
            raise refuse_grant("invalid_grant", "invalid assertion") from error


def _basic(request: Request) -> tuple[str, str] | None:
    scheme, _, packed = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        key, _, secret = base64.b64decode(packed, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError) as error:
        raise refuse_grant("invalid_request", "the Authorization header cannot be read") from error
    return key, secret


def _unpacked(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
