"""What an org's refusals mean: who must act, and what a read can do about it.

An API error is a JSON array of ``{"errorCode", "message"}``, one of the token endpoint an object of ``error`` and
``error_description``.
"""

from datetime import datetime, timedelta
from json import loads

from orchestration.sources.errors import (
    ConfigurationError,
    QuotaExhausted,
    SourceError,
    TransientError,
)
from orchestration.sources.http import Answer

QUOTA_PAUSE = timedelta(hours=1)
"""Calls are counted over the last 24 hours, so that some come back each hour."""


class SessionEnded(TransientError):
    """The token is no longer taken: sign in again."""


class StreamRefused(ConfigurationError):
    """One object cannot be read; others can."""


class QueryTooLong(TransientError):
    """The query took too long: ask for a shorter window."""


class AddressTooLong(StreamRefused):
    """The query is too long for an address: ask in the body of a Bulk job."""


class BulkRefused(StreamRefused):
    """Bulk does not serve this query; REST may."""


class JobGone(TransientError):
    """A Bulk job is not there any more, or is of another API version: begin its window again."""


class TooManyIds(TransientError):
    """More deletes than an answer can hold: ask for a shorter window."""


_QUOTA_CODES = ("REQUEST_LIMIT_EXCEEDED", "LIMIT_EXCEEDED")
_TOO_LONG_CODES = ("QUERY_TIMEOUT", "QUERY_TOO_COMPLICATED")
_BUSY_CODES = ("SERVER_UNAVAILABLE", "UNABLE_TO_LOCK_ROW", "UNKNOWN_EXCEPTION", "INVALID_QUERY_LOCATOR")
_OBJECT_CODES = (
    "INVALID_TYPE",
    "INVALID_FIELD",
    "INSUFFICIENT_ACCESS",
    "INSUFFICIENT_ACCESS_OR_READONLY",
    "INVALID_TYPE_FOR_OPERATION",
    "NOT_FOUND",
)
_BULK_WORDS = ("not supported by the Bulk API", "not supported in Bulk", "does not support query")


def told(answer: Answer, now: datetime) -> SourceError:
    """The refusal of an API request as its kind. ``now`` is the org's time (UTC)."""
    codes, message = _codes(answer)
    if answer.status == 401 or "INVALID_SESSION_ID" in codes:
        return SessionEnded(f"Salesforce ended the session: {message}")
    if codes & {*_QUOTA_CODES}:
        # Too many at the same time is no matter of hours.
        if "Concurrent" in message:
            return TransientError(f"Salesforce is busy with other requests: {message}")
        return QuotaExhausted(f"The org's quota is used up: {message}", now + QUOTA_PAUSE)
    if answer.status in (414, 431):
        return AddressTooLong("The query has too many fields for an address.")
    if codes & {*_TOO_LONG_CODES}:
        return QueryTooLong(f"The query took too long: {message}")
    if "EXCEEDED_ID_LIMIT" in codes:
        return TooManyIds(message)
    if codes & {*_BUSY_CODES} or answer.status in (406, 429) or answer.status >= 500:
        return TransientError(f"Salesforce answered {answer.status}: {message}")
    return _refusal(answer.status, codes, message)


def told_of_new_job(answer: Answer, now: datetime) -> SourceError:
    """The refusal of a Bulk job."""
    refusal = told(answer, now)
    # The object can be read: that was tried before.
    return BulkRefused(str(refusal)) if isinstance(refusal, StreamRefused) else refusal


def told_of_job(answer: Answer, now: datetime) -> SourceError:
    """The refusal of a request that names a Bulk job."""
    if answer.status in (404, 409) or "INVALID_QUERY_LOCATOR" in _codes(answer)[0]:
        return JobGone(f"The Bulk job cannot be resumed: {_codes(answer)[1]}")
    return told(answer, now)


def told_of_grant(answer: Answer) -> SourceError:
    """The refusal of the token endpoint. Wrong credentials are not tried again: that would lock the user out."""
    try:
        document = loads(answer.body)
        error, message = str(document["error"]), str(document.get("error_description", ""))
    except (ValueError, KeyError, TypeError, AttributeError):
        return TransientError(f"Salesforce answered a sign-in with {answer.status}: {answer.shown}")
    if error in ("server_error", "temporarily_unavailable", "unknown_error") or "rate" in message.split():
        return TransientError(f"Salesforce lets nobody in for now: {error}, {message}")
    return ConfigurationError(
        f"Salesforce does not let the app in: {error}, {message}. Check url, client_id and its secret or key, and that "
        "the app's flow is enabled for its user."
    )


def _refusal(status: int, codes: set[str], message: str) -> SourceError:
    if status == 410 or "UNSUPPORTED_API_VERSION" in codes:
        return ConfigurationError(f"Salesforce has retired this API version: set api_version. {message}")
    if "TXN_SECURITY_METERING_ERROR" in codes:
        return ConfigurationError(
            f"A transaction security policy of the org stops the read: exempt the app's user from it. {message}"
        )
    if {"API_DISABLED_FOR_ORG", "API_CURRENTLY_DISABLED"} & codes:
        return ConfigurationError(f"The org's API is not enabled for this user: {message}")
    if "INVALIDENTITY" in codes or any(word in message for word in _BULK_WORDS):
        return BulkRefused(message)
    if "Implementation restriction" in message:
        return StreamRefused(f"{message} Give the app's user the permission View All Data.")
    if codes & {*_OBJECT_CODES} or status in (403, 404):
        return StreamRefused(f"{message} May the app's user read the object?")
    return ConfigurationError(f"Salesforce refuses ({status}): {message}")


def _codes(answer: Answer) -> tuple[set[str], str]:
    """Codes and messages of an answer; of one that is no array of errors, its beginning."""
    try:
        errors = loads(answer.body)
        codes = {str(error["errorCode"]) for error in errors}
        return codes, "; ".join(f"{error['errorCode']}: {error['message']}" for error in errors)
    except (ValueError, KeyError, TypeError):
        return set(), answer.shown or f"status {answer.status}"
