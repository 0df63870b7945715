"""Amazon SNS as the carrier of S3's events: who signed a message, and the answer to a new subscription.

The topic must sign with SignatureVersion 2 (SHA-256); version 1 rests on SHA-1 and is refused.
"""

import base64
import re
from collections.abc import Callable, Collection, Mapping
from functools import lru_cache
from urllib.parse import urlsplit

import httpx
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.hashes import SHA256

Message = Mapping[str, str]
Fetch = Callable[[str], bytes]

_SIGNED = {
    "Notification": ("Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type"),
    "SubscriptionConfirmation": (
        "Message",
        "MessageId",
        "SubscribeURL",
        "Timestamp",
        "Token",
        "TopicArn",
        "Type",
    ),
}
_HOST = re.compile(r"sns\.[a-z0-9-]+\.amazonaws\.com(\.cn)?")


class NotFromTopic(ValueError):
    """The message is not one that a topic of ours has signed."""


def fetch(url: str) -> bytes:
    """The content of a URL of SNS. Follows no redirect, which could lead elsewhere."""
    answer = httpx.get(url, timeout=10, follow_redirects=False)
    return answer.raise_for_status().content


def verify(message: Message, topics: Collection[str], fetch: Fetch) -> None:
    """Accept a message that one of the topics has signed.

    Raises:
        NotFromTopic: it is of another topic or kind, or the signature is not SNS'.
    """
    signed = _SIGNED.get(message.get("Type", ""))
    if signed is None or message.get("TopicArn") not in topics:
        raise NotFromTopic("not a message of a topic that CASETRAIL_FEED_TOPICS names")
    if message.get("SignatureVersion") != "2":
        raise NotFromTopic("the topic signs with SHA-1: set its attribute SignatureVersion to 2")
    text = "".join(f"{name}\n{message[name]}\n" for name in signed if name in message)
    key = _public_key(_of_sns(message.get("SigningCertURL", "")), fetch)
    try:
        key.verify(
            base64.b64decode(message.get("Signature", "")), text.encode(), padding.PKCS1v15(), SHA256()
        )
    except (InvalidSignature, ValueError):
        raise NotFromTopic("the signature is not that of SNS") from None


def confirm(message: Message, fetch: Fetch) -> None:
    """Answer a verified SubscriptionConfirmation, so that the topic begins to send."""
    fetch(_of_sns(message["SubscribeURL"]))


def _of_sns(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme != "https" or not _HOST.fullmatch(parts.netloc):
        raise NotFromTopic(f"{parts.netloc or 'an empty address'} is not a host of SNS")
    return url


@lru_cache(maxsize=16)
def _public_key(url: str, fetch: Fetch) -> rsa.RSAPublicKey:
    key = x509.load_pem_x509_certificate(fetch(url)).public_key()
    if not isinstance(key, rsa.RSAPublicKey):
        raise NotFromTopic("the certificate of the signature holds no RSA key")
    return key
