"""A tick's look at the workspaces that need one, over the real control plane and without Dagster."""

from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest

from orchestration.automation.looks import look_at_due, settle
from orchestration.automation.planner import RunPlan, plan_run
from orchestration.control_plane import arrivals, connectors, database, jobs, workspaces
from orchestration.control_plane.arrivals import ArrivalFile, NewArrival
from orchestration.control_plane.migrate import migrate
from orchestration.control_plane.users import ensure_operator
from orchestration.control_plane.workspaces import Workspace
from orchestration.settings import Settings
from orchestration.stages.release import WorkingTreeState

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)


@pytest.fixture(scope="module")
def ledgers(empty_database: Settings) -> Settings:
    migrate(empty_database.owner_dsn)
    ensure_operator(empty_database.owner_dsn, empty_database.operator)
    return empty_database


def create(settings: Settings, slug: str) -> Workspace:
    with database.as_user(settings.app_dsn, settings.operator) as connection:
        return workspaces.create_workspace(connection, slug, "EU", "pro", "ann@acme.test", slug)


def land(settings: Settings, workspace: Workspace, month: str, sha: str = "a") -> None:
    with database.as_system(settings.system_dsn, workspace.id) as connection:
        found = connectors.list_connectors(connection, workspace.id)
    if not found:
        with database.as_user(settings.app_dsn, settings.operator) as connection:
            found = [connectors.ensure_connector(connection, workspace.id, "csv_upload", "uploads")]
    arrival_id = f"00000000-0000-0000-0000-{sha * 12}"
    file = ArrivalFile(arrival_id, "raw", month, f"raw/{month}/{sha}", 1, 1, sha * 64, {})
    with database.as_system(settings.system_dsn, workspace.id) as connection:
        new = NewArrival(
            workspace_id=workspace.id, id=arrival_id, connector_id=found[0].id,
            sha256=sha * 64, file_name="f.csv", format="csv", bytes=1, mapping={"system": "csv_upload"},
            schema_fingerprint="f", columns=[{"name": "case", "type": "text"}], records=1, landed=1, non_event=0,
            quarantined=0, files=[file],
        )  # fmt: skip
        arrivals.register_landed(connection, new)


@pytest.fixture
def acme(ledgers: Settings, request: pytest.FixtureRequest) -> Workspace:
    return create(ledgers, f"a{abs(hash(request.node.name)) % 10**8}")


def of(slug: str, found: list[Any]) -> Any:
    (look,) = [look for look in found if look.mark.slug == slug]
    return look


def test_an_empty_workspace_is_looked_at_once(ledgers: Settings, acme: Workspace) -> None:
    found = of(acme.slug, look_at_due(ledgers, plan_run, NOW))
    assert (found.plan, found.requested, found.first) == (None, False, True)
    assert look_at_due(ledgers, plan_run, NOW) == []


def test_what_landed_is_planned_once_and_tried_again_when_its_run_left_it(
    ledgers: Settings, acme: Workspace
) -> None:
    land(ledgers, acme, "2024-02")
    first = of(acme.slug, look_at_due(ledgers, plan_run, NOW))
    assert first.requested
    assert (first.plan.kind, first.plan.first, first.plan.last) == ("refresh", "2024-02", "2024-02")
    assert look_at_due(ledgers, plan_run, NOW, busy=[acme.slug]) == [], "its run is under way"
    second = of(acme.slug, look_at_due(ledgers, plan_run, NOW))
    assert (second.requested, second.mark.attempts) == (True, 2)
    third = of(acme.slug, look_at_due(ledgers, plan_run, NOW))
    assert (third.requested, third.mark.not_before) == (False, NOW + timedelta(minutes=1))
    assert look_at_due(ledgers, plan_run, NOW) == [], "it waits"
    daily = of(acme.slug, look_at_due(ledgers, plan_run, NOW, at_once=True))
    assert daily.requested


def test_an_arrival_that_comes_while_a_plan_waits_makes_another_plan(
    ledgers: Settings, acme: Workspace
) -> None:
    land(ledgers, acme, "2024-02", "c")
    for _ in range(3):
        waiting = of(acme.slug, look_at_due(ledgers, plan_run, NOW))
    assert not waiting.requested
    land(ledgers, acme, "2024-05", "d")
    found = of(acme.slug, look_at_due(ledgers, plan_run, NOW))
    assert (found.requested, found.mark.attempts, found.plan.last) == (True, 1, "2024-05")
    assert found.mark.stale_since == waiting.mark.stale_since


def test_a_change_during_the_look_is_not_lost(ledgers: Settings, acme: Workspace) -> None:
    landed = []

    def planner(state: WorkingTreeState, released: str | None) -> RunPlan | None:
        if not landed:
            land(ledgers, acme, "2024-03", "b")
        landed.append(state)
        return plan_run(state, released)

    assert of(acme.slug, look_at_due(ledgers, planner, NOW)).plan is None
    assert of(acme.slug, look_at_due(ledgers, plan_run, NOW)).requested


def test_a_job_left_running_without_a_release_stays_so_and_with_one_is_ended(
    ledgers: Settings, acme: Workspace
) -> None:
    with database.as_system(ledgers.system_dsn, acme.id) as connection:
        job = jobs.start(connection, acme.id, jobs.standing_job(connection, acme.id).id)
    settle(ledgers, look_at_due(ledgers, plan_run, NOW))
    with database.as_system(ledgers.system_dsn, acme.id) as connection:
        assert jobs.standing_job(connection, acme.id).status == "running"
        connection.execute(
            "insert into provenance (workspace_id, analysis_id, etl_steps, schemas, mining_config,"
            " explainability_config, as_of, content_sha256)"
            " values (%s, %s, '[]', '{}', '{}', '{}', now(), repeat('a', 64))",
            (acme.id, job.id),
        )
        connection.execute(
            "update analysis_jobs set provenance_id = (select id from provenance where analysis_id = %s)"
            " where id = %s",
            (job.id, job.id),
        )
    settle(ledgers, look_at_due(ledgers, lambda _state, _content: None, NOW))
    with database.as_system(ledgers.system_dsn, acme.id) as connection:
        assert jobs.standing_job(connection, acme.id).status == "succeeded"


@pytest.fixture
def statements(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Every statement that is sent, by connections and cursors alike."""
    sent: list[Any] = []
    execute = psycopg.Cursor.execute

    def counted(self: Any, query: Any, *arguments: Any, **options: Any) -> Any:
        sent.append(query)
        return execute(self, query, *arguments, **options)

    monkeypatch.setattr(psycopg.Cursor, "execute", counted)
    return sent


def test_the_number_of_queries_does_not_grow_with_the_workspaces(
    ledgers: Settings, statements: list[Any]
) -> None:
    look_at_due(ledgers, plan_run, NOW)

    def queries(count: int, letter: str) -> int:
        made = [create(ledgers, f"{letter}{number}") for number in range(count)]
        for workspace in made:
            land(ledgers, workspace, "2024-02")
        statements.clear()
        found = look_at_due(ledgers, plan_run, NOW)
        assert {w.slug for w in made} <= {look.mark.slug for look in found}
        return len(statements)

    few, many = queries(2, "few"), queries(20, "many")
    assert few == many


def test_at_rest_a_tick_is_one_query(ledgers: Settings, statements: list[Any]) -> None:
    while look_at_due(ledgers, lambda _state, _content: None, NOW):
        pass
    statements.clear()
    assert look_at_due(ledgers, plan_run, NOW) == []
    assert len([query for query in statements if "from planner_marks" in str(query)]) == 1
    assert len(statements) <= 3, "beside it, only who acts and in which time zone"
