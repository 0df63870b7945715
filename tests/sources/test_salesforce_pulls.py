"""The sample company's org, synced into PostgreSQL and S3: its log is in the events, and no address is anywhere."""

import csv
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from pydantic import SecretStr

from casetrail_testkit import SalesforceServer
from casetrail_testkit.salesforce.catalog import Field
from casetrail_testkit.salesforce.ids import record_id
from orchestration.control_plane import database, pulls
from orchestration.control_plane.connectors import Connector
from orchestration.control_plane.workspaces import Workspace
from orchestration.demo.lead_to_cash import write_lead_to_cash
from orchestration.demo.vendor_records import STAGES, salesforce_records
from orchestration.lake import layout
from orchestration.settings import Settings
from orchestration.sources.types.salesforce import bulk, reading
from orchestration.stages.opening import OpenedWorkspace, open_workspace
from orchestration.stages.pulls import Synced, sync
from orchestration.stages.refresh import refresh_stale
from orchestration.stages.source_access import add_source, check_source
from tests.sources.conftest import state_of

Log = list[dict[str, str]]


@pytest.fixture
def log(tmp_path: Path) -> Log:
    path = tmp_path / "log.csv"
    write_lead_to_cash(path, cases=60, months=2, cut_at_end=True)
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture
def org(log: Log) -> Iterator[SalesforceServer]:
    with SalesforceServer() as server:
        for name, records in salesforce_records(log, record_id).items():
            for field in records[0]:
                if not server.store.object(name).has(field):
                    server.store.add_field(name, Field(field))
            server.store.load(name, list(records[0]), (record.values() for record in records))
        yield server
        assert server.failures == []


class Tenant:
    """A workspace with a connector to the org."""

    def __init__(self, settings: Settings, workspace: Workspace, org: SalesforceServer) -> None:
        self.settings, self.workspace, self.org = settings, workspace, org
        config = {"url": org.url, "client_id": org.sessions.consumer_key, "user_names": True}
        secrets = {"client_secret": SecretStr(org.sessions.consumer_secret)}
        with database.as_user(settings.app_dsn, settings.operator) as connection:
            made = add_source(connection, settings, workspace.id, "salesforce", "crm", config, secrets)
        check_source(settings, workspace, made, enable=True)
        self._made = made

    @property
    def connector(self) -> Connector:
        return state_of(self.settings, self._made)

    def sync(self) -> Synced:
        return sync(self.settings, self.workspace, self.connector, sleep=lambda _seconds: None)

    def opened(self) -> Any:
        return open_workspace(self.settings, self.workspace.slug, "run")

    def texts(self, opened: OpenedWorkspace, folder: Path) -> Iterator[str]:
        """Everything that was stored of the pulls: originals and manifests."""
        with database.as_system(self.settings.system_dsn, self.workspace.id) as connection:
            made = pulls.list_pulls(connection, self.workspace.id, self._made.id)
        for pull in made:
            yield opened.store.get(
                layout.pull_manifest_key(self.workspace.id, self._made.id, pull.id)
            ).decode()
            for part in pull.parts:
                path = folder / "original.parquet"
                opened.store.download(layout.original_key(self.workspace.id, part["sha256"]), path)
                yield str(pq.read_table(path).to_pylist())


@pytest.fixture
def tenant(settings: Settings, workspace: Workspace, org: SalesforceServer) -> Tenant:
    return Tenant(settings, workspace, org)


@pytest.mark.parametrize("by", ["REST", "Bulk"])
def test_the_log_of_the_sample_company_is_in_the_events_by_case(
    tenant: Tenant, log: Log, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, by: str
) -> None:
    if by == "Bulk":
        monkeypatch.setattr(reading, "REST_ROWS", 20)
        monkeypatch.setattr(bulk, "PAGE_ROWS", 50)
        monkeypatch.setattr(bulk, "FIRST_PAUSE", 0.0)
    done = tenant.sync()
    assert done.total("quarantined") == 0
    assert tenant.sync().pulls == []
    with tenant.opened() as opened:
        list(refresh_stale(opened.bench, opened.store))
        urls = [opened.bench.tree.url(file) for file in opened.bench.tree.files("events").values()]
        with opened.bench.session() as session:
            rows = session.execute(
                f"""
                select global_case_id, activity, strftime(timestamp, '%Y-%m-%dT%H:%M:%SZ'), resource_id,
                       attributes->>'Region__c'
                from read_parquet({urls})
                """
            ).fetchall()
        texts = "".join(tenant.texts(opened, tmp_path))
    names = {f"Opportunity: {stage}": activity for activity, (stage, _) in STAGES.items()}
    names |= {"Lead created": "Lead created", "Lead: Qualified": "Qualify lead"}
    wanted = [row for row in log if row["activity"] in names.values()]
    told = Counter((names[activity], at, who) for _, activity, at, who, _ in rows if activity in names)
    assert told == Counter((row["activity"], row["timestamp"], row["resource"]) for row in wanted)
    # A lead and the opportunity that it became are one case.
    assert len({case for case, *_ in rows}) == len({row["case_id"] for row in wanted})
    regions = {region for _, activity, _, _, region in rows if activity == "Opportunity created"}
    assert regions == {row["region"] for row in wanted if row["activity"] in STAGES}
    for secret in ("@customer", "Person 1", tenant.org.sessions.consumer_secret, "Bearer"):
        assert secret not in texts


def test_a_sync_of_a_busy_org_goes_on_by_itself_and_stops_at_the_quota(tenant: Tenant) -> None:
    org = tenant.org
    org.faults.add(path="FROM Opportunity WHERE", times=2, status=503)
    org.faults.add(path="FROM LeadHistory", effects=["expire_tokens"])
    org.faults.add(path="FROM OpportunityContactRole", effects=["exhaust_calls"])
    stopped = tenant.sync()
    assert "Goes on after" in (stopped.stopped or "")
    assert tenant.connector.status == "connected"
    org.clock.advance(90_000)
    org.faults.clear()
    tenant.sync()
    with tenant.opened() as opened:
        made = pull_streams(tenant, opened)
    wanted = {
        name: len(org.store.rows(name))
        for name in ("Lead", "Opportunity", "OpportunityContactRole", "Contact")
    }
    assert {name: made[name] for name in wanted} == wanted


def pull_streams(tenant: Tenant, opened: OpenedWorkspace) -> Counter[str]:
    """Rows of the originals by stream."""
    with database.as_system(tenant.settings.system_dsn, tenant.workspace.id) as connection:
        made = pulls.list_pulls(connection, opened.workspace.id, tenant.connector.id)
    rows = Counter[str]()
    for pull in made:
        for part in pull.parts:
            rows[part["stream"]] += part["rows"]
    return rows
