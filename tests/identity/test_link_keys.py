"""Addresses link persons, not offices, and are not kept."""

import pyarrow as pa
import pytest

from orchestration.identity import email_keys

SECRET = b"0123456789abcdef0123456789abcdef"


def keys_of(*addresses: str | None, blocked: frozenset[str] = frozenset()) -> list[str | None]:
    return email_keys(pa.array(addresses, pa.string()), SECRET, blocked)[0].to_pylist()


def test_case_and_space_do_not_tell_two_people_apart() -> None:
    one, other = keys_of(" Ada.Lovelace@Acme.COM ", "ada.lovelace@acme.com")
    assert one == other is not None


@pytest.mark.parametrize(
    "other", ["adalovelace@acme.com", "ada.lovelace+x@acme.com", "ada.lovelace@acme.org"]
)
def test_addresses_that_may_be_two_peoples_are_two_keys(other: str) -> None:
    assert len(set(keys_of("ada.lovelace@acme.com", other))) == 2


def test_a_key_is_a_hash_that_needs_the_workspaces_secret() -> None:
    (key,) = keys_of("ada@acme.com")
    elsewhere = email_keys(pa.array(["ada@acme.com"]), SECRET[::-1])[0][0].as_py()
    assert key is not None
    assert len(key) == 64
    assert key != elsewhere


@pytest.mark.parametrize(
    ("address", "reason"),
    [
        ("info@acme.com", "role"),
        ("Customer-Service@acme.com", "role"),
        ("sales+emea@acme.com", "role"),
        ("no-reply@acme.com", "machine"),
        ("mailer-daemon@acme.com", "machine"),
        ("none@acme.com", "placeholder"),
        ("ada@example.com", "placeholder"),
        ("ada@acme.invalid", "placeholder"),
        ("ada", "malformed"),
        ("@acme.com", "malformed"),
        ("ada@acme", "malformed"),
        ("ada@b@acme.com", "malformed"),
        ("ada lovelace@acme.com", "malformed"),
        ("boss@acme.com", "blocked"),
        ("reception@acme.com", "blocked"),
    ],
)
def test_what_stands_for_no_one_person_links_nobody_and_is_counted(address: str, reason: str) -> None:
    blocked = frozenset(("boss@acme.com", "reception"))
    keys, refused = email_keys(pa.array([address, "ada@acme.com"]), SECRET, blocked)
    assert (keys[0].is_valid, keys[1].is_valid) == (False, True)
    assert refused == {reason: 1}


def test_nothing_links_nobody_and_is_no_refusal() -> None:
    keys, refused = email_keys(pa.array([None, "", "  "], pa.string()), SECRET)
    assert (keys.null_count, refused) == (3, {})


def test_a_short_secret_is_refused() -> None:
    with pytest.raises(ValueError, match="token_bytes"):
        email_keys(pa.array(["ada@acme.com"]), b"short")
