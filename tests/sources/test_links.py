"""Cases that cross systems, over the real registry and S3: from pulls to a release that can be replayed."""

from dataclasses import replace
from typing import Any

import psycopg
import pytest
from pydantic import SecretStr
from typer.testing import CliRunner

import orchestration.cli.workspace
from orchestration.automation.planner import plan_run
from orchestration.cli import app
from orchestration.control_plane import connectors, database
from orchestration.control_plane.workspaces import Workspace
from orchestration.settings import Settings
from orchestration.sources import registry
from orchestration.stages.opening import open_workspace
from orchestration.stages.publish import release_workspace
from orchestration.stages.pulls import sync
from orchestration.stages.refresh import refresh_stale
from orchestration.stages.replay import replay
from orchestration.stages.source_access import add_source, change_source, check_source
from orchestration.stages.survey import Surveyed, survey
from orchestration.stages.workbench import today
from tests.sources.conftest import PASSWORD, SourceDatabase, state_of

TABLES = """
create table steps (id bigint primary key, who text, what text, at timestamptz, changed timestamptz default now());
create table people (id text primary key, lead text, email text, changed timestamptz default now());
insert into steps (id, who, what, at) values
    (1, '7', 'visit', '2024-01-05'), (2, '00Q1', 'call', '2024-02-05'), (3, '00Q2', 'call', '2024-03-05'),
    (4, '8', 'visit', '2024-04-05');
insert into people (id, lead) values ('7', '00Q1'), ('8', null);
"""


def stream(name: str, key: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "table": f"public.{name}", "key": [key], "cursor": "changed", **more}


EVENTS = stream("steps", "id", events={"case_id": "who", "activity": "what", "timestamp": "at"})
PEOPLE = {
    "system": "shop",
    "record": "id",
    "key": ["id"],
    "same": [{"column": "lead", "system": "shop"}],
    "keys": ["email"],
}


class Shop:
    """A workspace that pulls the steps and the people of a shop's database."""

    def __init__(self, settings: Settings, workspace: Workspace, source: SourceDatabase) -> None:
        source.owner.execute(TABLES)
        self.settings, self.workspace, self.owner = settings, workspace, source.owner
        config = source.config(
            EVENTS,
            stream("people", "id"),
            system="shop",
            identity={"people": PEOPLE},
            personal={"people": {"email": "email"}},
        )
        with database.as_user(settings.app_dsn, settings.operator) as connection:
            made = add_source(
                connection,
                settings,
                workspace.id,
                "postgres",
                "shop",
                config,
                {"password": SecretStr(PASSWORD)},
            )
        check_source(settings, workspace, made, enable=True)
        self.connector = made

    def sync(self) -> None:
        sync(self.settings, self.workspace, state_of(self.settings, self.connector))

    def refresh(self) -> dict[str, str]:
        """Refresh and release; what became of each stale month of the events."""
        with open_workspace(self.settings, self.workspace.slug, "run") as opened:
            made = {o.month: o.state for o in list(refresh_stale(opened.bench, opened.store))[1]}
            (told,) = release_workspace(self.settings, opened, ["2024-01"], "run")
        self.told = told.stats
        return made

    def look(self) -> Surveyed:
        with database.as_planner(self.settings.system_dsn) as connection:
            return survey(connection, [self.workspace.id], today())[self.workspace.id]

    def paths(self) -> list[list[str]]:
        with open_workspace(self.settings, self.workspace.slug, "reader", exclusive=False) as opened:
            urls = [opened.bench.tree.url(file) for file in opened.bench.tree.files("events").values()]
            with opened.bench.session() as connection:
                rows = connection.execute(
                    f"""
                    select list(native_case_id || ' ' || activity order by timestamp) from read_parquet({urls})
                    group by global_case_id order by 1
                    """
                ).fetchall()
        return [path for (path,) in rows]

    def replays(self) -> bool:
        compared = replay(self.settings, self.workspace.slug)
        assert compared
        return all(file.agrees for file in compared)

    def mark(self) -> int:
        with psycopg.connect(self.settings.owner_dsn.get_secret_value()) as connection:
            connection.execute("set role casetrail_owner")
            (ledger,) = connection.execute(
                "select ledger from planner_marks where workspace_id = %s", (self.workspace.id,)
            ).fetchone() or (0,)
        return int(ledger)


@pytest.fixture
def shop(
    settings: Settings,
    workspace: Workspace,
    source_database: SourceDatabase,
    monkeypatch: pytest.MonkeyPatch,
) -> Shop:
    monkeypatch.setattr(orchestration.cli.workspace, "load_settings", lambda: settings)
    return Shop(settings, workspace, source_database)


APART = [["00Q1 call"], ["00Q2 call"], ["7 visit"], ["8 visit"]]
JOINED = [["00Q2 call"], ["7 visit", "00Q1 call"], ["8 visit"]]


