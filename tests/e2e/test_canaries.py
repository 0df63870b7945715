"""Planted secrets and personal values are in nothing that is stored, shown or told, in whatever form.

Connectors sync through the real daemon: well, with a wrong password, into a defect and a refusal that repeat what they
were given, at a second attempt, up to a quota, and against vendors that repeat secrets and cut their answers, all with
debug logs. Then every channel is searched, and each search has to find what is there for certain. That it finds a leak,
``tests/sources/test_canary_search.py`` shows.
"""

import json
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
import pytest
from click.testing import Result
from playwright.sync_api import sync_playwright
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict
from pydantic import SecretStr
from typer.testing import CliRunner

from orchestration.cli import app
from orchestration.cli.services import prepare_control_plane
from orchestration.control_plane import connectors, database, workspaces
from orchestration.services.dagster_processes import dagster_environment
from orchestration.services.postgres import Postgres, create_database
from orchestration.services.stack import Stack
from orchestration.settings import Installation, Settings, load_settings
from orchestration.sources import types
from orchestration.stages.source_access import add_source
from tests.browser.conftest import CHROMIUM, FLAGS, PATIENCE
from tests.e2e import canaries, canary_channels
from tests.e2e.canaries import Canary, found_in
from tests.e2e.canary_channels import Texts, files, home_files, tables, working_folder
from tests.e2e.canary_vendors import Org, PlantedVendor, Subscription
from tests.e2e.conftest import PROJECT
from tests.e2e.ui import ENDED, DagsterUi

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]

DEFINITIONS = Path(__file__).with_name("canary_definitions.py")
SLUG, CONTROL = "acme", "a-control-string-that-is-planted"
ENDINGS = ("well", "again", "defect", "refused", "quota")

PASSWORD, WRONG, TOKEN = map(canaries.secret, ("password", "wrong password", "token"))
PEOPLE = [canaries.person(f"person {number}") for number in range(3)]
RULES = {"name": "drop", "email": "email", "phone": "pseudonym"}
EVENTS_OF = {"postgres": 2, "talkative": 2, "salesforce": 1, "marketo": 3}
"""By system; what has no time is quarantined."""


@dataclass
class Command:
    """The ``casetrail`` command, in this process, and all that it has printed."""

    printed: list[tuple[str, str]] = field(default_factory=list)

    def run(self, *arguments: str, stdin: str | None = None) -> Result:
        ended = CliRunner().invoke(app, arguments, input=stdin)
        self.printed.append((f"casetrail {' '.join(arguments)[:80]}", ended.output))
        return ended

    def json(self, *arguments: str, stdin: str | None = None) -> Any:
        ended = self.run(*arguments, "--json", stdin=stdin)
        assert ended.exit_code == 0, f"{arguments}: {ended.output}"
        return json.loads(ended.stdout)


@dataclass
class Tenant:
    """An installation in which everything has happened.

    Attributes:
        vendors: Servers with secrets and people of their own.
        runs: By the connector's name, the id of a run that synced it.
        connectors: By name, ids of the connectors.
        processes: What was seen of each process: (pid, command line and environment).
        pages: Text and source of pages of the UI.
    """

    command: Command
    settings: Settings
    folder: Path
    ui: DagsterUi
    vendors: tuple[PlantedVendor, ...]
    runs: dict[str, str] = field(default_factory=dict)
    connectors: dict[str, str] = field(default_factory=dict)
    processes: set[tuple[str, str]] = field(default_factory=set)
    pages: list[tuple[str, str]] = field(default_factory=list)

    @property
    def workspace(self) -> workspaces.Workspace:
        with database.as_system(self.settings.system_dsn, None) as connection:
            return workspaces.find_workspace(connection, SLUG)

    def planted(self) -> list[Canary]:
        """All that is to be found nowhere."""
        of_people = (canary for person in PEOPLE for canary in person.canaries())
        of_vendors = (canary for vendor in self.vendors for canary in vendor.planted())
        return [PASSWORD, WRONG, TOKEN, *of_people, *of_vendors]


