"""Planted secrets and personal values are in nothing that is stored, shown or told, in whatever form.

Connectors sync through the real daemon: well, with a wrong password, into a defect and a refusal that repeat what they
were given, at a second attempt, and up to a quota, all with debug logs. Then every channel is searched, and each search
has to find what is there for certain.
"""

import base64
import hashlib
import json
import shutil
import subprocess
import tempfile
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_plus

import psycopg
import pyarrow.parquet as pq
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
from orchestration.lake.credentials import CredentialBroker
from orchestration.lake.objects import WorkspaceStore
from orchestration.services.dagster_processes import dagster_environment
from orchestration.services.postgres import Postgres, create_database
from orchestration.services.stack import Stack
from orchestration.settings import Installation, Settings, load_settings
from orchestration.sources import types
from orchestration.stages.source_access import add_source
from tests.browser.conftest import CHROMIUM, FLAGS, PATIENCE
from tests.e2e import canaries
from tests.e2e.canaries import Canary, found_in
from tests.e2e.conftest import PROJECT
from tests.e2e.ui import ENDED, DagsterUi

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]

DEFINITIONS = Path(__file__).with_name("canary_definitions.py")
SLUG, CONTROL = "acme", "a-control-string-that-is-planted"
ENDINGS = ("well", "again", "defect", "refused", "quota")

PASSWORD, WRONG, TOKEN = map(canaries.secret, ("password", "wrong password", "token"))
PERSONAL = [
    canary
    for number in range(3)
    for canary in (
        canaries.full_name(f"name {number}"), canaries.address(f"address {number}"), canaries.phone(f"phone {number}"),
    )
]  # fmt: skip
PLANTED = (PASSWORD, WRONG, TOKEN, *PERSONAL)
RULES = {"name": "drop", "email": "email", "phone": "pseudonym"}

Texts = Iterator[tuple[str, str]]


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
        runs: By how it was to end, the id of a run that synced.
        connectors: Ids of the connectors.
        processes: What was seen of each process: (pid, command line and environment).
        pages: Text and source of pages of the UI.
    """

    command: Command
    settings: Settings
    folder: Path
    ui: DagsterUi
    runs: dict[str, str] = field(default_factory=dict)
    connectors: dict[str, str] = field(default_factory=dict)
    processes: set[tuple[str, str]] = field(default_factory=set)
    pages: list[tuple[str, str]] = field(default_factory=list)

    @property
    def workspace(self) -> workspaces.Workspace:
        with database.as_system(self.settings.system_dsn, None) as connection:
            return workspaces.find_workspace(connection, SLUG)


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
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(name, value)
        patch.setattr(types, "__path__", [*types.__path__, str(PROJECT / "tests/e2e/canary_types")])
        try:
            stack.up(prepare=prepare_control_plane, definitions=DEFINITIONS)
            settings = load_settings()
            for name, value in dagster_environment(settings).items():
                patch.setenv(name, value)
            made = Tenant(Command(), settings, folder, DagsterUi(settings, DEFINITIONS.stem))
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
    for name, connector in tenant.connectors.items():
        config = {"ops": {"sync": {"config": {"workspace": SLUG, "connector": connector}}}}
        tenant.runs[name] = tenant.ui.launch("sync_connector", config)
    deadline = time.monotonic() + 120
    while any(tenant.ui.status(run) not in ENDED for run in tenant.runs.values()):
        assert time.monotonic() < deadline
        time.sleep(0.5)
    tenant.command.json("refresh", SLUG, "--wait")
    for told in (
        ("connector", "list", SLUG),
        ("workspace", "show", SLUG, "--json"),
        ("connector", "pulls", SLUG, "orders", "--json"),
        ("quarantine", "list", SLUG, "--json"),
        ("query", SLUG, "select * from events", "--json"),
    ):
        tenant.command.run(*told)
    tenant.pages += seen_pages(tenant)


def people() -> list[list[str | None]]:
    """Rows of the columns of ``talkative``: the third has no time and goes into quarantine."""
    values = [canary.value for canary in PERSONAL]
    times = ("2024-02-01T10:00:00Z", "2024-02-03T10:00:00Z", None)
    return [
        [str(number), "case-1", "new", at, *values[3 * number : 3 * number + 3]]
        for number, at in enumerate(times)
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
    file = tenant.folder / "config.json"
    file.write_text(json.dumps(config))
    for name, password, code in (("orders", PASSWORD, 0), ("wrong", WRONG, 1)):
        added = tenant.command.run(
            *("connector", "add", SLUG, "postgres", "--name", name, "--config", str(file)),
            *("--secrets-stdin", "--json"),
            stdin=json.dumps({"password": password.value}),
        )
        assert added.exit_code == code, added.output
        tenant.command.run("connector", "sync", SLUG, name)
    tenant.command.run("connector", "discover", SLUG, "orders")
    for row in tenant.command.json("connector", "list", SLUG):
        tenant.connectors[row["name"]] = row["id"]


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
        "/assets/raw_csv_upload?view=events": "raw_csv_upload",
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


def control_plane(tenant: Tenant) -> Texts:
    """Every table, sealed values as they are."""
    yield from tables(tenant.settings, "owner_dsn")


def dagster_tables(tenant: Tenant) -> Texts:
    """Every table of Dagster's."""
    yield from tables(tenant.settings, "dagster_dsn")


