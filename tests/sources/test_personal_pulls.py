"""What is personal in a source gets as far as its hash: no object, table or log of a workspace has the value."""

import io
import json
import logging
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pyarrow.parquet as pq
import pytest
from pydantic import SecretStr

from orchestration.control_plane import arrivals, database, pulls, workspaces
from orchestration.control_plane.connectors import Connector
from orchestration.control_plane.pulls import Pull
from orchestration.control_plane.workspaces import Workspace
from orchestration.lake import layout
from orchestration.lake.credentials import CredentialBroker
from orchestration.lake.objects import WorkspaceStore
from orchestration.settings import Settings
from orchestration.sources.errors import ConfigurationError
from orchestration.stages.pulls import sync
from orchestration.stages.source_access import add_source, change_source, check_source
from tests.sources.conftest import PASSWORD, STREAM, Connect, SourceDatabase, state_of
from tests.sources.test_access import dump

T0 = datetime(2024, 3, 1, tzinfo=UTC)
NAMES = ("Ada Lovelace", "Charles Babbage", "Grace Hopper", "Alan Turing")
ADDRESSES = ("ada.lovelace@acme.com", "charles@analytical.engine", "Grace@Navy.mil", "alan@bletchley.uk")
PHONES = ("+44 20 7946 0001", "+44 20 7946 0002", "+1 202 555 0143", "+44 20 7946 0004")
PEOPLE: dict[str, Any] = {"name": "people", "table": "public.people", "key": ["id"], "cursor": "changed"}
PERSONAL: dict[str, dict[str, str]] = {
    stream: {"name": "drop", "mail": "email", "phone": "pseudonym"} for stream in ("events", "people")
}


@pytest.fixture
def source(source_database: SourceDatabase) -> SourceDatabase:
    """Events with a quarantined record (3) and a deleted one (4), and people, who are no events."""
    source_database.owner.execute(
        """
        create table events (
            id bigint primary key, order_id text, status text, at timestamptz, changed timestamptz,
            gone boolean default false, name text, mail text, phone text
        );
        create table people (id bigint primary key, changed timestamptz, name text, mail text, phone text)
        """
    )
    for number, person in enumerate(zip(NAMES, ADDRESSES, PHONES, strict=True), start=1):
        at = None if number == 3 else T0
        source_database.owner.execute(
            "insert into events values (%s, 'o', 'new', %s, %s, %s, %s, %s, %s)",
            (number, at, T0, number == 4, *person),
        )
        source_database.owner.execute("insert into people values (%s, %s, %s, %s, %s)", (number, T0, *person))
    return source_database


def store_of(settings: Settings, workspace: Workspace) -> WorkspaceStore:
    return WorkspaceStore(CredentialBroker(settings).for_workspace(workspace.id, workspace.region))


def objects(settings: Settings, workspace: Workspace) -> dict[str, str]:
    """All that a workspace has on S3, tables as text, by their key."""
    store = store_of(settings, workspace)
    found = {}
    for entry in store.list():
        data = store.get(entry.key)
        is_table = data[:4] == b"PAR1"
        found[entry.key] = str(pq.read_table(io.BytesIO(data)).to_pylist()) if is_table else data.decode()
    return found


def told_of(texts: dict[str, str]) -> list[str]:
    """Where a planted value is to be read."""
    return [
        f"{where}: {value}"
        for where, text in texts.items()
        for value in (*NAMES, *ADDRESSES, *PHONES)
        if value.casefold() in text.casefold()
    ]


def landed(settings: Settings, workspace: Workspace, connector: Connector) -> Iterator[dict[str, Any]]:
    """The rows of the originals of a connector, whatever their kind."""
    store = store_of(settings, workspace)
    with database.as_system(settings.system_dsn, workspace.id) as connection:
        made: list[Pull] = pulls.list_pulls(connection, workspace.id, connector.id)
    for part in (part for pull in made for part in pull.parts):
        data = store.get(layout.original_key(workspace.id, part["sha256"]))
        yield from pq.read_table(io.BytesIO(data)).to_pylist()


def test_personal_values_are_nowhere(
    settings: Settings,
    installation: Settings,
    workspace: Workspace,
    connect: Connect,
    source: SourceDatabase,
    caplog: pytest.LogCaptureFixture,
) -> None:
    told: list[str] = []
    with caplog.at_level(logging.DEBUG):
        connector = connect(STREAM, PEOPLE, personal=PERSONAL)
        (pull,) = sync(settings, workspace, connector, progress=told.append).pulls
    assert [(p["stream"], p["kind"], p["rows"]) for p in pull.parts] == [
        ("events", "events", 3), ("events", "tombstones", 1), ("people", "records", 4),
    ]  # fmt: skip
    assert (pull.landed, pull.quarantined, pull.non_event) == (2, 1, 5)
    stored = objects(settings, workspace)
    assert {key.split("/")[1] for key in stored} == {"originals", "raw", "quarantine", "pulls"}
    assert told_of(stored) == []
    rest = {
        "tables": dump(settings, installation).decode(errors="replace"),
        "logs": caplog.text,
        "progress": "".join(told),
    }
    assert told_of(rest) == []
    manifest = json.loads(stored[layout.pull_manifest_key(workspace.id, connector.id, pull.id)])
    assert manifest["personal"]["people"] == {
        "name": {"rule": "drop"}, "mail": {"rule": "email", "linking_nobody": {}}, "phone": {"rule": "pseudonym"},
    }  # fmt: skip
    assert "name" not in manifest["schemas"]["events"]
    # The search finds what is there.
    change(settings, connector, {"personal": {"people": PERSONAL["people"]}})
    source.owner.execute("update events set changed = changed + interval '1 second'")
    sync(settings, workspace, state_of(settings, connector))
    found = {line.split("/")[1] for line in told_of(objects(settings, workspace))}
    assert found == {"originals", "raw", "quarantine"}