@pytest.fixture(scope="module")
def tenant() -> Iterator[Tenant]:
    folder = Path(tempfile.mkdtemp(prefix="casetrail-canary-"))
    folder.chmod(0o711)
    scratch = folder / "scratch"
    scratch.mkdir()
    scratch.chmod(0o1777)
    environment = {
        "TMPDIR": str(scratch),
        "CASETRAIL_CONNECTOR_INTERNAL_HOSTS": '["localhost", "127.0.0.1"]',
        "CASETRAIL_HOME": str(folder / "home"),
    }
    stack = Stack(Installation(home=folder / "home"))
    with pytest.MonkeyPatch.context() as patch, ExitStack() as servers:
        for name, value in environment.items():
            patch.setenv(name, value)
        patch.setattr(types, "__path__", [*types.__path__, str(PROJECT / "tests/e2e/canary_types")])
        try:
            stack.up(prepare=prepare_control_plane, definitions=DEFINITIONS)
            settings = load_settings()
            for name, value in dagster_environment(settings).items():
                patch.setenv(name, value)
            vendors = servers.enter_context(Org()), servers.enter_context(Subscription())
            made = Tenant(Command(), settings, folder, DagsterUi(settings, DEFINITIONS.stem), vendors)
            with watched_processes(folder, made.processes):
                happen(made)
            yield made
        finally:
            stack.down()
            shutil.rmtree(folder, ignore_errors=True)


def happen(tenant: Tenant) -> None:
    """Everything that is to leave no trace."""
    tenant.ui.stop_sensor("connector_syncs")  # so that no other run syncs at the same time
    tenant.command.json("workspace", "create", SLUG, "--slug", SLUG, "--owner", "ada@acme.example")
    (tenant.folder / "scratch" / CONTROL).write_text(CONTROL)
    pull_from_postgres(tenant)
    for ending in ENDINGS:
        add_talkative(tenant, ending)
    for vendor in tenant.vendors:
        add_vendor(tenant, vendor)
    for name, connector in tenant.connectors.items():
        config = {"ops": {"sync": {"config": {"workspace": SLUG, "connector": connector}}}}
        tenant.runs[name] = tenant.ui.launch("sync_connector", config)
    deadline = time.monotonic() + 240
    while any(tenant.ui.status(run) not in ENDED for run in tenant.runs.values()):
        assert time.monotonic() < deadline
        time.sleep(0.5)
    tenant.command.json("refresh", SLUG, "--wait")
    for told in (
        ("connector", "list", SLUG),
        ("connector", "list", SLUG, "--json"),
        ("workspace", "show", SLUG, "--json"),
        ("connector", "pulls", SLUG, "orders", "--json"),
        ("quarantine", "list", SLUG, "--json"),
        ("query", SLUG, "select * from events", "--json"),
    ):
        tenant.command.run(*told)
    tenant.pages += seen_pages(tenant)


def people() -> list[list[str | None]]:
    """Rows of the columns of ``talkative``: the third has no time and goes into quarantine."""
    times = ("2024-02-01T10:00:00Z", "2024-02-03T10:00:00Z", None)
    return [
        [str(number), "case-1", "new", at, *(canary.value for canary in person.canaries())]
        for number, (person, at) in enumerate(zip(PEOPLE, times, strict=True))
    ]