def tables(settings: Settings, dsn: str) -> Texts:
    name = str(conninfo_to_dict(getattr(settings, dsn).get_secret_value())["dbname"])
    # As the superuser: row-level security would hide from the owner what there is.
    with psycopg.connect(Postgres(settings.home).admin_dsn(name).get_secret_value()) as connection:
        names = connection.execute("select tablename from pg_tables where schemaname = 'public'").fetchall()
        for (table,) in names:
            for number, row in enumerate(
                connection.execute(sql.SQL("select * from {}").format(sql.Identifier(table)))
            ):
                yield f"{table}/{number}", " ".join(as_text(value) for value in row if value is not None)


def as_text(value: Any) -> str:
    if not isinstance(value, bytes):
        return str(value)
    try:
        return zlib.decompress(value).decode()
    except zlib.error:
        return value.decode("latin-1")


def in_tables(texts: Texts, *names: str) -> Texts:
    return ((place, text) for place, text in texts if place.split("/")[0] in names)


def objects(tenant: Tenant, *kinds: str) -> Texts:
    """The objects of the workspace on S3, Parquet as text with its metadata."""
    workspace = tenant.workspace
    store = WorkspaceStore(CredentialBroker(tenant.settings).for_workspace(workspace.id, workspace.region))
    for entry in store.list():
        if entry.key.split("/")[1] not in kinds:
            continue
        data = store.get(entry.key)
        text = data.decode(errors="replace")
        if data.startswith(b"PAR1"):
            (tenant.folder / "object.parquet").write_bytes(data)
            table = pq.read_table(tenant.folder / "object.parquet")
            text = f"{table.schema.metadata} {table.to_pylist()}"
        yield entry.key, text


def files(folder: Path, *parts: str) -> Texts:
    for path in sorted(folder.rglob("*")):
        if path.is_file() and (not parts or path.relative_to(folder).parts[0] in parts):
            yield str(path), path.read_bytes().decode(errors="replace")


def working_folder(_tenant: Tenant) -> Texts:
    """Every file of the project that git would keep, or leaves lying."""
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard", "-z"], cwd=PROJECT, capture_output=True, check=True
    )
    for name in listed.stdout.decode().split("\0"):
        if name and (PROJECT / name).is_file():
            yield name, (PROJECT / name).read_bytes().decode(errors="replace")


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


def home_files(tenant: Tenant) -> Texts:
    """What lies in the home beside the data of the servers and what has a channel of its own."""
    for path in sorted(tenant.settings.home.iterdir()):
        if path.is_file():
            yield str(path), path.read_text(errors="replace")
    yield from files(tenant.settings.home / "processes")


@dataclass(frozen=True)
class Channel:
    """Where to look, and what is there for certain: a search that does not find it finds nothing."""

    texts: Callable[[Tenant], Texts]
    control: Callable[[Tenant], str]


def run_of(name: str) -> Callable[[Tenant], str]:
    return lambda tenant: tenant.runs[name]


def connector_of(name: str) -> Callable[[Tenant], str]:
    return lambda tenant: tenant.connectors[name]


