"""The bench of ``salesforce``: a made-up org of the test kit."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, ClassVar

import pytest
from pydantic import SecretStr

from casetrail_testkit import Clock, SalesforceServer
from casetrail_testkit.salesforce import rest as served
from casetrail_testkit.salesforce.catalog import Field
from orchestration.settings import Settings
from orchestration.sources.errors import QuotaExhausted, TransientError
from orchestration.sources.types import salesforce
from orchestration.sources.types.salesforce import bulk, reading
from orchestration.sources.types.salesforce.standard import OTHER
from tests.sources.conformance.bench import Key, Outcomes, SourceBench, Version

OVERLAP = 300
LAG = 30
LEAD = "00QCt0000000001MAA"
BEGAN = datetime(2024, 1, 1, tzinfo=UTC)

_MARKS = {
    "Lead": "Company",
    "CampaignMember": "Status",
    "LeadHistory": "NewValue",
    "OpportunityHistory": "ForecastCategory",
}
"""What of a record differs in each version."""

_VOUCHED = {
    "Lead": ("Id", "Company", "Status", "IsDeleted", "MasterRecordId", "SystemModstamp", "Extra__c"),
    "CampaignMember": ("Id", "LeadId", "Status", "SystemModstamp"),
    "LeadHistory": ("Id", "LeadId", "Field", "OldValue", "NewValue", "CreatedDate"),
    "OpportunityHistory": ("Id", "OpportunityId", "StageName", "ForecastCategory", "SystemModstamp"),
}
_FAULTS: Mapping[str, tuple[dict[str, Any], Outcomes]] = {
    "token expired": ({"effects": ("expire_tokens",)}, (None,)),
    "hours pass": ({"advance_seconds": 8_000}, (None,)),
    "slow": ({"delay_seconds": 0.02}, (None,)),
    "busy": ({"status": 503}, (TransientError,)),
    "busy for a time": ({"status": 503, "headers": {"Retry-After": "7"}}, (TransientError,)),
    "a page of HTML": ({"status": 200, "text": "<html>Down for maintenance</html>"}, (TransientError,)),
    "nothing": ({"status": 200, "text": ""}, (TransientError,)),
    "hung up": ({"drop_after": 0}, (TransientError,)),
    "connection lost": ({"drop_after": 25}, (TransientError,)),
    "cut short": ({"truncate_after": 20}, (TransientError,)),
    "calls used up": ({"effects": ("exhaust_calls",)}, (QuotaExhausted, None)),
    "Bulk jobs used up": ({"effects": ("exhaust_bulk_jobs",)}, (QuotaExhausted, None)),
    "pages forgotten": ({"effects": ("forget_cursors",)}, (TransientError, None)),
    "Bulk job fails": ({"effects": ("fail_next_bulk_job",)}, (TransientError, None)),
    "object refused": (
        {
            "path": "FROM Lead |/Lead/",
            "times": 0,
            "status": 403,
            "json": [{"errorCode": "INSUFFICIENT_ACCESS", "message": "no"}],
        },
        (TransientError,),
    ),
}


class Bench(SourceBench):
    """Leads, their field history, members of campaigns, of which a deletion leaves no trace, and stages."""

    of = "salesforce"
    does: ClassVar = {
        "Lead": frozenset({"create", "update", "delete", "merge", "late"}),
        "CampaignMember": frozenset({"create", "update", "late"}),
        "LeadHistory": frozenset({"create", "late"}),
        "OpportunityHistory": frozenset({"create", "late"}),
    }
    faults: ClassVar[Mapping[str, Outcomes]] = {name: outcomes for name, (_, outcomes) in _FAULTS.items()}
    lag = LAG
    longest_commit = OVERLAP

    def __init__(self) -> None:
        self._server = SalesforceServer(clock=Clock(BEGAN)).start()
        self._number = self._drifts = 0

    @classmethod
    @contextmanager
    def opened(cls, installation: Settings) -> Iterator[SourceBench]:
        bench = cls()
        yield bench
        bench.close()

    def close(self) -> None:
        """Stop the org. It has made no mistake of its own."""
        self._server.stop()
        assert self._server.failures == []

    @staticmethod
    def shrink(patch: pytest.MonkeyPatch) -> None:
        patch.setattr(served, "PAGE_ROWS", 3)
        patch.setattr(salesforce, "CHECKPOINT_ROWS", 5)
        patch.setattr(reading, "REST_ROWS", 4)
        patch.setattr(reading, "BULK_WINDOW_ROWS", 8)
        patch.setattr(reading, "WHOLE_WINDOW_ROWS", 6)
        patch.setattr(bulk, "PAGE_ROWS", 3)
        patch.setattr(bulk, "FIRST_PAUSE", 0.0)

    def reset(self, now: datetime) -> None:
        self.close()
        self.__init__()  # type: ignore[misc]
        self._server.clock.set(now)
        self._opportunity = self._new_opportunity()

    @property
    def secrets(self) -> Mapping[str, SecretStr]:  # type: ignore[override]
        """The consumer's."""
        return {"client_secret": SecretStr(self._server.sessions.consumer_secret)}

    def config(self) -> dict[str, Any]:
        return {
            "url": self._server.url,
            "client_id": self._server.sessions.consumer_key,
            "streams": list(self.does),
            "lag_seconds": LAG,
            "overlap_seconds": OVERLAP,
        }

    def now(self) -> datetime:
        return self._server.clock.now()

    def advance(self, seconds: float) -> None:
        self._server.clock.advance(seconds)

    def create(self, stream: str, mark: str, commits_in: int = 0) -> Key:
        self._number += 1
        values: dict[str, Any] = {_MARKS[stream]: mark}
        if stream == "Lead":
            values |= {"LastName": "Doe", "Status": "Open", **self._extra(mark)}
        elif stream == "CampaignMember":
            values["LeadId"] = LEAD
        elif stream == "LeadHistory":
            values |= {"LeadId": LEAD, "Field": "Status", "OldValue": "Open"}
        else:
            # Of two neighbours the second is a change of the stage or not.
            stage = "Closed" if self._number % 3 else "Open"
            # A change under way locks its opportunity, so that the rows of one are seen in their order.
            of = self._new_opportunity() if commits_in else self._opportunity
            values |= {"OpportunityId": of, "StageName": stage}
        return stream, self._server.store.create(stream, values, commits_in=commits_in)

    def _new_opportunity(self) -> str:
        return self._server.store.create("Opportunity", {"Name": "One", "StageName": "Open"})

    def update(self, key: Key, mark: str, commits_in: int = 0) -> None:
        stream, record = key
        values = {_MARKS[stream]: mark} | (self._extra(mark) if stream == "Lead" else {})
        self._server.store.update(stream, record, values, commits_in=commits_in)

    def delete(self, key: Key, commits_in: int = 0) -> None:
        self._server.store.delete(*key, commits_in=commits_in)

    def merge(self, winner: Key, loser: Key, commits_in: int = 0) -> None:
        self._server.store.merge(winner[0], winner[1], loser[1], commits_in=commits_in)

    def drift(self) -> str:
        self._drifts += 1
        store = self._server.store
        match self._drifts % 3:
            case 1:
                store.add_field("Lead", Field("Extra__c", "string"))
                store.tables.write("update \"Lead\" set Extra__c = Company where Id > '00QCt0000000003'")
                return "Extra__c appears"
            case 2:
                store.retype_field("Lead", "Extra__c", "picklist")
                return "Extra__c becomes another type"
            case _:
                store.remove_field("Lead", "Extra__c")
                return "Extra__c disappears"

    def _extra(self, mark: str) -> dict[str, Any]:
        return {"Extra__c": f"extra {mark}"} if self._drifts % 3 else {}

    def shown(self) -> list[Version]:
        return [
            self._version(stream, row)
            for stream in self.does
            for row in self._server.store.rows(stream, with_deleted=True)
        ]

    def _version(self, stream: str, row: Mapping[str, Any]) -> Version:
        values = {name: _text(row[name]) for name in _VOUCHED[stream] if name in row}
        at = datetime.fromisoformat(values.get("SystemModstamp") or str(values.get("CreatedDate")))
        return Version((stream, row["Id"]), _mark(stream, values), values, at, bool(row.get("IsDeleted")))

    def landed(self, stream: str, row: Mapping[str, str | None]) -> tuple[Key, str]:
        stream = stream.removesuffix(OTHER)
        return (stream, str(row["Id"])), _mark(stream, row)

    def strike(self, fault: str, nth: int) -> None:
        self._server.faults.add(**{"nth": nth, **_FAULTS[fault][0]})

    def struck(self) -> bool:
        return any(hit for _, hit in self._server.faults.fired())

    def calm(self) -> None:
        self._server.faults.clear()


def _mark(stream: str, row: Mapping[str, str | None]) -> str:
    """A merge changes the winner's stamp alone."""
    return f"{row[_MARKS[stream]]} {row.get('SystemModstamp')}"


def _text(value: Any) -> str | None:
    if isinstance(value, bool):
        return "true" if value else "false"
    return None if value in (None, "") else str(value)
