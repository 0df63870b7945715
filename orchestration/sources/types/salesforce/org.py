"""Requests to an org: signed in, again when the session ends, and within the share of its quota that is ours."""

import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import httpx
from pydantic import SecretStr

from orchestration.sources.errors import (
    ConfigurationError,
    QuotaExhausted,
    SourceError,
    TransientError,
)
from orchestration.sources.http import Answer, Download, SourceClient, answered_at
from orchestration.sources.protocol import Context
from orchestration.sources.types.salesforce.config import Config
from orchestration.sources.types.salesforce.errors import QUOTA_PAUSE, SessionEnded, told, told_of_grant
from orchestration.sources.types.salesforce.sign_in import grant_form

_VENDOR_DOMAINS = (".salesforce.com", ".force.com")
_USAGES = re.compile(r"api-usage=(\d+)/(\d+)")
"""In ``Sforce-Limit-Info``, for the org and, if it has an allowance of its own, for the app."""

Told = Callable[[Answer, datetime], SourceError]


class Org:
    """An org as the app's user sees it.

    Attributes:
        now: Its time (UTC), of the newest answer.
    """

    def __init__(self, client: SourceClient, config: Config, context: Context) -> None:
        """Nothing is asked yet."""
        self._client, self._config, self._context = client, config, context
        self._token: SecretStr | None = None
        self._instance = config.url
        self._usage: tuple[int, int] | None = None
        self.now = datetime.now(UTC)

    def get(self, resource: str, **parameters: str) -> Any:
        """The JSON of ``resource`` below the API's version; numbers are text.

        Raises what ``asked`` raises.
        """
        return self.json("GET", self.path(resource), params=parameters)

    def path(self, resource: str, version: str | None = None) -> str:
        """The path of a resource."""
        return f"/services/data/v{version or self._config.api_version}/{resource}"

    def json(self, method: str, path: str, told_as: Told = told, **content: Any) -> Any:
        """The JSON of an answer; numbers are text, as they were written.

        Raises what ``asked`` raises, and ``TransientError`` for what is no JSON.
        """
        with self.asked(method, path, told_as, **content) as download:
            answer = download.read()
        try:
            return json.loads(answer.body, parse_float=str, parse_int=str)
        except ValueError:
            raise TransientError(f"Salesforce answered with what is no JSON: {answer.shown}") from None

    @contextmanager
    def asked(self, method: str, path: str, told_as: Told = told, **content: Any) -> Iterator[Download]:
        """A request and its good answer. A session that has ended is renewed once.

        Raises:
            SourceError: the refusal, as ``told_as`` tells it.
            QuotaExhausted: enough of the org's calls is used.
        """
        self._stay_within_quota()
        if self._token is None:
            self._sign_in()
        try:
            with self._once(method, path, told_as, content) as download:
                yield download
                return
        except SessionEnded:
            self._sign_in()
        try:
            with self._once(method, path, told_as, content) as download:
                yield download
        except SessionEnded as error:
            raise ConfigurationError(
                f"{error} It had just begun: does the org admit this address, and the app's user?"
            ) from None

    @contextmanager
    def _once(self, method: str, path: str, told_as: Told, content: dict[str, Any]) -> Iterator[Download]:
        assert self._token is not None, "signed in before"
        headers = {"Authorization": f"Bearer {self._token.get_secret_value()}"}
        with self._client.stream(method, f"{self._instance}{path}", headers=headers, **content) as download:
            self._note(download.headers)
            if download.status >= 400:
                raise told_as(download.read(), self.now)
            yield download

    def _sign_in(self) -> None:
        """Get a token.

        Raises:
            ConfigurationError: the credentials are wrong, or the answer leads to a place that is not Salesforce's.
        """
        if self._config.private_key is not None:
            # An assertion is judged by the org's clock, which this list of API versions tells without a token.
            self._note(self._client.request("GET", f"{self._config.url}/services/data/").headers)
        form = grant_form(self._config, self.now)
        for secret in ("assertion", "client_secret"):
            self._context.redactor.add(SecretStr(form.get(secret, "")))
        answer = self._client.request("POST", f"{self._config.url}/services/oauth2/token", form=form)
        self._note(answer.headers)
        if answer.status != 200:
            raise told_of_grant(answer)
        granted = answer.json()
        if not isinstance(granted, dict) or not isinstance(granted.get("access_token"), str):
            raise TransientError("Salesforce answered a sign-in without a token.")
        self._token = SecretStr(granted["access_token"])
        self._context.redactor.add(self._token)
        self._instance = _instance(str(granted.get("instance_url")), self._config.url)

    def _note(self, headers: httpx.Headers) -> None:
        """Keep what an answer's head tells of time and quota."""
        self.now = answered_at(headers)
        found = [
            (int(used), int(most)) for used, most in _USAGES.findall(headers.get("Sforce-Limit-Info", ""))
        ]
        if found:
            self._usage = max(found, key=lambda usage: usage[0] / max(usage[1], 1))

    def _stay_within_quota(self) -> None:
        if self._usage is None:
            return
        used, most = self._usage
        if used * 100 >= most * self._config.quota_percent:
            raise QuotaExhausted(
                f"{used:,} of {most:,} calls of 24 hours are used, and quota_percent is {self._config.quota_percent}.",
                self.now + QUOTA_PAUSE,
            )


def _instance(told_url: str, configured: str) -> str:
    """Where the API is: at the configured host, or at another one of Salesforce's own.

    Raises:
        ConfigurationError: neither; a token would be sent to somebody else.
    """
    try:
        url = httpx.URL(told_url)
    except httpx.InvalidURL:
        url = httpx.URL("")
    base = f"{url.scheme}://{url.netloc.decode()}"
    if base == configured or (
        url.scheme == "https" and not url.userinfo and url.port is None and url.host.endswith(_VENDOR_DOMAINS)
    ):
        return base
    raise ConfigurationError(
        f"The sign-in leads to {url.host or 'no host'}, which is none of Salesforce: check url."
    )