CHANNELS = {
    "control plane": Channel(control_plane, connector_of("orders")),
    "what connectors tell": Channel(
        lambda t: in_tables(control_plane(t), "connectors"), lambda _: "[secret]"
    ),
    "Dagster's runs": Channel(
        lambda t: in_tables(dagster_tables(t), "runs", "run_tags"), connector_of("defect")
    ),
    "Dagster's events": Channel(lambda t: in_tables(dagster_tables(t), "event_logs"), lambda _: "[secret]"),
    "Dagster's sensors": Channel(
        lambda t: in_tables(dagster_tables(t), "jobs", "job_ticks", "instigators"), lambda _: "arrival_sensor"
    ),
    "Dagster's other tables": Channel(dagster_tables, lambda _: "raw_csv_upload"),
    "originals": Channel(lambda t: objects(t, "originals"), lambda _: "case-1"),
    "raw": Channel(lambda t: objects(t, "raw"), lambda _: "case-1"),
    "quarantine": Channel(lambda t: objects(t, "quarantine"), lambda _: "missing_timestamp"),
    "manifests": Channel(lambda t: objects(t, "pulls"), lambda _: "[secret]"),
    "analyses": Channel(lambda t: objects(t, "analyses"), lambda _: "case-1"),
    "logs of processes": Channel(lambda t: files(t.settings.home / "logs"), run_of("well")),
    "output of runs": Channel(
        lambda t: files(t.settings.home / "dagster"),
        lambda _: "canary debug: GET https://well.example.com/?token=[s",
    ),
    "run config and tags": Channel(lambda t: asked(t, RUN), connector_of("quota")),
    "events of runs": Channel(lambda t: asked(t, EVENTS), lambda _: "cannot use [secret]"),
    "metadata of assets": Channel(asset_metadata, lambda _: SLUG),
    "commands": Channel(lambda t: iter(t.command.printed), connector_of("wrong")),
    "processes": Channel(lambda t: iter(t.processes), lambda t: f"CASETRAIL_HOME={t.settings.home}"),
    "working folder": Channel(working_folder, lambda _: "def test_nothing_that_was_planted_is_there"),
    "temporary files": Channel(lambda t: files(t.folder / "scratch"), lambda _: CONTROL),
    "home": Channel(home_files, lambda _: "system_dsn"),
    "pages": Channel(lambda t: iter(t.pages), run_of("defect")),
}


@pytest.mark.parametrize("name", CHANNELS)
def test_nothing_that_was_planted_is_there(tenant: Tenant, name: str) -> None:
    channel = CHANNELS[name]
    texts = list(channel.texts(tenant))
    assert any(channel.control(tenant) in text for _place, text in texts), f"{name}: the search finds nothing"
    assert found_in(texts, PLANTED) == []


def test_what_was_to_happen_has_happened(tenant: Tenant) -> None:
    ends = {name: tenant.ui.status(run) for name, run in tenant.runs.items()}
    good = dict.fromkeys(("orders", "well", "again", "quota"), "SUCCESS")
    assert ends == {**good, **dict.fromkeys(("wrong", "defect", "refused"), "FAILURE")}
    (counted,) = tenant.command.json("query", SLUG, "select count(*) as n from events")
    assert counted["n"] == 4
    told = dict(found for found in asked(tenant, EVENTS))
    assert "password authentication failed" in told["wrong"]
    assert "trying again in 1 s: 503 for [secret]" in told["again"]
    # Left over are what was planted there, and nothing of a pull.
    assert [path.name for path in (tenant.folder / "scratch").iterdir() if "casetrail" in path.name] == []


@pytest.mark.parametrize("canary", PLANTED[:6], ids=lambda canary: canary.name)
def test_the_search_finds_every_form(canary: Canary) -> None:
    value = canary.value
    forms = [
        value, value.upper(), quote(value), quote(value, safe=""), quote_plus(value), json.dumps(value), repr(value),
        value.encode().hex(), value.encode().hex().upper(), canary.part[:14], canary.part[-14:],
        hashlib.sha256(value.encode()).hexdigest(), hashlib.md5(value.lower().encode()).hexdigest(),
        *(base64.b64encode(f"{user}:{value}".encode()).decode() for user in ("", "u", "us", "use")),
        *(base64.urlsafe_b64encode(f"{user}{value}x".encode()).decode() for user in ("", "u", "us")),
    ]  # fmt: skip
    for form in forms:
        assert found_in([("here", f"before {form} behind")], [canary]), form
    assert found_in([("here", "nothing")], [canary]) == []
