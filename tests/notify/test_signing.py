"""Signatures of webhooks: the specification's own example, and what a receiver can tell from them."""

import base64
import hashlib
import hmac

from orchestration.notify.signing import new_signing_key, signed_headers


def test_a_receiver_who_follows_the_specification_gets_the_same_signature() -> None:
    key = new_signing_key()
    headers = signed_headers(key, "msg_1", 1_700_000_000, b'{"a": 1}')
    secret = base64.b64decode(key.split("_", 1)[1])
    expected = hmac.new(secret, b'msg_1.1700000000.{"a": 1}', hashlib.sha256).digest()
    assert headers == {
        "webhook-id": "msg_1",
        "webhook-timestamp": "1700000000",
        "webhook-signature": "v1," + base64.b64encode(expected).decode(),
    }
    assert len(secret) == 32


def test_every_part_of_the_message_is_signed() -> None:
    key = new_signing_key()
    messages = [("a", 1, b"x"), ("b", 1, b"x"), ("a", 2, b"x"), ("a", 1, b"y")]
    signatures = {signed_headers(key, *message)["webhook-signature"] for message in messages}
    signatures.add(signed_headers(new_signing_key(), *messages[0])["webhook-signature"])
    assert len(signatures) == 5
