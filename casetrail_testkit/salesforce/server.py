"""An org of Salesforce on a port of this machine: which request goes where."""

import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from casetrail_testkit.clock import Clock
from casetrail_testkit.messages import Refusal, Request, Response, json_response
from casetrail_testkit.salesforce import changes, oauth, rest
from casetrail_testkit.salesforce.bulk import BulkJobs
from casetrail_testkit.salesforce.catalog import Field
from casetrail_testkit.salesforce.errors import refuse
from casetrail_testkit.salesforce.limits import Limits
from casetrail_testkit.salesforce.store import SalesforceStore
from casetrail_testkit.server import VendorServer
from casetrail_testkit.tables import Tables

OLDEST_VERSION, NEWEST_VERSION, RETIRED_UNTIL = 31, 66, 30
LONGEST_TARGET = 16_384
_VERSIONED = re.compile(r"/services/data/v(\d+)\.0/(.*)")
_RESOURCE = re.compile(r"(sobjects|query|queryAll|jobs/query)/([^/]+)(?:/([^/]+))?")


class SalesforceServer(VendorServer):
    """An org with OAuth, REST, Bulk API 2.0, deletes and limits.

    ``store`` has the records, ``sessions`` the credentials and tokens, ``limits`` the allowances, ``bulk`` the query
    jobs. Effects for faults: ``expire_tokens``, ``exhaust_calls``, ``exhaust_bulk_jobs``, ``forget_cursors``,
    ``fail_next_bulk_job``.
    """

    def __init__(self, *, clock: Clock | None = None, port: int = 0) -> None:
        """As every server; the org has the standard objects and no record.

        Raises:
            OSError: If the port is taken.
        """
        super().__init__(clock=clock, port=port)
        self.store = SalesforceStore(self.clock)
        self.sessions = oauth.Sessions(self.clock, self.url)
        self.limits = Limits(self.clock)
        self.cursors = rest.Cursors(self.store)
        self.bulk = BulkJobs(self.store, self.limits)

    @property
    def tables(self) -> Tables:
        """Where the records are."""
        return self.store.tables

    @property
    def effects(self) -> dict[str, Callable[[], None]]:
        """What a fault can make happen."""
        return {
            "expire_tokens": self.sessions.expire,
            "exhaust_calls": self.limits.api_requests.exhaust,
            "exhaust_bulk_jobs": self.limits.bulk_jobs.exhaust,
            "forget_cursors": self.cursors.forget,
            "fail_next_bulk_job": self.bulk.fail_next,
        }

    def answer(self, request: Request) -> Response:
        """Answer as the org would."""
        if len(request.target) > LONGEST_TARGET:
            return Response(414, {"Content-Type": "text/html"}, b"<h1>URI Too Long</h1>")
        if request.path == oauth.TOKEN_PATH and request.method == "POST":
            return self.sessions.token(request)
        if request.path.rstrip("/") == "/services/data":
            return json_response([_version(number) for number in range(OLDEST_VERSION, NEWEST_VERSION + 1)])
        version, resource = _versioned(request)
        self.sessions.require(request)
        try:
            self.limits.count_call()
            response = self._route(request, version, resource)
        except Refusal as refusal:
            response = refusal.response
        return replace(response, headers={**response.headers, "Sforce-Limit-Info": self.limits.header()})

    def _route(self, request: Request, version: str, resource: str) -> Response:
        match request.method, resource:
            case "GET", "sobjects":
                return rest.describe_global(self.store, version)
            case "GET", "limits":
                return self.limits.answer()
            case "GET", "query" | "queryAll":
                return self.cursors.query(request, version, with_deleted=resource == "queryAll")
            case "POST", "jobs/query":
                return self.bulk.create(request, version)
        found = _RESOURCE.fullmatch(resource)
        if found is None:
            raise refuse(404, "NOT_FOUND", "The requested resource does not exist")
        kind, name, part = found.groups()
        match request.method, kind, part:
            case "GET", "query" | "queryAll", None:
                return self.cursors.more(request, version, kind, name)
            case "GET", "sobjects", _:
                return self._object(request, version, name, part)
            case _, "jobs/query", _:
                return self._job(request, version, name, part)
        raise refuse(404, "NOT_FOUND", "The requested resource does not exist")

    def _object(self, request: Request, version: str, name: str, part: str | None) -> Response:
        match part:
            case "describe":
                return rest.describe(self.store, version, name)
            case "deleted":
                return changes.deleted(self.store, request, name)
            case "updated":
                return changes.updated(self.store, request, name)
        raise refuse(404, "NOT_FOUND", "The requested resource does not exist")

    def _job(self, request: Request, version: str, job_id: str, part: str | None) -> Response:
        match request.method, part:
            case "GET", None:
                return self.bulk.status(job_id)
            case "GET", "results":
                return self.bulk.results(request, version, job_id)
            case "PATCH", None:
                return self.bulk.abort(request, job_id)
            case "DELETE", None:
                return self.bulk.delete(job_id)
        raise refuse(405, "METHOD_NOT_ALLOWED", f"HTTP method '{request.method}' not allowed")

    def change(self, change: dict[str, Any]) -> Any:
        """Apply a change of records.

        ``{"do": "create", "object": "Lead", "values": {...}}`` gives the Id; ``update`` takes ``id`` and ``values``,
        ``delete`` ``id`` (and ``"hard": true``), ``merge`` ``winner`` and ``loser``; all of them ``commits_in``
        (seconds). ``add_field`` takes ``field`` and ``type``, ``retype_field`` the same, ``remove_field`` ``field``.
        """
        arguments = dict(change)
        do, name = arguments.pop("do", None), arguments.pop("object")
        store = self.store
        match do:
            case "create":
                return store.create(name, **arguments)
            case "update" | "delete":
                return getattr(store, do)(name, arguments.pop("id"), **arguments)
            case "merge":
                return store.merge(name, **arguments)
            case "add_field":
                return store.add_field(name, Field(arguments["field"], arguments.get("type", "string")))
            case "retype_field":
                return store.retype_field(name, arguments["field"], arguments["type"])
            case "remove_field":
                return store.remove_field(name, arguments["field"])
        raise ValueError(
            f"do create, update, delete, merge, add_field, retype_field or remove_field, not {do}"
        )


def _version(number: int) -> dict[str, str]:
    return {"label": f"Release {number}", "url": f"/services/data/v{number}.0", "version": f"{number}.0"}


def _versioned(request: Request) -> tuple[str, str]:
    """Version (``v62.0``) and resource of a path.

    Raises:
        Refusal: 404 NOT_FOUND, or 410 for a version that was retired.
    """
    found = _VERSIONED.fullmatch(request.path)
    number = int(found[1]) if found else 0
    if found and 0 < number <= RETIRED_UNTIL:
        raise refuse(410, "GONE", f"API version {number}.0 has been retired")
    if not found or number > NEWEST_VERSION:
        raise refuse(404, "NOT_FOUND", "The requested resource does not exist")
    return f"v{number}.0", found[2].rstrip("/")
