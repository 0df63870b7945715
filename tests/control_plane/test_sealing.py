"""A sealed secret opens with its key, in its place, unchanged; and nowhere else."""

import pytest
from pydantic import SecretStr

from orchestration.control_plane.sealing import NoSecretKey, SealBroken, seal, unseal

KEY = SecretStr("k" * 32)


def test_a_secret_comes_back_and_no_two_seals_are_equal() -> None:
    first, second = seal(KEY, "place/1", "s3cret"), seal(KEY, "place/1", "s3cret")
    assert first != second
    assert b"s3cret" not in first
    assert unseal(KEY, "place/1", first).get_secret_value() == "s3cret"


def test_a_moved_changed_or_foreign_seal_does_not_open() -> None:
    sealed = seal(KEY, "place/1", "s3cret")
    flipped = [sealed[:i] + bytes([sealed[i] ^ 1]) + sealed[i + 1 :] for i in range(len(sealed))]
    for key, place, value in [
        (KEY, "place/2", sealed),
        (SecretStr("l" * 32), "place/1", sealed),
        (KEY, "place/1", b""),
        *((KEY, "place/1", changed) for changed in flipped),
    ]:
        with pytest.raises(SealBroken, match="CASETRAIL_SECRET_KEY"):
            unseal(key, place, value)


def test_without_a_key_nothing_is_sealed() -> None:
    with pytest.raises(NoSecretKey, match="casetrail up"):
        seal(None, "place/1", "s3cret")
