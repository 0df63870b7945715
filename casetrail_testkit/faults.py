"""The script of faults: which request, and what goes wrong with it.

A fault names requests (method, a pattern of path and query, a pattern of the body), which of them (the nth, so many
times), and what happens: something before the server looks at the request, an answer instead of its own, or damage to
the answer on the wire. Both vendors' servers share it.
"""

import re
import threading
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from casetrail_testkit.messages import Request

FOR_EVER = 0


@dataclass(frozen=True)
class Fault:
    """One line of the script.

    Attributes:
        path: Regular expression, searched in the decoded ``/path?query``. Empty: every request.
        method: ``GET``, ``POST`` and so on. Empty: any.
        body: Regular expression, searched in the request's body.
        nth: The first of the matching requests that is hit, counted from 1 since the fault was added.
        times: How many requests are hit from then on; 0: all.
        effects: Names of the server's ``effects`` that happen first, such as ``expire_tokens``.
        advance_seconds: How far the server's clock moves first.
        delay_seconds: Real seconds to wait before anything else.
        status: Answer with this HTTP status, without doing what the request asks for.
        headers: Headers of that answer, such as ``Retry-After``.
        text: Body of that answer as it is, such as an HTML page.
        json: Body of that answer as a JSON value. In both, ``{authorization}``, ``{body}`` and ``{NAME}`` of a field of
            the form stand for what the client has sent (``Request.given``): some servers repeat it, secrets and all.
        drop_after: Close the connection after so many bytes of the body; 0 closes it before the status line.
        truncate_after: End the body after so many bytes, as if that were all (before compression).
        bytes_per_second: Send the body no faster than this.
    """

    path: str = ""
    method: str = ""
    body: str = ""
    nth: int = 1
    times: int = 1
    effects: tuple[str, ...] = ()
    advance_seconds: float = 0.0
    delay_seconds: float = 0.0
    status: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    text: str | None = None
    json: Any = None
    drop_after: int | None = None
    truncate_after: int | None = None
    bytes_per_second: int | None = None

    def __post_init__(self) -> None:
        """Refuse what could never happen.

        Raises:
            ValueError: If a pattern is no regular expression, a count makes no sense, or nothing would happen.
        """
        for pattern in (self.path, self.body):
            try:
                re.compile(pattern)
            except re.error as error:
                raise ValueError(f"{pattern!r} is no regular expression: {error}") from error
        if self.nth < 1 or self.times < 0:
            raise ValueError("nth counts from 1, and times from 0 (for ever)")
        if self.status is None and (self.text is not None or self.json is not None or self.headers):
            raise ValueError("an answer of your own needs a status")
        object.__setattr__(self, "effects", tuple(self.effects))

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> "Fault":
        """A fault from a JSON object whose members are the attributes.

        Raises:
            ValueError: If a member is unknown or its value makes no sense.
        """
        known = [attribute.name for attribute in fields(cls)]
        unknown = sorted(set(document) - set(known))
        if unknown:
            raise ValueError(f"a fault has no {', '.join(unknown)}; it has {', '.join(known)}")
        return cls(**document)

    def matches(self, request: Request) -> bool:
        """Whether the request is one that this fault counts."""
        return (
            self.method in ("", request.method)
            and re.search(self.path, request.decoded_target) is not None
            and (not self.body or re.search(self.body, request.body.decode("utf-8", "replace")) is not None)
        )


class FaultScript:
    """The faults of one server. Thread-safe; the same requests in the same order are hit in every run."""

    def __init__(self, effects: Callable[[], Collection[str]]) -> None:
        """Nothing goes wrong at first. ``effects`` gives the names that a fault's effects may have."""
        self._effects = effects
        self._lock = threading.Lock()
        self._faults: list[Fault] = []
        self._seen: list[int] = []
        self._fired: list[int] = []

    def add(self, fault: Fault | None = None, **attributes: Any) -> Fault:
        """Add a fault, or make one of the attributes; requests are counted from now on.

        Raises:
            ValueError: As ``Fault`` does, or if the server has no such effect.
        """
        fault = fault or Fault.from_json(attributes)
        known = self._effects()
        for effect in fault.effects:
            if effect not in known:
                raise ValueError(f"there is no effect {effect}; there are {', '.join(known)}")
        with self._lock:
            self._faults.append(fault)
            self._seen.append(0)
            self._fired.append(0)
        return fault

    def clear(self) -> None:
        """Nothing goes wrong any more."""
        with self._lock:
            self._faults, self._seen, self._fired = [], [], []

    def due(self, request: Request) -> list[Fault]:
        """The faults that hit this request, in the order in which they were added; counts the request."""
        hit = []
        with self._lock:
            for number, fault in enumerate(self._faults):
                if not fault.matches(request):
                    continue
                self._seen[number] += 1
                since = self._seen[number] - fault.nth
                if since >= 0 and (fault.times == FOR_EVER or since < fault.times):
                    self._fired[number] += 1
                    hit.append(fault)
        return hit

    def fired(self) -> list[tuple[Fault, int]]:
        """Every fault with how many requests it has hit."""
        with self._lock:
            return list(zip(self._faults, self._fired, strict=True))
