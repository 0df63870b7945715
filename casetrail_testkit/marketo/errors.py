"""Refusals as Marketo words them: status 200, and a code in the body."""

import secrets
from typing import Any

from casetrail_testkit.messages import Refusal, Response, json_response


def fail(code: str, message: str) -> Refusal:
    """An error in an answer with status 200."""
    errors = [{"code": code, "message": message}]
    return Refusal(json_response({"requestId": _request_id(), "success": False, "errors": errors}))


def success(**members: Any) -> Response:
    """An answer of a call that worked."""
    return json_response({"requestId": _request_id(), "success": True, **members})


def missing(parameter: str) -> Refusal:
    """A required parameter is not there."""
    return fail("1002", f"Missing value for the required parameter '{parameter}'")


def invalid(message: str) -> Refusal:
    """A value that makes no sense."""
    return fail("1003", message)


def _request_id() -> str:
    return f"{secrets.token_hex(2)}#{secrets.token_hex(6)[:11]}"
