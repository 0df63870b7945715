"""Refusals as Salesforce words them: a JSON array of errors, each with its code."""

from casetrail_testkit.messages import Refusal, json_response


def refuse(status: int, code: str, message: str) -> Refusal:
    """An API error."""
    return Refusal(json_response([{"message": message, "errorCode": code}], status))


def refuse_grant(error: str, description: str, status: int = 400) -> Refusal:
    """An OAuth error, which is an object and no array."""
    return Refusal(json_response({"error": error, "error_description": description}, status))
