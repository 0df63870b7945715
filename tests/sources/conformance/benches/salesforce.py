"""The bench of ``salesforce``: a made-up org."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any, ClassVar

import pytest
from pydantic import SecretStr

from casetrail_testkit import Clock, SalesforceServer
from casetrail_testkit.salesforce import rest as served_rest
from casetrail_testkit.salesforce.catalog import Field
from orchestration.settings import Settings
from orchestration.sources.errors import QuotaExhausted, SourceError, TransientError
from orchestration.sources.types import salesforce
from orchestration.sources.types.salesforce import bulk, reading
from tests.sources.conformance.bench import Key, SourceBench, Version

OVERLAP = 300
LAG = 30
EXTRA = "Extra__c"

_MARKED = {"Lead": "Company", "CampaignMember": "Status", "OpportunityHistory": "StageName"}
"""By stream the field that a test's mark is in."""


class Bench(SourceBench):
    """Leads, which can do everything; members of campaigns, of which a deletion leaves no trace; and stages."""

    of = "salesforce"
    does: ClassVar = {
        "Lead": frozenset({"create", "update", "delete", "merge", "late"}),
        "CampaignMember": frozenset({"create", "update", "late"}),
        "OpportunityHistory": frozenset({"create", "late"}),
    }
    faults: ClassVar[Mapping[str, type[SourceError] | None]] = {
        "SERVER_UNAVAILABLE": TransientError,
        "session ended": None,
        "calls used up": QuotaExhausted,
    }
    lag = LAG
    longest_commit = OVERLAP

    def __init__(self) -> None:
        self._server: SalesforceServer | None = None
        self._drifts = 0

    @classmethod
    @contextmanager
    def opened(cls, installation: Settings) -> Iterator[SourceBench]:
        bench = cls()
        try:
            yield bench
        finally:
            bench.close()

    @staticmethod
    def shrink(patch: pytest.MonkeyPatch) -> None:
        patch.setattr(salesforce, "CHECKPOINT_ROWS", 9)
        patch.setattr(reading, "REST_ROWS", 5)
        patch.setattr(reading, "BULK_WINDOW_ROWS", 9)
        patch.setattr(reading, "WHOLE_WINDOW_ROWS", 5)
        patch.setattr(bulk, "PAGE_ROWS", 4)
        patch.setattr(bulk, "FIRST_PAUSE", 0.0)
        patch.setattr(served_rest, "PAGE_ROWS", 2)

    def close(self) -> None:
        if self._server is not None:
            self._server.stop()
            assert self._server.failures == []

    @property
    def server(self) -> SalesforceServer:
        assert self._server is not None, "reset makes one"
        return self._server

    @property
    def secrets(self) -> Mapping[str, SecretStr]:  # type: ignore[override]
        return {"client_secret": SecretStr(self.server.sessions.consumer_secret)}

    def reset(self, now: datetime) -> None:
        self.close()
        self._server = SalesforceServer(clock=Clock(now)).start()
        self._drifts = 0
        calls = self.server.limits.api_requests
        # By who used them most of a day ago, so that they come back within the hour.
        calls.exhaust = lambda: calls._entries.appendleft(  # type: ignore[method-assign]
            (self.now() - timedelta(hours=23, minutes=30), calls.most)
        )

    def config(self) -> dict[str, Any]:
        return {
            "url": self.server.url,
            "client_id": self.server.sessions.consumer_key,
            "streams": list(self.does),
            "lag_seconds": LAG,
            "overlap_seconds": OVERLAP,
        }

    def now(self) -> datetime:
        return self.server.clock.now()

    def advance(self, seconds: float) -> None:
        self.server.clock.advance(seconds)

    def create(self, stream: str, mark: str, commits_in: int = 0) -> Key:
        values = {_MARKED[stream]: mark}
        if stream == "OpportunityHistory":
            values["OpportunityId"] = f"006Ct0000000{len(mark) % 3}01"
        elif stream == "CampaignMember":
            values["LeadId"] = "00QCt0000000001"
        return stream, self.server.store.create(stream, values, commits_in=commits_in)

    def update(self, key: Key, mark: str, commits_in: int = 0) -> None:
        stream, record = key
        self.server.store.update(stream, record, {_MARKED[stream]: mark}, commits_in=commits_in)

    def delete(self, key: Key, commits_in: int = 0) -> None:
        self.server.store.delete(*key, commits_in=commits_in)

    def merge(self, winner: Key, loser: Key, commits_in: int = 0) -> None:
        self.server.store.merge(winner[0], winner[1], loser[1], commits_in=commits_in)

    def drift(self) -> str:
        self._drifts += 1
        store = self.server.store
        match self._drifts % 3:
            case 1:
                store.add_field("Lead", Field(EXTRA))
                store.tables.write(f"update \"Lead\" set {EXTRA} = Company where Id > '00QCt0000000003'")
                return "a field appears"
            case 2:
                store.retype_field("Lead", EXTRA, "picklist")
                return "a field changes its type"
        store.remove_field("Lead", EXTRA)
        return "a field disappears"

    def shown(self) -> list[Version]:
        return [
            Version(
                (name, row["Id"]),
                _mark(name, row),
                {
                    field: _text(row[field])
                    for field in ("Id", _MARKED[name], "SystemModstamp", EXTRA)
                    if field in row
                },
                datetime.fromisoformat(row["SystemModstamp"]),
                bool(row.get("IsDeleted")),
            )
            for name in self.does
            for row in self.server.store.rows(name, with_deleted=True)
        ]

    def landed(self, stream: str, row: Mapping[str, str | None]) -> tuple[Key, str]:
        name = stream.removesuffix(".other")
        return (name, str(row["Id"])), _mark(name, row)

    def strike(self, fault: str, nth: int) -> None:
        add: Callable[..., Any] = self.server.faults.add
        match fault:
            case "session ended":
                add(nth=nth, effects=["expire_tokens"])
            case "calls used up":
                add(nth=nth, effects=["exhaust_calls"])
            case _:
                add(nth=nth, status=503, json=[{"errorCode": fault, "message": "x"}])

    def struck(self) -> bool:
        return any(times for _fault, times in self.server.faults.fired())

    def calm(self) -> None:
        self.server.faults.clear()


def _mark(name: str, row: Mapping[str, Any]) -> str:
    """A merge changes nothing of the winner but its stamp."""
    return f"{row[_MARKED[name]]} {row['SystemModstamp']}"


def _text(value: Any) -> str | None:
    return None if value is None else str(value)
