"""Values that are planted to be looked for: each has a part that occurs nowhere else, however the rest is written."""

import base64
import hashlib
import secrets
import string
from collections.abc import Iterable
from dataclasses import dataclass

_LETTERS = string.ascii_lowercase + string.digits
_PIECE = 12
"""So many characters of a part are enough to tell it: what is left of a value that was cut is found too."""


def random_part(letters: str = _LETTERS) -> str:
    """What occurs nowhere else."""
    return "".join(secrets.choice(letters) for _ in range(24))


@dataclass(frozen=True)
class Canary:
    """A planted value.

    Attributes:
        name: What it is.
        value: The whole of it, with characters that are escaped somewhere.
        part: The part of it that occurs nowhere else, of 12 characters at least.
    """

    name: str
    value: str
    part: str

    def forms(self) -> set[str]:
        """What tells that it is there, in lower case: pieces of its part as they are and encoded, and plain hashes."""
        found = set()
        end = len(self.part) - _PIECE
        for piece in {self.part[at : at + _PIECE] for at in (*range(0, end, _PIECE), end)}:
            raw = piece.encode()
            found |= {piece, raw.hex()}
            # In base64 a text has three looks, by where it begins; the characters at its ends are its neighbours' too.
            for before in range(3):
                for encode in (base64.b64encode, base64.urlsafe_b64encode):
                    found.add(encode(bytes(before) + raw).decode()[4 if before else 0 :][:12])
        for kind in ("sha256", "sha1", "md5"):
            found |= {
                hashlib.new(kind, text.encode()).hexdigest() for text in (self.value, self.value.lower())
            }
        return {form.lower() for form in found}


def secret(name: str) -> Canary:
    """A password or token."""
    part = random_part()
    return Canary(name, f'p"w/:@+ {part}%', part)


def address(name: str) -> Canary:
    """An e-mail address that links somebody."""
    part = random_part()
    return Canary(name, f"{part[0].upper()}{part[1:]}@acme.com", part)


def full_name(name: str) -> Canary:
    """A person's name."""
    part = random_part()
    return Canary(name, f"Ada O'{part}", part)


def phone(name: str) -> Canary:
    """A number."""
    part = random_part(string.digits)
    return Canary(name, f"+{part}", part)


@dataclass(frozen=True)
class Person:
    """Somebody with a name, an address and a number."""

    name: Canary
    address: Canary
    phone: Canary

    def canaries(self) -> tuple[Canary, ...]:
        """The three."""
        return self.name, self.address, self.phone


def person(label: str) -> Person:
    """Somebody who is nobody else."""
    return Person(full_name(f"name of {label}"), address(f"address of {label}"), phone(f"phone of {label}"))


def found_in(texts: Iterable[tuple[str, str]], canaries: Iterable[Canary]) -> list[str]:
    """Where a canary is, in any form: its name, the place, and what is around it."""
    needles = [(canary, form) for canary in canaries for form in canary.forms()]
    found = []
    for place, text in texts:
        lower = text.lower()
        for canary, form in needles:
            if (at := lower.find(form)) >= 0:
                found.append(f"{canary.name} in {place}: ...{text[max(0, at - 60) : at + 60]}...")
    return found
