"""A sealed secret opens with its key, in its place, unchanged; and nowhere else."""

import os

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from pydantic import SecretStr

from orchestration.control_plane.sealing import NoSecretKey, SealBroken, is_current, seal, unseal

KEY, OTHER = SecretStr("k" * 32), SecretStr("l" * 32)


def opened(place: str, sealed: bytes, *keys: SecretStr) -> str:
    return unseal(keys, place, sealed).get_secret_value()


def test_a_secret_comes_back_and_no_two_seals_are_equal() -> None:
    first, second = seal([KEY], "place/1", "s3cret"), seal([KEY], "place/1", "s3cret")
    assert first != second
    assert b"s3cret" not in first
    assert opened("place/1", first, KEY) == "s3cret"


def test_a_moved_changed_or_foreign_seal_does_not_open() -> None:
    sealed = seal([KEY], "place/1", "s3cret")
    flipped = [sealed[:i] + bytes([sealed[i] ^ 1]) + sealed[i + 1 :] for i in range(len(sealed))]
    for keys, place, value in [
        ([KEY], "place/2", sealed),
        ([OTHER], "place/1", sealed),
        ([KEY], "place/1", b""),
        *(([KEY, OTHER], "place/1", changed) for changed in flipped),
    ]:
        with pytest.raises(SealBroken, match="CASETRAIL_SECRET_KEY"):
            unseal(keys, place, value)


def test_the_first_key_seals_and_all_of_them_open() -> None:
    old = seal([KEY], "place/1", "s3cret")
    new = seal([OTHER, KEY], "place/1", "s3cret")
    assert [opened("place/1", sealed, OTHER, KEY) for sealed in (old, new)] == ["s3cret", "s3cret"]
    assert opened("place/1", new, OTHER) == "s3cret"
    with pytest.raises(SealBroken):
        unseal([KEY], "place/1", new)
    assert [is_current([OTHER, KEY], sealed) for sealed in (old, new)] == [False, True]


def test_what_was_sealed_before_keys_had_ids_opens_and_is_not_current() -> None:
    derive = HKDF(algorithm=SHA256(), length=32, salt=None, info=b"casetrail sealed secrets 1")
    nonce = os.urandom(12)
    text = AESGCM(derive.derive(b"k" * 32)).encrypt(nonce, b"s3cret", b"place/1")
    sealed = b"\x01" + nonce + text
    assert opened("place/1", sealed, OTHER, KEY) == "s3cret"
    assert not is_current([KEY], sealed)
    with pytest.raises(SealBroken):
        unseal([OTHER], "place/1", sealed)


def test_without_a_key_nothing_is_sealed() -> None:
    with pytest.raises(NoSecretKey, match="casetrail up"):
        seal([], "place/1", "s3cret")
    with pytest.raises(NoSecretKey):
        unseal([], "place/1", b"")
