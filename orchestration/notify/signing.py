"""Signatures of webhooks, in the form of the Standard Webhooks specification, which receivers have libraries for.

The key is 32 random bytes, written as ``whsec_`` and base64. Signed are the message's id, the time of the attempt in
Unix seconds, and the body, joined by full stops.
"""

import base64
import hashlib
import hmac
import secrets

_PREFIX = "whsec_"


def new_signing_key() -> str:
    """A key for one channel."""
    return _PREFIX + base64.b64encode(secrets.token_bytes(32)).decode()


def signed_headers(key: str, message_id: str, timestamp: int, body: bytes) -> dict[str, str]:
    """The three headers by which a receiver can tell that a message is ours, new, and whole."""
    secret = base64.b64decode(key.removeprefix(_PREFIX))
    content = f"{message_id}.{timestamp}.".encode() + body
    signature = base64.b64encode(hmac.digest(secret, content, hashlib.sha256)).decode()
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": f"v1,{signature}",
    }
