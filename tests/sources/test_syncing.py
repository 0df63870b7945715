"""The sync job as launchpad and sensor run it: what it is told, what it tells, and when a connector's time has come."""

from datetime import UTC, datetime, timedelta
from typing import Any

import dagster as dg
import pytest

from orchestration.automation.syncing import CONNECTOR_TAG, connector_syncs, sync_connector
from orchestration.control_plane import connectors, database
from orchestration.control_plane.connectors import Connector
from orchestration.control_plane.workspaces import Workspace
from orchestration.lake.credentials import CredentialBroker
from orchestration.lake.objects import WorkspaceStore
from orchestration.settings import Settings
from tests.sources.conftest import EVENTS, PASSWORD, Connect, SourceDatabase, state_of
from tests.sources.test_access import dump

T0 = datetime(2024, 3, 1, tzinfo=UTC)


@pytest.fixture
def settings(installation: Settings, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setenv("CASETRAIL_HOME", str(installation.home))
    monkeypatch.setenv("CASETRAIL_CONNECTOR_INTERNAL_HOSTS", '["localhost", "127.0.0.1"]')
    monkeypatch.setenv("CASETRAIL_SECRET_KEY", "k" * 32)
    return Settings(home=installation.home)  # type: ignore[call-arg]


@pytest.fixture
def instance() -> Any:
    with dg.DagsterInstance.ephemeral() as made:
        yield made


@pytest.fixture
def connector(connect: Connect, source_database: SourceDatabase) -> Connector:
    source_database.owner.execute(EVENTS)
    source_database.add_events((1, "a", "new", T0, T0), (2, "a", "paid", T0, T0))
    return connect()


def requests(instance: dg.DagsterInstance, connector: Connector) -> list[dg.RunRequest]:
    """What the sensor asks for this connector."""
    found = connector_syncs(dg.build_sensor_context(instance=instance))
    asked = [r for r in found if isinstance(r, dg.RunRequest)]  # type: ignore[union-attr]
    return [request for request in asked if request.tags[CONNECTOR_TAG] == connector.id]


def launch(instance: dg.DagsterInstance, request: dg.RunRequest) -> dg.ExecuteInProcessResult:
    return sync_connector.execute_in_process(
        instance=instance, run_config=request.run_config, tags=request.tags, raise_on_error=False
    )


def move(settings: Settings, connector: Connector, by: timedelta) -> None:
    """Let the next sync be so long from now."""
    with database.as_system(settings.system_dsn, connector.workspace_id) as connection:
        connectors.set_next_sync(connection, connector.workspace_id, connector.id, datetime.now(UTC) + by)


def test_a_connector_is_synced_when_its_time_has_come_and_not_before(
    settings: Settings, instance: dg.DagsterInstance, connector: Connector
) -> None:
    (request,) = requests(instance, connector)
    done = launch(instance, request)
    assert done.success
    (handled,) = [e for e in done.all_events if e.event_type_value == "STEP_OUTPUT"]
    metadata = handled.step_output_data.metadata
    assert {name: metadata[name].value for name in ("records", "landed", "pulls")} == {
        "records": 2, "landed": 2, "pulls": 1,
    }  # fmt: skip
    after = state_of(settings, connector)
    assert after.last_sync_at is not None
    assert after.next_sync_at is not None
    assert timedelta(0) < after.next_sync_at - datetime.now(UTC) <= timedelta(hours=1)
    assert requests(instance, connector) == []
    move(settings, connector, -timedelta(seconds=1))
    assert len(requests(instance, connector)) == 1
    with database.as_system(settings.system_dsn, connector.workspace_id) as connection:
        connectors.set_status(connection, connector.workspace_id, connector.id, "error")
    assert requests(instance, connector) == []


def test_a_connector_that_is_being_synced_is_not_started_again(
    instance: dg.DagsterInstance, connector: Connector
) -> None:
    (request,) = requests(instance, connector)
    run = instance.create_run_for_job(sync_connector, tags=request.tags, run_config=request.run_config)
    instance.report_run_canceling(run)
    assert requests(instance, connector) == []
    instance.report_run_canceled(run)
    assert len(requests(instance, connector)) == 1


def test_a_failed_sync_fails_its_run_with_the_reason_alone_and_no_secret_is_stored(
    settings: Settings,
    installation: Settings,
    workspace: Workspace,
    instance: dg.DagsterInstance,
    connector: Connector,
    source_database: SourceDatabase,
) -> None:
    (request,) = requests(instance, connector)
    launch(instance, request)
    source_database.owner.execute("alter table events rename to other")
    failed = launch(instance, request)
    assert not failed.success
    (event,) = failed.get_step_failure_events()
    assert "does not exist" in str(event.step_failure_data.error)
    assert state_of(settings, connector).status == "error"
    stored = [str(record) for run in instance.get_runs() for record in instance.all_logs(run.run_id)]
    stored += [f"{run.run_config} {run.tags}" for run in instance.get_runs()]
    assert len(stored) > 10
    assert PASSWORD not in "".join(stored)
    assert PASSWORD.encode() not in dump(settings, installation)
    broker = CredentialBroker(settings).for_workspace(workspace.id, workspace.region)
    kept = [WorkspaceStore(broker).get(entry.key) for entry in WorkspaceStore(broker).list()]
    assert len(kept) > 3
    assert PASSWORD.encode() not in b"".join(kept)
    assert connector.id in "".join(stored)


def test_the_job_is_told_which_connector_and_nothing_of_its_configuration(
    instance: dg.DagsterInstance,
    workspace: Workspace,
    connector: Connector,
) -> None:
    (request,) = requests(instance, connector)
    assert request.run_config == {
        "ops": {"sync": {"config": {"workspace": workspace.slug, "connector": connector.id}}}
    }
    assert request.tags == {CONNECTOR_TAG: connector.id}