def pull_from_postgres(tenant: Tenant) -> None:
    """A connector that syncs by command, one with the wrong password, and both for runs."""
    admin = Postgres(tenant.settings.home).admin_dsn()
    create_database(admin, "shop")
    parts = conninfo_to_dict(admin.get_secret_value())
    dsn = Postgres(tenant.settings.home).admin_dsn("shop").get_secret_value()
    with psycopg.connect(dsn, autocommit=True) as owner:
        owner.execute(sql.SQL("create role reader login password {}").format(sql.Literal(PASSWORD.value)))
        owner.execute(
            'create table people (id text primary key, "case" text, status text, at timestamptz, name text,'
            " email text, phone text, changed timestamptz default now())"
        )
        owner.execute("grant connect on database shop to reader")
        owner.execute("grant usage on schema public to reader")
        owner.execute("grant select on people to reader")
        for row in people():
            owner.execute("insert into people values (%s, %s, %s, %s, %s, %s, %s)", [f"p{row[0]}", *row[1:]])
    config = {
        "host": parts["host"], "port": int(str(parts["port"])), "database": "shop", "user": "reader",
        "sslmode": "disable", "lag_seconds": 0, "personal": {"people": RULES},
        "streams": [{
            "name": "people", "table": "public.people", "key": ["id"], "cursor": "changed",
            "events": {"case_id": "case", "activity": "status", "timestamp": "at"},
        }],
    }  # fmt: skip
    for name, password in (("orders", PASSWORD), ("wrong", WRONG)):
        add_by_command(
            tenant, name, "postgres", config, {"password": password.value}, is_let_in=name == "orders"
        )
        tenant.command.run("connector", "sync", SLUG, name)
    tenant.command.run("connector", "discover", SLUG, "orders")


def add_by_command(
    tenant: Tenant, name: str, type: str, config: dict[str, Any], secrets: dict[str, str], *, is_let_in: bool
) -> None:
    """A connector as a person makes it, who is told whether it works."""
    file = tenant.folder / "config.json"
    file.write_text(json.dumps(config))
    added = tenant.command.run(
        *("connector", "add", SLUG, type, "--name", name, "--config", str(file), "--secrets-stdin", "--json"),
        stdin=json.dumps(secrets),
    )
    assert added.exit_code == (0 if is_let_in else 1), added.output
    workspace = tenant.workspace
    with database.as_system(tenant.settings.system_dsn, workspace.id) as connection:
        known = connectors.list_connectors(connection, workspace.id)
    tenant.connectors |= {connector.name: connector.id for connector in known}


def add_vendor(tenant: Tenant, vendor: PlantedVendor) -> None:
    """The connectors to a vendor's server, on which things go wrong from then on."""
    for name, planned in vendor.connectors().items():
        add_by_command(
            tenant, name, planned.type, planned.config, planned.secrets, is_let_in=planned.is_let_in
        )
    vendor.go_wrong()


def add_talkative(tenant: Tenant, ending: str) -> None:
    values = {"host": f"{ending}.example.com", "ending": ending}
    if ending == "well":
        # The configuration of a source is shown: what it gives comes from elsewhere.
        values["people_file"] = str(tenant.folder / "people.json")
        Path(values["people_file"]).write_text(json.dumps(people()))
    with database.as_user(tenant.settings.app_dsn, tenant.settings.operator) as connection:
        made = add_source(
            connection, tenant.settings, tenant.workspace.id, "talkative", ending, values,
            {"token": SecretStr(TOKEN.value)},
        )  # fmt: skip
        connectors.set_status(connection, made.workspace_id, made.id, "connected")
    tenant.connectors[ending] = made.id


@contextmanager
def watched_processes(folder: Path, seen: set[tuple[str, str]]) -> Iterator[None]:
    """Look again and again at the command lines and environments of the installation's processes."""
    ended = threading.Event()

    def watch() -> None:
        while not ended.wait(0.2):
            for process in Path("/proc").glob("[0-9]*"):
                try:
                    environment = (process / "environ").read_bytes()
                    if str(folder).encode() in environment:
                        text = (process / "cmdline").read_bytes() + environment
                        seen.add((process.name, text.replace(b"\0", b" ").decode(errors="replace")))
                except OSError:
                    continue

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield
    finally:
        ended.set()
        watcher.join()


