"""What a refusal of Marketo means: nearly every answer has status 200, and the code in its body tells.

Code 1029 has two meanings, so that its message counts too.
"""

from datetime import UTC, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from orchestration.sources.errors import ConfigurationError, QuotaExhausted, SourceError, TransientError

CENTRAL = ZoneInfo("America/Chicago")
"""Quotas begin anew at midnight there."""

QUEUE_SECONDS = 120.0
"""After which a full queue of exports is tried again."""

_RATE, _CONCURRENCY = "606", "615"
_DAILY_CALLS, _EXPORTS = "607", "1029"
_INVALID_TOKEN, _EXPIRED_TOKEN = ("600", "601"), "602"
_ACCESS_DENIED = "603"
_PASSING = ("502", "604", "608", "611", "713")
"""A gateway or a part of Marketo that is out of order, or did not answer in time."""

UNSUPPORTED_FILTER, NO_SUCH_EXPORT, NOT_THERE = "1035", "1013", "1006"


class Refused(ConfigurationError):
    """A refusal that does not go away by itself.

    Attributes:
        code: Marketo's.
    """

    def __init__(self, code: str, message: str) -> None:
        """``message`` is for people."""
        super().__init__(message)
        self.code = code


class TokenRefused(Exception):
    """The access token is none, or not any more: a new one helps.

    Attributes:
        final: What it is if it does not.
    """

    def __init__(self, final: SourceError) -> None:
        """``final`` is for people."""
        super().__init__(str(final))
        self.final = final


class TooFast(TransientError):
    """Too many calls in 20 seconds, or at once, of all applications together: ``retry_after`` is short."""


def next_midnight(now: datetime) -> datetime:
    """When quotas begin anew (UTC)."""
    tomorrow = now.astimezone(CENTRAL).date() + timedelta(days=1)
    return datetime.combine(tomorrow, time(), CENTRAL).astimezone(UTC)


def refusal(document: Any, now: datetime) -> SourceError | TokenRefused:
    """What an answer without success means. ``now`` is Marketo's time."""
    errors = document.get("errors") if isinstance(document, dict) else None
    if not errors:
        return TransientError("Marketo's answer tells neither of success nor of an error.")
    code, message = str(errors[0].get("code")), str(errors[0].get("message"))
    told = f"Marketo says: {message} ({code})."
    if code in _INVALID_TOKEN:
        return TokenRefused(Refused(code, f"{told} Do url and credentials belong to one subscription?"))
    if code == _EXPIRED_TOKEN:
        return TokenRefused(TransientError(told, retry_after=5))
    if code == _DAILY_CALLS or (code == _EXPORTS and "quota" in message.lower()):
        return QuotaExhausted(told, next_midnight(now))
    if code == _RATE:
        return TooFast(told, retry_after=20)
    if code == _CONCURRENCY:
        return TooFast(told, retry_after=5)
    if code == _EXPORTS:
        return TransientError(told, retry_after=QUEUE_SECONDS)
    if code in _PASSING:
        return TransientError(told)
    if code == _ACCESS_DENIED:
        return Refused(
            code,
            f"{told} Give the role of the API-only user the permission, and its allowed addresses this machine.",
        )
    return Refused(code, told)