def change(settings: Settings, connector: Connector, values: dict[str, Any]) -> None:
    with database.as_user(settings.app_dsn, settings.operator) as connection:
        change_source(connection, settings, state_of(settings, connector), values, {})


def test_hashes_are_equal_over_the_connectors_of_a_workspace_and_not_over_workspaces(
    settings: Settings, workspace: Workspace, source: SourceDatabase
) -> None:
    with database.as_user(settings.app_dsn, settings.operator) as connection:
        other = workspaces.create_workspace(
            connection, f"t-{uuid4().hex[:12]}", "EU", "pro", settings.operator, f"t-{uuid4().hex[:12]}"
        )
    seen = []
    for tenant, name in ((workspace, "one"), (workspace, "two"), (other, "one")):
        config = source.config(PEOPLE, personal={"people": PERSONAL["people"]})
        with database.as_user(settings.app_dsn, settings.operator) as connection:
            made = add_source(
                connection, settings, tenant.id, "postgres", name, config, {"password": SecretStr(PASSWORD)}
            )
        check_source(settings, tenant, made, enable=True)
        sync(settings, tenant, state_of(settings, made))
        rows = sorted(landed(settings, tenant, made), key=lambda row: int(row["id"]))
        assert len({row["mail"] for row in rows}) == len({row["phone"] for row in rows}) == len(NAMES)
        seen.append([(row["mail"], row["phone"]) for row in rows])
    one, two, elsewhere = seen
    assert one == two
    assert {key for row in one for key in row}.isdisjoint(key for row in elsewhere for key in row)


def test_what_changed_in_a_dropped_field_only_is_no_new_version(
    settings: Settings, workspace: Workspace, connect: Connect, source: SourceDatabase
) -> None:
    stream = {**PEOPLE, "table": None, "query": "select id, changed, name, mail, phone from people"}
    connector = connect(stream, personal={"people": PERSONAL["people"]})
    sync(settings, workspace, connector)
    source.owner.execute("update people set name = 'Augusta King'")
    assert sync(settings, workspace, state_of(settings, connector)).pulls == []
    source.owner.execute("update people set phone = '112' where id = 1")
    (pull,) = sync(settings, workspace, state_of(settings, connector)).pulls
    assert (pull.records, pull.non_event, pull.duplicate) == (4, 1, 3)


def test_a_configuration_that_cannot_be_meant_is_told_by_the_check_and_stops_the_sync(
    settings: Settings, workspace: Workspace, connect: Connect, source: SourceDatabase
) -> None:
    connector = connect(STREAM, PEOPLE, personal=PERSONAL)
    for personal, problem in (
        ({"events": {"e_mail": "drop"}}, r"events: personal names e_mail.* There are: id, .*mail"),
        ({"persons": {"mail": "email"}}, r"personal names the stream persons\. There are: events, people"),
        (
            {"events": {"order_id": "drop"}},
            r"drop of the column order_id, which events need as their case_id",
        ),
    ):
        change(settings, connector, {"personal": personal})
        with pytest.raises(ConfigurationError, match=problem):
            check_source(settings, workspace, state_of(settings, connector))
        assert state_of(settings, connector).status == "error"
    with pytest.raises(ConfigurationError, match="which events need"):
        sync(settings, workspace, state_of(settings, connector))
    change(settings, connector, {"personal": PERSONAL})
    check_source(settings, workspace, state_of(settings, connector))
    # What was renamed at the source has no rule any more, and does not land as it is.
    source.owner.execute("alter table people rename mail to e_mail")
    with pytest.raises(ConfigurationError, match="people: personal names mail"):
        sync(settings, workspace, state_of(settings, connector))
    assert objects(settings, workspace) == {}
    with database.as_system(settings.system_dsn, workspace.id) as connection:
        assert arrivals.list_arrivals(connection, workspace.id) == []


def test_without_a_key_of_the_installation_nothing_is_pulled(
    settings: Settings, workspace: Workspace, connect: Connect, source: SourceDatabase
) -> None:
    connector = connect(PEOPLE, personal={"people": PERSONAL["people"]})
    other = settings.model_copy(update={"secret_key": SecretStr("l" * 32)})
    change(settings, connector, {"password": {"$ref": "file:db"}})
    assert settings.secrets_folder is not None
    folder = settings.secrets_folder / workspace.slug
    folder.mkdir(parents=True)
    (folder / "db").write_text(PASSWORD)
    with pytest.raises(ConfigurationError, match="key for personal fields cannot be opened"):
        sync(other, workspace, state_of(settings, connector))
    assert objects(settings, workspace) == {}