def test_pulled_links_join_cases_and_the_release_can_be_replayed(shop: Shop) -> None:
    shop.sync()
    assert plan_run(shop.look().state, None).kind == "refresh"  # type: ignore[union-attr]
    shop.refresh()
    assert shop.paths() == JOINED
    assert (shop.told["cases_across_systems"], shop.told["joined_records"]) == (0, 1)
    found = shop.look()
    assert plan_run(found.state, found.released_content) is None
    assert shop.replays()


def test_a_link_that_comes_alone_makes_the_workspace_due_and_only_its_months_again(shop: Shop) -> None:
    shop.sync()
    shop.refresh()
    before = shop.mark()
    shop.owner.execute("update people set lead = '00Q2', changed = now() where id = '8'")
    shop.sync()
    assert shop.mark() > before
    found = shop.look()
    plan = plan_run(found.state, found.released_content)
    assert plan is not None
    assert (plan.kind, plan.first, plan.last) == ("arrival", "2024-01", "2024-04")
    made = shop.refresh()
    assert {month for month, state in made.items() if state == "made"} <= {"2024-03", "2024-04"}
    assert shop.paths() == [["00Q2 call", "8 visit"], ["7 visit", "00Q1 call"]]
    assert shop.replays()


def test_what_people_say_counts_and_is_shown(shop: Shop) -> None:
    shop.sync()
    shop.refresh()

    def casetrail(*arguments: str) -> str:
        ended = CliRunner().invoke(app, ["link", *arguments])
        assert ended.exit_code == 0, ended.output
        return ended.output

    slug = shop.workspace.slug
    casetrail("deny", slug, "shop:7", "shop:00Q1", "--reason", "two people of one name")
    assert "two people" in casetrail("list", slug)
    assert shop.replays()  # the release, as it was made
    shop.refresh()
    assert shop.paths() == APART
    assert shop.replays()
    casetrail("withdraw", slug, "shop:00Q1", "shop:7", "--reason", "it was one after all")
    casetrail("allow", slug, "shop:8", "shop:00Q2", "--reason", "she said so")
    shop.refresh()
    assert shop.paths() == [["00Q2 call", "8 visit"], ["7 visit", "00Q1 call"]]
    assert "manual" in casetrail("show", slug, "shop:8")
    assert CliRunner().invoke(app, ["link", "show", slug, "shop:unknown"]).exit_code == 1
    assert CliRunner().invoke(app, ["link", "show", slug, "no record"]).exit_code == 2


def test_what_is_capped_is_reported(shop: Shop) -> None:
    shop.owner.execute(
        "insert into people (id, email) select 'p' || n, 'group@acme.io' from generate_series(1, 9) as n"
    )
    shop.sync()
    shop.refresh()
    assert (shop.told["joins_refused"], shop.told["refused_joins"][0]["persons"]) == (1, 9)
    ended = CliRunner().invoke(app, ["link", "refused", shop.workspace.slug])
    assert "key_shared" in ended.output


def test_a_stream_that_is_given_an_identity_later_is_read_from_its_first_pull_on(shop: Shop) -> None:
    with database.as_user(shop.settings.app_dsn, shop.settings.operator) as connection:
        change_source(connection, shop.settings, shop.connector, {"identity": {}}, {})
    shop.sync()
    shop.refresh()
    assert shop.paths() == APART
    with database.as_user(shop.settings.app_dsn, shop.settings.operator) as connection:
        now = connectors.get_connector(connection, shop.workspace.id, shop.connector.id)
        change_source(connection, shop.settings, now, {"identity": {"people": PEOPLE}}, {})
    assert plan_run(shop.look().state, shop.look().released_content)
    shop.refresh()
    assert shop.paths() == JOINED


def test_a_refresh_that_dies_after_the_registry_was_written_is_made_up_for(shop: Shop) -> None:
    shop.sync()
    with open_workspace(shop.settings, shop.workspace.slug, "dies") as opened:
        assert opened.bench.identity
        died = replace(
            opened.bench, identity=replace(opened.bench.identity, stitch=_dying(opened.bench.identity))
        )
        with pytest.raises(KeyboardInterrupt):
            list(refresh_stale(died, opened.store))
    assert CliRunner().invoke(app, ["link", "show", shop.workspace.slug, "shop:7"]).exit_code == 0
    shop.refresh()
    assert shop.paths() == JOINED


def _dying(sources: Any) -> Any:
    def stitch(*given: Any) -> None:
        sources.stitch(*given)
        raise KeyboardInterrupt

    return stitch


def test_a_type_that_is_no_longer_installed_stops_only_its_own_workspace(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop.sync()
    shop.refresh()
    monkeypatch.setattr(registry, "source_types", lambda: ["another"])

    shop.look()
    with pytest.raises(registry.UnknownType, match=r"no connector type postgres. There are: another"):
        shop.refresh()
