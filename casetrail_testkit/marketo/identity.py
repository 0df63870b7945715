"""The identity endpoint. A token is the same until it dies, and the answer says how long that is."""

import secrets
from datetime import datetime, timedelta

from casetrail_testkit.clock import Clock
from casetrail_testkit.marketo.errors import fail
from casetrail_testkit.marketo.limits import API_USER
from casetrail_testkit.messages import Request, Response, json_response

TOKEN_PATH = "/identity/oauth/token"


class Identity:
    """Who may call, and with which token; ``lifetime`` is that of a token in seconds."""

    def __init__(self, clock: Clock) -> None:
        """Credentials of their own for each server."""
        self.clock = clock
        self.client_id, self.client_secret = secrets.token_hex(18), secrets.token_urlsafe(24)
        self.lifetime = 3_600.0
        self._token = ""
        self._ends: dict[str, datetime] = {}

    def expire(self) -> None:
        """Let all tokens die now."""
        self._ends = dict.fromkeys(self._ends, self.clock.now())

    def token(self, request: Request) -> Response:
        """Answer the token endpoint, GET or POST."""
        asked = {**request.query, **request.form}
        if asked.get("grant_type") != "client_credentials":
            error = {
                "error": "unsupported_grant_type",
                "error_description": "grant_type must be client_credentials",
            }
            return json_response(error, 400)
        given = (asked.get("client_id", ""), asked.get("client_secret", ""))
        if given != (self.client_id, self.client_secret):
            error = {"error": "invalid_client", "error_description": "Bad client credentials"}
            return json_response(error, 401)
        left = self._seconds_left(self._token)
        if left < 1:
            self._token, left = f"{secrets.token_hex(16)}:ct", self.lifetime
            self._ends[self._token] = self.clock.now() + timedelta(seconds=left)
        granted = {
            "access_token": self._token,
            "token_type": "bearer",
            "expires_in": int(left),
            "scope": API_USER,
        }
        return json_response(granted)

    def require(self, request: Request) -> None:
        """Let pass who has a token in the header; the query parameter is not taken any more.

        Raises:
            Refusal: 600, 601 or 602.
        """
        token = request.bearer
        if token is None:
            raise fail("600", "Access token not specified")
        if token not in self._ends:
            raise fail("601", "Access token invalid")
        if self._seconds_left(token) <= 0:
            raise fail("602", "Access token expired")

    def _seconds_left(self, token: str) -> float:
        return (self._ends[token] - self.clock.now()).total_seconds() if token in self._ends else 0.0
