"""What can become of a personal column, and which parts of an event are left when it has."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Literal

import pyarrow as pa

Personal = Literal["keep", "drop", "pseudonym", "email"]
"""What becomes of a personal field before anything of it is stored: ``pseudonym`` is a keyed hash of the workspace's
own, ``email`` one that links the records of one person (null for the address of a role, which links nobody)."""

Hashing = Callable[[pa.Array, Personal], tuple[pa.Array, Counter[str]]]
"""Texts hashed by a rule, and how many were left out, by reason."""

_NEEDED_AS_IT_IS = ("timestamp", "start_timestamp", "order")
_NEEDED_IN_EVERY_RECORD = ("case_id", "record_key")


def spoilt_part(parts: Iterable[tuple[str, str]], rules: Mapping[str, Personal]) -> str | None:
    """Why events cannot be made of what the rules leave of their (part, column); None if they can."""
    for part, column in parts:
        rule = rules.get(column)
        if rule is not None and not _leaves_usable(rule, part):
            return (
                f"personal says {rule} of the column {column}, which events need as their {part}: "
                f"take another column for it, or set personal to {_usable(part)} there."
            )
    return None


def _leaves_usable(rule: Personal, part: str) -> bool:
    if rule == "email":
        # It is null in many a record.
        return part not in (*_NEEDED_AS_IT_IS, *_NEEDED_IN_EVERY_RECORD)
    return rule == "pseudonym" and part not in _NEEDED_AS_IT_IS


def _usable(part: str) -> str:
    return "keep" if part in _NEEDED_AS_IT_IS else "pseudonym or keep"
