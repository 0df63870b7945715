"""The bench of ``marketo``: the test server, whose clock stands, with leads, their activities, merges and programs."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, ClassVar

import pytest
from pydantic import SecretStr

from casetrail_testkit import Clock, MarketoServer
from casetrail_testkit.marketo import activities
from casetrail_testkit.marketo.catalog import LeadField
from casetrail_testkit.marketo.exports import Exports
from casetrail_testkit.marketo.limits import Limits
from casetrail_testkit.marketo.store import MarketoStore
from orchestration.settings import Settings
from orchestration.sources.errors import ConfigurationError, QuotaExhausted, SourceError, TransientError
from orchestration.sources.types.marketo import listings, reading
from orchestration.sources.types.marketo.subscription import Subscription
from tests.sources.conformance.bench import Key, Outcomes, SourceBench, Version

OVERLAP = 300
LAG = 30
EXTRA = LeadField("extra", "integer")
FIELDS = ("email", "company", EXTRA.name)

_CALLS = "usage|describe|pagingtoken|deletedleads|create|enqueue|status|programs"
"""Calls whose answer is a document; a download is repaired within a read."""
_FILE = "file.json"


def _refused(code: str, message: str, path: str) -> dict[str, Any]:
    document = {"requestId": "1#2", "success": False, "errors": [{"code": code, "message": message}]}
    return {"path": path, "status": 200, "json": document}


_FAILED = {"success": True, "requestId": "1#2", "result": [{"exportId": "x", "status": "Failed"}]}
# Each at the requests where it matters: every further one costs the suite two syncs.
_FAULTS: dict[str, tuple[dict[str, Any], type[SourceError] | None]] = {
    "token dies": ({"path": "types|deletedleads|enqueue|file", "effects": ["expire_tokens"]}, None),
    "hours pass": ({"path": "describe|status|file", "advance_seconds": 4_000}, None),
    "token is refused": (_refused("601", "Access token invalid", "create"), None),
    "too many calls": (_refused("606", "Max rate limit '100' exceeded", "create|file"), None),
    "connection lost": ({"path": _CALLS, "drop_after": 0}, TransientError),
    "no login": ({"path": "oauth", "status": 503}, TransientError),
    "page of HTML": (
        {"path": "describe|create", "status": 200, "text": "<html>Later</html>"},
        TransientError,
    ),
    "file breaks off": ({"path": _FILE, "drop_after": 90}, None),
    "file is cut": ({"path": _FILE, "truncate_after": 70}, None),
    "no file yet": ({"path": _FILE, "status": 404, "text": "The file is not there"}, None),
    "queue is full": (_refused("1029", "Too many jobs in queue", "enqueue"), TransientError),
    "export fails": ({"path": "status", "status": 200, "json": _FAILED}, TransientError),
    "right taken away": (_refused("603", "Access denied", "types|create|file"), ConfigurationError),
    "calls are used up": ({"path": "usage|create|file", "effects": ["exhaust_calls"]}, QuotaExhausted),
    "bytes are used up": ({"path": "create", "effects": ["exhaust_export_bytes"]}, QuotaExhausted),
}


class Bench(SourceBench):
    """Leads change; activities only come; merges are told by activities; programs are read whole each time."""

    of = "marketo"
    does: ClassVar = {
        "activities": frozenset({"create", "late"}),
        "leads": frozenset({"create", "update", "delete", "merge", "late"}),
        "programs": frozenset({"create", "update"}),
    }
    faults: ClassVar[Mapping[str, Outcomes]] = {
        **{name: (kind,) for name, (_, kind) in _FAULTS.items()},
        # Hours may also pass between a token that replaces a dead one and the call for which it was asked.
        "hours pass": (None, TransientError),
        # What was sent of it may be lost with the connection, before it is read.
        "file breaks off": (None, TransientError),
    }
    lag = LAG
    longest_commit = OVERLAP

    def __init__(self, server: MarketoServer) -> None:
        self._server = server
        self.secrets = {"client_secret": SecretStr(server.identity.client_secret)}
        self._drifts = 0

    @classmethod
    @contextmanager
    def opened(cls, installation: Settings) -> Iterator[SourceBench]:
        with MarketoServer(clock=Clock(datetime.now(UTC))) as server:
            yield cls(server)
            assert server.failures == []

    @staticmethod
    def shrink(patch: pytest.MonkeyPatch) -> None:
        patch.setattr(reading, "PAGE_ROWS", 3)
        patch.setattr(reading, "CHECKPOINT_ROWS", 5)
        patch.setattr(listings, "PROGRAMS_AT_ONCE", 2)
        patch.setattr(activities, "PAGE_ENTRIES", 5)
        patch.setattr(Subscription, "pause", lambda _self, _seconds: None)

    def reset(self, now: datetime) -> None:
        server, before = self._server, self._server.store.tables
        self.calm()
        server.clock.set(now)
        server.store, server.limits = MarketoStore(server.clock), Limits(server.clock)
        # The clock stands, so the window of 20 seconds never ends.
        server.limits.calls_in_window = 1_000_000
        server.store.add_field(EXTRA)
        server.exports = Exports(server.store, server.limits)
        server.identity.expire()
        before.close()
        self._drifts = 0

    def config(self) -> dict[str, Any]:
        return {
            "url": self._server.url,
            "client_id": self._server.identity.client_id,
            "start": "2024-02-29T00:00:00Z",
            "streams": ["activities", "leads", "merges", "programs"],
            "lead_fields": FIELDS,
            "lag_seconds": LAG,
            "overlap_seconds": OVERLAP,
            "poll_seconds": 0,
        }

    def now(self) -> datetime:
        return self._server.clock.now()

    def advance(self, seconds: float) -> None:
        self._server.clock.advance(seconds)
        self._server.store.tables.settle()

    def create(self, stream: str, mark: str, commits_in: int = 0) -> Key:
        store = self._server.store
        if stream == "activities":
            # Of a lead that is gone or was never there: nobody holds that against an activity.
            made = store.log_activity("Click Email", 1, {"Link": mark}, commits_in=commits_in)
        elif stream == "leads":
            values = {"email": f"{mark!r}@acme.example", "company": mark}
            if EXTRA.name in store.fields:
                values[EXTRA.name] = str(len(mark))
            made = store.create_lead(values, commits_in=commits_in)
        else:
            made = len(store.programs) + 1
            store.programs.append({"id": made, "name": mark, "updatedAt": _stamp(self.now()) + "+0000"})
        return stream, str(made)

    def update(self, key: Key, mark: str, commits_in: int = 0) -> None:
        stream, identity = key
        if stream == "programs":
            self._server.store.programs[int(identity) - 1] |= {"name": mark}
        else:
            self._server.store.update_lead(int(identity), {"company": mark}, commits_in=commits_in)

    def delete(self, key: Key, commits_in: int = 0) -> None:
        self._server.store.delete_lead(int(key[1]), commits_in=commits_in)

    def merge(self, winner: Key, loser: Key, commits_in: int = 0) -> None:
        self._server.store.merge_leads(int(winner[1]), [int(loser[1])], commits_in=commits_in)

    def drift(self) -> str:
        store = self._server.store
        changes = (
            ("a field becomes text", lambda: store.retype_field("extra", "string")),
            ("a field disappears", lambda: store.remove_field("extra")),
            ("a field appears", lambda: store.add_field(EXTRA)),
        )
        told, change = changes[self._drifts % 3]
        self._drifts += 1
        change()
        return told

    def shown(self) -> list[Version]:
        store = self._server.store
        names = {kind.id: name for name, kind in store.types.items()}
        found = [self._lead(row) for row in store.leads()]
        for row in store.activities():
            found += self._told_by(row, names[row["activityTypeId"]])
        for row in store.programs:
            values = {"id": str(row["id"]), "name": row["name"], "updatedAt": row["updatedAt"][:20]}
            found.append(Version(("programs", str(row["id"])), row["name"], values, None))
        return found

    def landed(self, stream: str, row: Mapping[str, str | None]) -> tuple[Key, str]:
        match stream:
            case "activities":
                return (stream, str(row["marketoGUID"])), row["Link"] or str(row["activityType"])
            case "leads":
                return (stream, str(row["id"])), f"{row['company']} {row['updatedAt']}"
            case "merges":
                return (stream, f"{row['winner']}/{row['loser']}"), str(row["marketoGUID"])
        return (stream, str(row["id"])), str(row["name"])

    def strike(self, fault: str, nth: int) -> None:
        self._server.faults.add(**_FAULTS[fault][0], nth=nth)

    def struck(self) -> bool:
        return any(times for _, times in self._server.faults.fired())

    def calm(self) -> None:
        self._server.faults.clear()

    @staticmethod
    def _lead(row: Mapping[str, Any]) -> Version:
        values = {name: row[name] for name in ("company", "createdAt", "updatedAt")}
        values["id"] = str(row["id"])
        mark = f"{row['company']} {row['updatedAt']}"
        return Version(("leads", str(row["id"])), mark, values, datetime.fromisoformat(row["updatedAt"]))

    @staticmethod
    def _told_by(row: Mapping[str, Any], name: str) -> list[Version]:
        """An activity, and what it tells of leads."""
        at, link = datetime.fromisoformat(row["activityDate"]), row["attributes"].get("Link")
        guid, lead = str(row["id"]), str(row["leadId"])
        values = {"marketoGUID": guid, "leadId": lead, "activityType": name, "Link": link}
        told = [Version(("activities", guid), link or name, values, at)]
        if name == "Delete Lead":
            told.append(Version(("leads", lead), "", {}, at, deleted=True))
        if name == "Merge Leads":
            loser = row["attributes"]["Merge IDs"].strip("[]")
            merged = {"marketoGUID": guid, "winner": lead, "loser": loser, "mergedAt": row["activityDate"]}
            told.append(Version(("merges", f"{lead}/{loser}"), guid, merged, at))
            told.append(Version(("leads", loser), "", {}, at, deleted=True))
        return told


def _stamp(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")
