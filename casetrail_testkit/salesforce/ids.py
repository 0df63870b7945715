"""Record ids: 15 characters in which case matters, and 3 more that say which of them are upper case."""

import string

_CHECK_CHARACTERS = string.ascii_uppercase + "012345"
_DIGITS = string.digits + string.ascii_uppercase + string.ascii_lowercase
_INSTANCE = "Ct0000"


def with_suffix(record_id: str) -> str:
    """The 18-character form of a 15-character id; anything else as it is.

    Each group of five characters gives one character, whose bits, the lowest first, are its upper-case letters.
    """
    if len(record_id) != 15:
        return record_id
    groups = (record_id[start : start + 5] for start in (0, 5, 10))
    return record_id + "".join(
        _CHECK_CHARACTERS[sum(1 << place for place, letter in enumerate(group) if letter.isupper())]
        for group in groups
    )


def number_of(record_id: str) -> int:
    """The number that an id was made of; 0 for ids that others made."""
    if len(record_id) != 18 or record_id[3:9] != _INSTANCE:
        return 0
    number = 0
    for digit in record_id[9:15]:
        number = number * len(_DIGITS) + _DIGITS.index(digit)
    return number


def record_id(key_prefix: str, number: int) -> str:
    """The 18-character id of record ``number`` of the object with this prefix (3 characters). Ids sort by number.

    Raises:
        ValueError: If there are more records than ids.
    """
    digits = ""
    for _ in range(15 - len(key_prefix) - len(_INSTANCE)):
        number, digit = divmod(number, len(_DIGITS))
        digits = _DIGITS[digit] + digits
    if number:
        raise ValueError("too many records for the ids of one object")
    return with_suffix(key_prefix + _INSTANCE + digits)