def seen_pages(tenant: Tenant) -> list[tuple[str, str]]:
    """What a browser shows of each run, of the assets and of the sensors."""
    address = f"http://{tenant.settings.webserver_host}:{tenant.settings.webserver_port}"
    paths = {
        **{f"/runs/{tenant.runs[name]}": "sync_connector" for name in ("defect", "well")},
        "/assets/raw_records?view=events": "raw_records",
        "/runs": "sync_connector",
    }
    seen = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(CHROMIUM), args=FLAGS)
        page = browser.new_page(viewport={"width": 1500, "height": 1100})
        page.set_default_timeout(PATIENCE)
        for path, shown in paths.items():
            page.goto(f"{address}{path}")
            page.get_by_text(shown).first.wait_for(timeout=PATIENCE)
            if "/runs/" in path:
                page.get_by_text("RUN_").first.wait_for(timeout=PATIENCE)
            seen.append((path, f"{page.locator('body').inner_text()}\n{page.content()}"))
        browser.close()
    return seen


def control_plane(tenant: Tenant, *names: str) -> Texts:
    return tables(tenant.settings, tenant.settings.owner_dsn, *names)


def dagster_tables(tenant: Tenant, *names: str) -> Texts:
    return tables(tenant.settings, tenant.settings.dagster_dsn, *names)


def objects(tenant: Tenant, *kinds: str) -> Texts:
    return canary_channels.objects(tenant.settings, tenant.workspace, *kinds)


RUN = """
query ($id: ID!) {
  runOrError(runId: $id) { ... on Run { runId jobName status runConfigYaml tags { key value } } }
}
"""
METADATA = """
metadataEntries { label description ... on TextMetadataEntry { text } ... on JsonMetadataEntry { jsonString }
  ... on MarkdownMetadataEntry { mdStr } ... on UrlMetadataEntry { url } ... on PathMetadataEntry { path }
  ... on TableMetadataEntry { table { records } } ... on IntMetadataEntry { intRepr } }
"""
EVENTS = f"""
query ($id: ID!) {{ logsForRun(runId: $id) {{ ... on EventConnection {{ events {{
  ... on MessageEvent {{ message eventType stepKey }}
  ... on ExecutionStepFailureEvent {{ error {{ message stack causes {{ message stack }} }} }}
  ... on ExecutionStepOutputEvent {{ {METADATA} }}
}} }} }} }}
"""
ASSETS = f"""
{{ assetsOrError {{ ... on AssetConnection {{ nodes {{ key {{ path }} assetMaterializations(limit: 10) {{
  partition runId {METADATA} }} }} }} }} }}
"""


def asked(tenant: Tenant, query: str) -> Texts:
    """An answer of the webserver for each run."""
    for name, run in tenant.runs.items():
        yield name, json.dumps(tenant.ui.ask(query, id=run), ensure_ascii=False)


def asset_metadata(tenant: Tenant) -> Texts:
    yield "assets", json.dumps(tenant.ui.ask(ASSETS), ensure_ascii=False)


@dataclass(frozen=True)
class Channel:
    """Where to look, and what is there for certain: a search that does not find all of it finds nothing."""

    texts: Callable[[Tenant], Texts]
    controls: Callable[[Tenant], Iterable[str]]


REPEATED = (
    "cannot use [secret]", "MALFORMED_QUERY: nothing for Bearer [secret]", "invalid_client, [secret] in",
    "Marketo refuses the credentials",
)  # fmt: skip
"""What failed syncs tell."""

