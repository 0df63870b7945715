"""No form of a secret gets through a redactor, a log record or a trace."""

import base64
import html
import json
import logging
from urllib.parse import quote_plus

import pytest
from pydantic import SecretStr

from orchestration.sources.redaction import MASK, Redactor, redacted_logs

SECRET = "pä55/w\"o'rd+<x y"
FORMS = [
    SECRET,
    quote_plus(SECRET),
    json.dumps(SECRET)[1:-1],
    html.escape(SECRET),
    html.escape(SECRET).replace("&quot;", "&#34;").replace("&#x27;", "&#39;"),
    html.escape(json.dumps(SECRET)[1:-1]),
    base64.b64encode(SECRET.encode()).decode(),
    SECRET.encode().hex(),
    SECRET.encode().hex().upper(),
]


@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_a_secret_is_masked(form: str) -> None:
    text = f"POST https://x/?a={form}&b=1"
    assert Redactor().redact(text) == text
    assert Redactor([SecretStr(SECRET)]).redact(text) == f"POST https://x/?a={MASK}&b=1"


@pytest.mark.parametrize("before", ["", "u", "us", "use"])
@pytest.mark.parametrize("behind", ["", "x", "xy", "xyz"])
def test_a_secret_among_others_in_base64_is_masked(before: str, behind: str) -> None:
    text = base64.b64encode(f"{before}:{SECRET}{behind}".encode()).decode()
    left = Redactor([SecretStr(SECRET)]).redact(f"Authorization: Basic {text}")
    kept = left.removeprefix("Authorization: Basic ")
    assert MASK in kept
    # What is left of it are the neighbours, and a character at each side that is partly theirs.
    assert len(kept) - len(MASK) <= len(base64.b64encode(f"{before}:{behind}".encode())) + 4


def test_a_secret_that_begins_with_another_leaves_nothing_of_it() -> None:
    redactor = Redactor([SecretStr("token"), SecretStr("token-2-rest")])
    assert redactor.redact("token-2-rest, token") == f"{MASK}, {MASK}"


def test_log_records_are_made_without_secrets_and_only_meanwhile(caplog: pytest.LogCaptureFixture) -> None:
    redactor, log = Redactor([SecretStr(SECRET)]), logging.getLogger("some.library")
    with caplog.at_level(logging.DEBUG), redacted_logs(redactor):
        log.debug("connecting with %s", SECRET)
        redactor.add(SecretStr("given-on-the-way"))
        try:
            raise ValueError(f"bad {SECRET} and given-on-the-way")
        except ValueError:
            log.exception("it broke")
    assert SECRET not in caplog.text
    assert "given-on-the-way" not in caplog.text
    assert f"ValueError: bad {MASK} and {MASK}" in caplog.text
    with caplog.at_level(logging.DEBUG):
        log.debug("afterwards %s", "as it is")
    assert caplog.records[-1].args == ("as it is",)
