"""A request and a response, as the servers' rules see them: no sockets here."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from email.message import Message
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote_plus, urlsplit

CHUNK_BYTES = 256 * 1024


@dataclass(frozen=True)
class Request:
    """One request. ``target`` is what stood on the request line; ``headers`` ignore case."""

    method: str
    target: str
    headers: Message
    body: bytes = b""

    @cached_property
    def path(self) -> str:
        """The decoded path."""
        return unquote_plus(urlsplit(self.target).path)

    @cached_property
    def decoded_target(self) -> str:
        """Path and query as a person would write them."""
        return unquote_plus(self.target)

    @cached_property
    def query(self) -> dict[str, str]:
        """Parameters of the query; the last of a repeated one."""
        return dict(parse_qsl(urlsplit(self.target).query, keep_blank_values=True))

    @cached_property
    def form(self) -> dict[str, str]:
        """Parameters of a form body; empty for other bodies."""
        if "application/x-www-form-urlencoded" not in self.headers.get("Content-Type", ""):
            return {}
        return dict(parse_qsl(self.body.decode("utf-8", "replace"), keep_blank_values=True))

    @property
    def bearer(self) -> str | None:
        """The token of the Authorization header."""
        scheme, _, token = self.headers.get("Authorization", "").partition(" ")
        return token.strip() if scheme.lower() == "bearer" and token.strip() else None

    @property
    def given(self) -> dict[str, str]:
        """The ``authorization`` header, the whole ``body``, and each field of the form."""
        body = self.body.decode("utf-8", "replace")
        return {"authorization": self.headers.get("Authorization", ""), "body": body, **self.form}

    def json(self) -> Any:
        """The body as JSON.

        Raises:
            ValueError: If it is none.
        """
        return json.loads(self.body)


@dataclass(frozen=True)
class FileSlice:
    """``length`` bytes of a file from ``offset`` on, after ``prefix``."""

    path: Path
    offset: int
    length: int
    prefix: bytes = b""

    def __len__(self) -> int:
        """Bytes."""
        return len(self.prefix) + self.length

    def chunks(self) -> Iterator[bytes]:
        """The bytes in order, in pieces."""
        if self.prefix:
            yield self.prefix
        left = self.length
        with self.path.open("rb") as file:
            file.seek(self.offset)
            while left and (chunk := file.read(min(left, CHUNK_BYTES))):
                left -= len(chunk)
                yield chunk


@dataclass(frozen=True)
class Response:
    """One answer; ``compressible`` bodies are gzipped for clients that accept it."""

    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | FileSlice = b""
    compressible: bool = False

    def chunks(self) -> Iterator[bytes]:
        """The body in pieces."""
        if isinstance(self.body, FileSlice):
            yield from self.body.chunks()
        elif self.body:
            yield self.body


def json_response(value: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """An answer with a JSON body."""
    body = json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
    return Response(status, {"Content-Type": "application/json;charset=UTF-8", **(headers or {})}, body)


class Refusal(Exception):
    """Raised by a server's rules: the request ends with this answer."""

    def __init__(self, response: Response) -> None:
        """``response`` is what the client gets."""
        super().__init__(f"refused with status {response.status}")
        self.response = response
