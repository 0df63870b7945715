"""``/_testkit/...``: the clock, the faults and the records of a server, for whoever runs in another process.

=======================  ========================================================================================
``GET clock``            ``{"now": "2026-01-02T03:04:05Z"}``
``POST clock``           ``{"set": TIME}``, ``{"advance": SECONDS}`` or ``{"run": true}``
``GET faults``           the faults, each with how often it has hit
``POST faults``          one fault as a JSON object (the attributes of ``Fault``), or a list of them
``DELETE faults``        nothing goes wrong any more
``POST effects/NAME``    make happen what a fault could, such as ``expire_tokens``
``POST changes``         one change of records, or a list: see the server's ``change``
``GET requests``         the requests that were answered, oldest first
``GET stats``            processor seconds of the server's own work, and its failures
=======================  ========================================================================================

It asks for no token: the servers listen on the loopback interface only.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from casetrail_testkit.clock import WHOLE_SECONDS, instant_of
from casetrail_testkit.faults import Fault
from casetrail_testkit.messages import Request, Response, json_response

if TYPE_CHECKING:
    from casetrail_testkit.server import VendorServer

PREFIX = "/_testkit/"


def answer(server: VendorServer, request: Request) -> Response:
    """Do what the request says; 400 with a sentence if it cannot be understood."""
    name, _, rest = request.path.removeprefix(PREFIX).partition("/")
    action = _ACTIONS.get((request.method, name))
    if action is None:
        known = ", ".join(f"{method} {PREFIX}{name}" for method, name in _ACTIONS)
        return json_response({"error": f"there is {known}"}, 404)
    try:
        return json_response(action(server, request, rest))
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        return json_response({"error": str(error)}, 400)


def _clock(server: VendorServer, request: Request, _: str) -> Any:
    for word, value in (request.json() if request.method == "POST" else {}).items():
        if word == "set":
            server.clock.set(instant_of(value))
        elif word == "advance":
            server.clock.advance(float(value))
        elif word == "run":
            server.clock.run()
        else:
            raise ValueError(f"a clock can set, advance or run, not {word}")
    server.tables.settle()
    return {"now": server.clock.now().strftime(WHOLE_SECONDS)}


def _faults(server: VendorServer, request: Request, _: str) -> Any:
    if request.method == "DELETE":
        server.faults.clear()
    if request.method == "POST":
        document = request.json()
        for one in document if isinstance(document, list) else [document]:
            server.faults.add(Fault.from_json(one))
    return [{**asdict(fault), "hits": hits} for fault, hits in server.faults.fired()]


def _effects(server: VendorServer, _: Request, name: str) -> Any:
    if name not in server.effects:
        raise ValueError(f"there is no effect {name}; there are {', '.join(server.effects)}")
    server.effects[name]()
    return {}


def _changes(server: VendorServer, request: Request, _: str) -> Any:
    document = request.json()
    return [server.change(change) for change in (document if isinstance(document, list) else [document])]


def _requests(server: VendorServer, _: Request, __: str) -> Any:
    return [asdict(served) for served in list(server.requests)]


def _stats(server: VendorServer, _: Request, __: str) -> Any:
    return {"cpu_seconds": server.cpu_seconds, "requests": len(server.requests), "failures": server.failures}


_ACTIONS: dict[tuple[str, str], Callable[[VendorServer, Request, str], Any]] = {
    ("GET", "clock"): _clock,
    ("POST", "clock"): _clock,
    ("GET", "faults"): _faults,
    ("POST", "faults"): _faults,
    ("DELETE", "faults"): _faults,
    ("POST", "effects"): _effects,
    ("POST", "changes"): _changes,
    ("GET", "requests"): _requests,
    ("GET", "stats"): _stats,
}
