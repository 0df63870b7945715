"""A Marketo connector is synced into an installation: pulls, raw files, events, and what a sync survives."""

import csv
import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from pydantic import SecretStr

from casetrail_testkit import MarketoServer
from orchestration.cli.demo_serve import fill_marketo
from orchestration.control_plane import arrivals, database, pulls
from orchestration.control_plane.connectors import Connector
from orchestration.control_plane.pulls import Pull
from orchestration.control_plane.workspaces import Workspace
from orchestration.demo.lead_to_cash import write_lead_to_cash
from orchestration.lake import layout
from orchestration.lake.credentials import CredentialBroker
from orchestration.lake.objects import WorkspaceStore
from orchestration.settings import Settings
from orchestration.sources.types.marketo import reading
from orchestration.stages.events import stage_events
from orchestration.stages.opening import open_workspace
from orchestration.stages.pulls import Synced, sync
from orchestration.stages.raw import check_raw
from orchestration.stages.source_access import add_source, check_source
from tests.sources.conftest import state_of
from tests.sources.marketo_puller import config_of


class Tenant:
    """A workspace with a connector to the subscription, and what came of it."""

    def __init__(self, settings: Settings, workspace: Workspace, marketo: MarketoServer) -> None:
        self.settings, self.workspace, self.marketo = settings, workspace, marketo
        self.store = WorkspaceStore(CredentialBroker(settings).for_workspace(workspace.id, workspace.region))

    def connect(self, **changes: Any) -> Connector:
        config = config_of(self.marketo, **changes).model_dump(mode="json", exclude_unset=True)
        secrets = {"client_secret": SecretStr(self.marketo.identity.client_secret)}
        del config["client_secret"]
        with database.as_user(self.settings.app_dsn, self.settings.operator) as connection:
            made = add_source(
                connection, self.settings, self.workspace.id, "marketo", "marketing", config, secrets
            )
        check_source(self.settings, self.workspace, made, enable=True)
        return state_of(self.settings, made)

    def sync(self, connector: Connector) -> Synced:
        return sync(
            self.settings,
            self.workspace,
            state_of(self.settings, connector),
            sleep=self.marketo.clock.advance,
        )

    def pulls(self, connector: Connector) -> list[Pull]:
        with database.as_system(self.settings.system_dsn, self.workspace.id) as connection:
            return pulls.list_pulls(connection, self.workspace.id, connector.id)[::-1]

    def raw(self) -> list[dict[str, Any]]:
        with database.as_system(self.settings.system_dsn, self.workspace.id) as connection:
            files = arrivals.list_landed_files(connection, self.workspace.id, "raw")
        return [row for file in files for row in self.rows(file.object_key)]

    def parts(self, connector: Connector, stream: str, kind: str) -> list[dict[str, Any]]:
        found = [part for pull in self.pulls(connector) for part in pull.parts]
        wanted = [part for part in found if (part["stream"], part["kind"]) == (stream, kind)]
        keys = [layout.original_key(self.workspace.id, part["sha256"]) for part in wanted]
        return [row for key in keys for row in self.rows(key)]

    def rows(self, key: str) -> list[dict[str, Any]]:
        path = self.settings.home / "fetched.parquet"
        self.store.download(key, path)
        return pq.read_table(path).to_pylist()


@pytest.fixture
def tenant(settings: Settings, workspace: Workspace, marketo: MarketoServer) -> Tenant:
    return Tenant(settings, workspace, marketo)


