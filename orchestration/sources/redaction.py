"""Keeping secrets out of what is written down: log records and exceptions of whatever touches a source.

A source's own messages and those of libraries can repeat what they were given, so that text is searched for every
secret in hand, and for the forms in which one travels.
"""

import base64
import html
import json
import logging
import traceback
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import quote, quote_plus

from pydantic import SecretStr

MASK = "[secret]"
_SHORTEST = 4
"""Shorter ones occur in any text; masking them would make it unreadable and tell where they are."""


class Redactor:
    """Takes the secrets that it knows out of text."""

    def __init__(self, secrets: Iterable[SecretStr] = ()) -> None:
        """Begin with these."""
        self._forms: set[str] = set()
        for secret in secrets:
            self.add(secret)

    def add(self, secret: SecretStr) -> None:
        """Another secret, such as a token that a source has given."""
        value = secret.get_secret_value()
        forms = {
            value,
            quote(value),
            quote(value, safe=""),
            quote_plus(value),
            json.dumps(value)[1:-1],
            repr(value)[1:-1],
        }
        forms |= {line.strip() for line in value.splitlines()}  # of a private key
        forms |= {*_in_html(value), *_in_html(json.dumps(value)[1:-1])}
        forms |= {value.encode().hex(), value.encode().hex().upper(), *_in_base64(value.encode())}
        self._forms |= {form for form in forms if len(form) >= _SHORTEST}

    def redact(self, text: str) -> str:
        """The text without the secrets."""
        for form in sorted(self._forms, key=len, reverse=True):
            text = text.replace(form, MASK)
        return text

    def trace(self, error: BaseException) -> str:
        """The traceback of an error, without the secrets."""
        return self.redact("".join(traceback.format_exception(error)))


def _in_html(value: str) -> set[str]:
    """How a value looks in a page of HTML; each language has its own way with quotation marks."""
    escaped = html.escape(value)
    found = {html.escape(value, quote=False)}
    for double in ("&quot;", "&#34;"):
        for single in ("&#x27;", "&#39;", "&apos;"):
            found.add(escaped.replace("&quot;", double).replace("&#x27;", single))
    return found


def _in_base64(value: bytes) -> set[str]:
    """How a value looks in base64, wherever it begins: behind a user's name, as HTTP's Basic authentication has it.

    Characters that it shares with its neighbours are left out.
    """
    found = set()
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        found.add(encode(value).decode())
        for before in range(3):
            shared, whole = (0, 2, 3)[before], (before + len(value)) * 8 // 6
            found.add(encode(bytes(before) + value).decode()[shared:whole])
    return found


@contextmanager
def redacted_logs(redactor: Redactor) -> Iterator[None]:
    """Every log record that this process makes meanwhile, by whatever logger, is made without the secrets."""
    make = logging.getLogRecordFactory()

    def redacted(*args: Any, **kwargs: Any) -> logging.LogRecord:
        record = make(*args, **kwargs)
        record.msg, record.args = redactor.redact(record.getMessage()), None
        if record.exc_info and record.exc_info[1] is not None:
            record.exc_text = redactor.trace(record.exc_info[1])
            record.exc_info = None
        return record

    logging.setLogRecordFactory(redacted)
    try:
        yield
    finally:
        logging.setLogRecordFactory(make)