CHANNELS = {
    "control plane": Channel(control_plane, lambda t: t.connectors.values()),
    "what connectors tell": Channel(lambda t: control_plane(t, "connectors"), lambda _: REPEATED),
    "Dagster's runs": Channel(
        lambda t: dagster_tables(t, "runs", "run_tags"), lambda t: t.connectors.values()
    ),
    "Dagster's events": Channel(lambda t: dagster_tables(t, "event_logs"), lambda _: REPEATED),
    "Dagster's sensors": Channel(
        lambda t: dagster_tables(t, "jobs", "job_ticks", "instigators"), lambda _: ["arrival_sensor"]
    ),
    "Dagster's other tables": Channel(dagster_tables, lambda _: ["raw_records"]),
    "originals": Channel(
        lambda t: objects(t, "originals"), lambda _: ["case-1", "005Ct000000000", "Fill Out Form"]
    ),
    "raw": Channel(lambda t: objects(t, "raw"), lambda _: ["case-1", "Lead created", "Fill Out Form"]),
    "quarantine": Channel(lambda t: objects(t, "quarantine"), lambda _: ["missing_timestamp"]),
    "manifests": Channel(lambda t: objects(t, "pulls"), lambda _: ["[secret]", '"LeadHistory"', '"marketo"']),
    "analyses": Channel(lambda t: objects(t, "analyses"), lambda _: ["case-1", "Lead created"]),
    "logs of processes": Channel(lambda t: files(t.settings.home / "logs"), lambda t: [t.runs["well"]]),
    "output of runs": Channel(
        lambda t: files(t.settings.home / "dagster"),
        lambda _: ["canary debug: GET https://well.example.com/?token=[s", "httpcore", "Bearer [secret]"],
    ),
    "run config and tags": Channel(lambda t: asked(t, RUN), lambda t: t.connectors.values()),
    "events of runs": Channel(lambda t: asked(t, EVENTS), lambda _: REPEATED),
    "metadata of assets": Channel(asset_metadata, lambda _: [SLUG]),
    "commands": Channel(lambda t: iter(t.command.printed), lambda t: t.connectors.values()),
    "processes": Channel(lambda t: iter(t.processes), lambda t: [f"CASETRAIL_HOME={t.settings.home}"]),
    "working folder": Channel(
        lambda _: working_folder(), lambda _: ["def test_nothing_that_was_planted_is_there"]
    ),
    "temporary files": Channel(lambda t: files(t.folder / "scratch"), lambda _: [CONTROL]),
    "home": Channel(lambda t: home_files(t.settings.home), lambda _: ["system_dsn"]),
    "pages": Channel(lambda t: iter(t.pages), lambda t: [t.runs["defect"]]),
}


@pytest.mark.parametrize("name", CHANNELS)
def test_nothing_that_was_planted_is_there(tenant: Tenant, name: str) -> None:
    channel = CHANNELS[name]
    texts = list(channel.texts(tenant))
    for control in channel.controls(tenant):
        assert any(control in text for _place, text in texts), f"{name}: the search does not find {control}"
    assert found_in(texts, tenant.planted()) == []


def test_what_was_to_happen_has_happened(tenant: Tenant) -> None:
    ends = {name: tenant.ui.status(run) for name, run in tenant.runs.items()}
    planned = {name: plan for vendor in tenant.vendors for name, plan in vendor.connectors().items()}
    good = {"orders", "well", "again", "quota", *(name for name in planned if planned[name].comes_through)}
    bad = {"wrong", "defect", "refused", *planned} - good
    assert ends == {**dict.fromkeys(good, "SUCCESS"), **dict.fromkeys(bad, "FAILURE")}
    counted = tenant.command.json("query", SLUG, "select system, count(*) as n from events group by system")
    assert {row["system"]: row["n"] for row in counted} == EVENTS_OF
    assert [fault for vendor in tenant.vendors for fault, hits in vendor.faults.fired() if not hits] == []
    assert [vendor.failures for vendor in tenant.vendors] == [[], []]
    told = dict(found for found in asked(tenant, EVENTS))
    assert "password authentication failed" in told["wrong"]
    assert "trying again in 1 s: 503 for [secret]" in told["again"]
    # Left over are what was planted there, and nothing of a pull.
    assert [path.name for path in (tenant.folder / "scratch").iterdir() if "casetrail" in path.name] == []