def test_the_sample_companys_marketing_becomes_events(
    tenant: Tenant, marketo: MarketoServer, tmp_path: Path
) -> None:
    write_lead_to_cash(tmp_path / "log.csv", cases=100, cut_at_end=True)
    with (tmp_path / "log.csv").open(encoding="utf-8", newline="") as file:
        log = list(csv.DictReader(file))
    loaded = fill_marketo(marketo, log)
    first = min(row["activityDate"] for row in marketo.store.activities())
    connector = tenant.connect(start=first)
    done = tenant.sync(connector)
    types = len(marketo.store.types)
    assert (done.total("landed"), done.total("quarantined")) == (loaded["activity"], 0)
    assert done.total("non_event") == loaded["lead"] + types
    assert done.total("records") == done.total("landed") + done.total("non_event") + done.total("duplicate")
    assert {int(row["marketoGUID"]) for row in tenant.raw()} == {
        row["id"] for row in marketo.store.activities()
    }
    leads, stored = tenant.parts(connector, "leads", "records"), marketo.store.leads()
    assert [row["sfdcLeadId"] for row in leads] == [row["sfdcLeadId"] for row in stored]
    assert "@" not in json.dumps(leads)
    token = str(marketo.identity._token)
    for pull in tenant.pulls(connector):
        key = layout.pull_manifest_key(tenant.workspace.id, connector.id, pull.id)
        manifest = tenant.store.get(key).decode()
        assert not [s for s in (token, marketo.identity.client_secret, "@") if s in manifest]
        assert json.loads(manifest)["state"] == pull.state
    marketo.clock.advance(3_600)
    again = tenant.sync(connector)
    assert again.total("records") == again.total("duplicate")
    with open_workspace(tenant.settings, tenant.workspace.slug, "run") as opened:
        months = sorted({row["activityDate"][:7] for row in marketo.store.activities()})
        check_raw(opened.bench, months, opened.store)
        events = stage_events(opened.bench, months)
    assert sum(month.rows for month in events) == loaded["activity"]
    (event, *_) = tenant.rows(str(events[0].object_key))
    assert (event["system"], event["activity"] in marketo.store.types) == ("marketo", True)


def test_a_sync_goes_on_after_a_dead_token_a_death_and_a_used_up_day(
    tenant: Tenant, marketo: MarketoServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "PAGE_ROWS", 20)
    monkeypatch.setattr(reading, "CHECKPOINT_ROWS", 60)
    leads = [marketo.store.create_lead({"email": f"p{n}@acme.example"}) for n in range(3)]
    for number in range(200):
        marketo.store.log_activity("Click Email", leads[0], {"Link": f"https://x/{number}"})
    marketo.store.merge_leads(leads[0], [leads[1]])
    marketo.store.delete_lead(leads[2])
    marketo.clock.advance(1)
    connector = tenant.connect()

    # The file breaks off, and the token is dead when its rest is asked for.
    marketo.faults.add(path="activities/export/.*file", drop_after=5_000)
    marketo.faults.add(path="activities/export/.*file", nth=2, effects=["expire_tokens"])
    enter, entered = pulls.enter_pull, list[int]()

    def dying(*arguments: Any) -> None:
        enter(*arguments)
        entered.append(1)
        if len(entered) == 3:
            raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(pulls, "enter_pull", dying)
        with pytest.raises(KeyboardInterrupt):
            tenant.sync(connector)
    marketo.limits.calls.exhaust()
    stopped = tenant.sync(connector)
    assert (stopped.pulls, "Goes on after 2026-03-05 06:00 UTC" in str(stopped.stopped)) == ([], True)
    assert state_of(tenant.settings, connector).status == "connected"
    marketo.clock.advance(86_400)
    tenant.sync(connector)
    landed = sorted(int(row["marketoGUID"]) for row in tenant.raw())
    assert landed == [row["id"] for row in marketo.store.activities()]
    assert [row["loser"] for row in tenant.parts(connector, "merges", "records")] == ["2"]
    assert sorted(row["id"] for row in tenant.parts(connector, "leads", "tombstones")) == ["2", "3"]
    # The fault of the connection hit, and no export was made twice for one window.
    assert 0 in [request.status for request in marketo.requests]
    spans = [p.state["activities"]["export"] for p in tenant.pulls(connector)]
    assert len({span["id"] for span in spans if span}) == len({span["from"] for span in spans if span})
