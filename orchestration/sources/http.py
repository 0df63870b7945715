"""HTTP to a tenant's source: to the address that was judged, over TLS, with limits, and without a secret in an error.

What belongs here: what every vendor's protocol has in common. What an answer means is its connector type's.
"""

import ssl
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from json import loads
from typing import Any, Self

import httpx

from orchestration.sources.errors import ConfigurationError, TransientError
from orchestration.sources.protocol import Context
from orchestration.sources.redaction import Redactor

CONNECT_SECONDS = 15.0
SILENCE_SECONDS = 120.0
"""A source that sends nothing for so long has failed."""

ANSWER_SECONDS = 600.0
"""For a whole answer that is held in memory: a source that answers byte by byte holds nobody up."""

ANSWER_BYTES = 64 * 1024 * 1024
"""The longest answer that is held in memory, unpacked."""

_SHOWN_CHARACTERS = 300
_BUSY = (408, 420, 429)
"""Statuses below 500 with which a source says: not now."""


@dataclass(frozen=True)
class Answer:
    """An answer that was read to its end."""

    status: int
    headers: httpx.Headers
    body: bytes
    redactor: Redactor

    @property
    def shown(self) -> str:
        """Its beginning, for a message, without secrets. Of what is no error and no page, only how much it is.

        That may be records with personal values, or a token that nobody has learnt yet.
        """
        kind = self.headers.get("Content-Type", "").lower() or "no type"
        if self.status < 400 and "html" not in kind:
            return f"{len(self.body):,} bytes of {kind}"
        # First the whole of it without secrets: one that is cut is not known again.
        text = self.redactor.redact(self.body.decode("utf-8", "replace"))
        return " ".join(text.split())[:_SHOWN_CHARACTERS]

    def json(self) -> Any:
        """The body as JSON.

        Raises:
            TransientError: it is none, such as a page of HTML that something on the way has sent.
        """
        try:
            return loads(self.body)
        except ValueError:
            raise TransientError(
                f"The source answered {self.status} with what is no JSON: {self.shown}"
            ) from None


class Download:
    """An answer whose body is read as it comes."""

    def __init__(self, response: httpx.Response, host: str, context: Context) -> None:
        """``host`` is who answers, as the configuration calls it."""
        self.status, self.headers = response.status_code, response.headers
        self._response, self._host, self._context = response, host, context

    def chunks(self) -> Iterator[bytes]:
        """The body, unpacked, in pieces.

        Raises:
            TransientError: it broke off.
        """
        with _told(self._host, self._context):
            yield from self._response.iter_bytes()

    def read(self) -> Answer:
        """The whole answer.

        Raises:
            TransientError: it broke off, has more than ``ANSWER_BYTES``, or does not end.
        """
        began, body = time.monotonic(), bytearray()
        for chunk in self.chunks():
            body += chunk
            if len(body) > ANSWER_BYTES:
                raise TransientError(f"{self._host} sent more than {ANSWER_BYTES:,} bytes in one answer.")
            if time.monotonic() - began > ANSWER_SECONDS:
                raise TransientError(f"An answer of {self._host} did not end in {ANSWER_SECONDS:.0f} s.")
        return Answer(self.status, self.headers, bytes(body), self._context.redactor)


class SourceClient:
    """Requests to the hosts of one source, with one connection or more to each. Use it as a context manager.

    A URL begins with https, or with http where the operator has named its host. Redirects are refused, and no proxy of
    the environment is used: it would resolve the name again.
    """

    def __init__(self, context: Context) -> None:
        """``context`` judges addresses and takes secrets out of messages."""
        self._context = context
        self._client = httpx.Client(
            transport=_JudgedTransport(context),
            timeout=httpx.Timeout(SILENCE_SECONDS, connect=CONNECT_SECONDS),
            headers={"User-Agent": "casetrail", "Accept-Encoding": "gzip"},
            trust_env=False,
            follow_redirects=False,
        )

    def __enter__(self) -> Self:
        """Connections are made when they are needed."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close them."""
        self._client.close()

    def request(self, method: str, url: str, **content: Any) -> Answer:
        """A request with an answer that is small; ``content`` as that of ``stream``.

        Raises:
            ConfigurationError, TransientError: as ``stream`` and ``Download.read``.
        """
        with self.stream(method, url, **content) as download:
            return download.read()

    @contextmanager
    def stream(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        params: Mapping[str, str] | None = None,
        json: Any = None,
        form: Mapping[str, str] | None = None,
    ) -> Iterator[Download]:
        """A request; its answer has a status that is neither a redirect's nor one of a source that is busy or broken.

        ``params`` are added to the URL, each value encoded; ``json`` or ``form`` is the body.

        Raises:
            ConfigurationError: the URL is none that may be spoken to, or leads elsewhere.
            TransientError: the source cannot be reached, is busy (429 and the like) or broken (500 and above).
        """
        with _told(url.partition("?")[0], self._context):
            request = self._client.build_request(
                method,
                url,
                headers=dict(headers or {}),
                params=dict(params) if params else None,
                json=json,
                data=dict(form) if form else None,
            )
        host = request.url.host
        # Sent outside of `_told`: what the caller raises inside is its own.
        with _told(host, self._context):
            response = self._client.send(request, stream=True)
        try:
            download = Download(response, host, self._context)
            with _told(host, self._context):
                _refuse_redirect(response, host)
            if response.status_code in _BUSY or response.status_code >= 500:
                shown = download.read().shown
                raise TransientError(
                    f"{host} answered {response.status_code}: {shown}", retry_after(response)
                )
            yield download
        finally:
            response.close()


