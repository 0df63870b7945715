"""A subscription of Marketo on a port of this machine: which request goes where."""

import re
from collections.abc import Callable, Mapping
from typing import Any

from casetrail_testkit.clock import Clock
from casetrail_testkit.marketo import activities, identity, leads
from casetrail_testkit.marketo.catalog import LeadField
from casetrail_testkit.marketo.errors import fail
from casetrail_testkit.marketo.exports import Exports
from casetrail_testkit.marketo.limits import Limits
from casetrail_testkit.marketo.store import MarketoStore
from casetrail_testkit.messages import Request, Response
from casetrail_testkit.server import VendorServer
from casetrail_testkit.tables import Tables

LONGEST_TARGET, LARGEST_BODY = 8_192, 1_048_576
_EXPORT = re.compile(
    r"/bulk/v1/(leads|activities)/export(?:/([^/]+))?(?:/(enqueue|status|cancel|file))?\.json"
)
_LEAD = re.compile(r"/rest/v1/lead/([^/]+)\.json")

_GET: Mapping[str, Callable[[MarketoStore, Mapping[str, str]], Response]] = {
    "/rest/v1/activities/types.json": lambda store, _: activities.types(store),
    "/rest/v1/activities/pagingtoken.json": lambda _, parameters: activities.paging_token(parameters),
    "/rest/v1/activities.json": activities.activities,
    "/rest/v1/activities/leadchanges.json": activities.lead_changes,
    "/rest/v1/activities/deletedleads.json": activities.deleted_leads,
    "/rest/v1/leads/describe.json": lambda store, _: leads.describe(store),
    "/rest/v1/leads/describe2.json": lambda store, _: leads.describe2(store),
    "/rest/v1/leads.json": leads.by_filter,
    "/rest/v1/campaigns.json": leads.campaigns,
    "/rest/asset/v1/programs.json": leads.programs,
}


class MarketoServer(VendorServer):
    """A subscription with identity, REST and Bulk Extract.

    ``store`` has the records, ``identity`` the credentials and tokens, ``limits`` the allowances, ``exports`` the bulk
    jobs. Effects for faults: ``expire_tokens``, ``exhaust_calls``, ``exhaust_export_bytes``.
    """

    def __init__(self, *, clock: Clock | None = None, port: int = 0) -> None:
        """As every server; the subscription has the standard fields and types and no record.

        Raises:
            OSError: If the port is taken.
        """
        super().__init__(clock=clock, port=port)
        self.store = MarketoStore(self.clock)
        self.identity = identity.Identity(self.clock)
        self.limits = Limits(self.clock)
        self.exports = Exports(self.store, self.limits)

    @property
    def tables(self) -> Tables:
        """Where the records are."""
        return self.store.tables

    @property
    def effects(self) -> dict[str, Callable[[], None]]:
        """What a fault can make happen."""
        return {
            "expire_tokens": self.identity.expire,
            "exhaust_calls": self.limits.calls.exhaust,
            "exhaust_export_bytes": self.limits.export_bytes.exhaust,
        }

    def answer(self, request: Request) -> Response:
        """Answer as the subscription would."""
        if len(request.target) > LONGEST_TARGET:
            return Response(414, {"Content-Type": "text/html"}, b"<h1>Request-URI Too Large</h1>")
        if len(request.body) > LARGEST_BODY:
            return Response(413, {"Content-Type": "text/html"}, b"<h1>Request Entity Too Large</h1>")
        if request.path == identity.TOKEN_PATH:
            return self.identity.token(request)
        self.identity.require(request)
        with self.limits.call():
            return self._route(request)

    def _route(self, request: Request) -> Response:
        # A query that is too long for a URL comes as a form with _method=GET.
        parameters = {**request.query, **request.form}
        method = parameters.get("_method", request.method)
        if method == "GET" and request.path == "/rest/v1/stats/usage.json":
            return self.limits.usage()
        if method == "GET" and request.path in _GET:
            return _GET[request.path](self.store, parameters)
        if method == "GET" and (found := _LEAD.fullmatch(request.path)):
            return leads.by_id(self.store, parameters, found[1])
        if found := _EXPORT.fullmatch(request.path):
            return self._export(request, *found.groups())
        raise fail("610", "Requested resource not found")

    def _export(self, request: Request, kind: str, export_id: str | None, action: str | None) -> Response:
        match request.method, export_id, action:
            case "POST", "create", None:
                return self.exports.create(kind, request)
            case "GET", None, None:
                return self.exports.listed(kind)
            case "POST", str(job), "enqueue":
                return self.exports.enqueue(kind, job)
            case "POST", str(job), "cancel":
                return self.exports.cancel(kind, job)
            case "GET", str(job), "status":
                return self.exports.status(kind, job)
            case "GET", str(job), "file":
                return self.exports.file(kind, job, request)
        raise fail("610", "Requested resource not found")

    def change(self, change: dict[str, Any]) -> Any:
        """Apply a change of records.

        ``{"do": "create_lead", "values": {...}}`` gives the id; ``update_lead`` takes ``lead`` and ``values``,
        ``delete_lead`` ``lead``, ``merge_leads`` ``winner`` and ``losers``, ``log_activity`` ``kind`` and ``lead`` and
        what else the store's method takes; all of them ``commits_in`` (seconds). ``add_field`` takes ``name`` and
        ``type``, ``retype_field`` ``name`` and ``new_type``, ``remove_field`` ``name``.
        """
        arguments = dict(change)
        do = arguments.pop("do", None)
        store = self.store
        calls: dict[str, Callable[..., Any]] = {
            "create_lead": store.create_lead,
            "update_lead": store.update_lead,
            "delete_lead": store.delete_lead,
            "merge_leads": store.merge_leads,
            "log_activity": store.log_activity,
            "add_field": lambda **field: store.add_field(LeadField(**field)),
            "retype_field": store.retype_field,
            "remove_field": store.remove_field,
        }
        if do not in calls:
            raise ValueError(f"do one of {', '.join(calls)}, not {do}")
        return calls[do](**arguments)