class _JudgedTransport(httpx.BaseTransport):
    """Sends each request to the address that is allowed for its host, under the name of the host.

    A host has connections of its own: two that share an address do not share what TLS has proved of the one.
    """

    def __init__(self, context: Context) -> None:
        self._context = context
        self._of_host: dict[tuple[str, str], httpx.HTTPTransport] = {}

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        url, host = request.url, _ascii_host(request.url)
        self._require_encryption(url)
        port = url.port or (443 if url.scheme == "https" else 80)
        # The Host header was made of the URL before; the certificate is held against the same name.
        sent = httpx.Request(
            request.method,
            url.copy_with(host=self._context.address(host, port)),
            headers=request.headers,
            stream=request.stream,
            extensions={**request.extensions, "sni_hostname": host},
        )
        return self._transport(url).handle_request(sent)

    def _require_encryption(self, url: httpx.URL) -> None:
        if url.scheme not in ("https", "http") or not url.host or url.userinfo:
            raise ConfigurationError("The address of a source is https:// and a host, without a user.")
        if url.scheme == "http" and _ascii_host(url) not in self._context.internal_hosts:
            raise ConfigurationError(
                f"{url.host} is to be reached without encryption: use https, or ask the operator to name it in "
                "CASETRAIL_CONNECTOR_INTERNAL_HOSTS."
            )

    def _transport(self, url: httpx.URL) -> httpx.HTTPTransport:
        key = url.scheme, url.host
        if key not in self._of_host:
            # Plain HTTP needs no certificates, which take long to load.
            verify = ssl.create_default_context() if url.scheme == "https" else False
            self._of_host[key] = httpx.HTTPTransport(verify=verify, trust_env=False)
        return self._of_host[key]

    def close(self) -> None:
        for transport in self._of_host.values():
            transport.close()


def _ascii_host(url: httpx.URL) -> str:
    """The host as it goes over the wire: what resolves and encrypts would write another name for some Unicode ones."""
    return url.raw_host.decode("ascii")


def retry_after(response: httpx.Response) -> float | None:
    """The seconds that an answer asks to wait; None if it does not say."""
    asked = str(response.headers.get("Retry-After", "")).strip()
    if asked.isdigit():
        return float(asked)
    try:
        until = parsedate_to_datetime(asked)
    except ValueError:
        return None
    # A date without a zone is UTC.
    until = until.replace(tzinfo=until.tzinfo or UTC)
    return max((until - datetime.now(UTC)).total_seconds(), 0.0)


def answered_at(headers: httpx.Headers) -> datetime:
    """The source's own time (UTC) of an answer; ours where it does not say."""
    try:
        told = parsedate_to_datetime(str(headers.get("Date", "")))
    except ValueError:
        return datetime.now(UTC)
    return told.astimezone(UTC)


def _refuse_redirect(response: httpx.Response, host: str) -> None:
    if response.has_redirect_location:
        target = httpx.URL(response.headers["Location"]).host or host
        raise ConfigurationError(
            f"{host} sends its visitors on to {target}, which is not followed: give the address that answers itself."
        )


@contextmanager
def _told(host: str, context: Context) -> Iterator[None]:
    """What goes wrong on the way, as its kind, without secrets.

    Raises:
        ConfigurationError: the host does not prove who it is, or the URL is none.
        TransientError: anything else.
    """
    try:
        yield
    except httpx.InvalidURL:
        raise ConfigurationError(f"{host} is no address of the web.") from None
    except httpx.HTTPError as error:
        message = context.redactor.redact(str(error) or type(error).__name__)
        if "CERTIFICATE_VERIFY_FAILED" in message:
            raise ConfigurationError(
                f"{host} does not prove who it is: {message}. Is its name right?"
            ) from None
        raise TransientError(f"{host} cannot be reached: {message}.") from None
