"""Personal columns of uploads: no object, table or answer of a workspace has a value, however its file comes in."""

import io
import json
from pathlib import Path
from typing import Any
from uuid import uuid4

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner, Result

from orchestration.cli import app
from orchestration.control_plane import arrivals, connectors, database, inbox, workspace_keys, workspaces
from orchestration.control_plane.arrivals import Arrival
from orchestration.control_plane.workspaces import Workspace
from orchestration.lake import layout
from orchestration.settings import Settings
from orchestration.sources.personal import pseudonyms
from orchestration.stages.corrections import Desk, readmit
from orchestration.stages.inbox import take_in_dropped
from tests.sources.test_access import dump
from tests.sources.test_personal_pulls import ADDRESSES, NAMES, PHONES, objects, store_of, told_of

RULES = ("--personal", "name=drop", "--personal", "mail=email", "--personal", "phone=pseudonym")
NO_RULES = ("--personal", "name=keep", "--personal", "mail=keep", "--personal", "phone=keep")
HEADER = ("case", "activity", "time", "name", "mail", "phone")


def records(*activities: str) -> list[dict[str, str]]:
    """A record of each person, the third without a case: it goes into quarantine."""
    return [
        dict(
            zip(
                HEADER,
                ("" if n == 2 else f"c{n}", activity, f"2024-0{n + 1}-01T00:00:00Z", *person),
                strict=True,
            )
        )
        for activity in activities
        for n, person in enumerate(zip(NAMES, ADDRESSES, PHONES, strict=True))
    ]


def csv(*activities: str) -> bytes:
    rows = "".join(",".join(row.values()) + "\n" for row in records(*activities))
    return f"{','.join(HEADER)}\n{rows}c9,order,{NAMES[0]},{PHONES[0]}\n".encode()


def parquet(*activities: str) -> bytes:
    buffer = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(records(*activities)), buffer)
    return buffer.getvalue()


def jsonl(*activities: str) -> bytes:
    return "\n".join([*map(json.dumps, records(*activities)), json.dumps([NAMES[0]])]).encode()


class Uploads:
    """A workspace that files are uploaded to as a person types it."""

    def __init__(self, settings: Settings, tmp_path: Path) -> None:
        self.settings, self._tmp_path = settings, tmp_path
        slug = f"t-{uuid4().hex[:12]}"
        with database.as_user(settings.app_dsn, settings.operator) as connection:
            self.workspace: Workspace = workspaces.create_workspace(
                connection, slug, "EU", "pro", settings.operator, slug
            )

    def run(self, *arguments: str) -> Result:
        return CliRunner().invoke(app, arguments, env={"CASETRAIL_HOME": str(self.settings.home)})

    def file(self, content: bytes) -> str:
        path = self._tmp_path / f"log{len(list(self._tmp_path.iterdir()))}"
        path.write_bytes(content)
        return str(path)

    def upload(self, content: bytes, *options: str) -> dict[str, Any]:
        made = self.run("upload", self.workspace.slug, self.file(content), "--json", *options)
        assert made.exit_code == 0, made.output
        return dict(json.loads(made.stdout))

    def refused(self, content: bytes, *options: str) -> str:
        made = self.run("upload", self.workspace.slug, self.file(content), *options)
        assert made.exit_code != 0, made.output
        return " ".join(made.output.split())

    def landed(self) -> list[Arrival]:
        with database.as_system(self.settings.system_dsn, self.workspace.id) as connection:
            return arrivals.list_arrivals(connection, self.workspace.id, "landed")

    def raw(self, arrival_id: str) -> list[dict[str, Any]]:
        store = store_of(self.settings, self.workspace)
        with database.as_system(self.settings.system_dsn, self.workspace.id) as connection:
            files = arrivals.files_of(connection, self.workspace.id, [arrival_id], "raw")
        return [
            row for file in files for row in pq.read_table(io.BytesIO(store.get(file.object_key))).to_pylist()
        ]

    def values(self) -> list[str]:
        """Where a planted value is to be read."""
        texts = objects(self.settings, self.workspace)
        assert {"originals", "raw", "quarantine"} <= {key.split("/")[1] for key in texts}
        return told_of(texts)


@pytest.fixture
def uploads(installation: Settings, tmp_path: Path) -> Uploads:
    return Uploads(installation, tmp_path)


@pytest.mark.parametrize("write", [csv, parquet, jsonl])
def test_personal_values_are_nowhere(write: Any, uploads: Uploads, installation: Settings) -> None:
    made = uploads.upload(write("order"), *RULES)
    rejected = 1 if write is parquet else 2
    assert (made["landed"], made["quarantined"]) == (3, rejected)
    assert made["mapping"]["personal"] == {"name": "drop", "mail": "email", "phone": "pseudonym"}
    rows = uploads.raw(made["id"])
    assert [len(row["mail"]) for row in rows] == [len(row["phone"]) for row in rows] == [64, 64, 64]
    assert "name" not in rows[0]
    with database.as_system(installation.system_dsn, uploads.workspace.id) as connection:
        key = workspace_keys.workspace_key(connection, installation.secret_keys, uploads.workspace.id)
    # As they are hashed where they are pulled, so that they are equal.
    hashes = pseudonyms(pa.array(PHONES), key).to_pylist()
    assert [row["phone"] for row in rows] == [hashes[0], hashes[1], hashes[3]]
    assert uploads.values() == []
    assert told_of({"tables": dump(installation, installation).decode(errors="replace")}) == []
    shown = uploads.run("quarantine", "list", uploads.workspace.slug, "--json").output
    assert "missing_case_id" in shown
    assert told_of({"shown": shown}) == []
    # The same file again is the same arrival, and the search finds what is there.
    assert uploads.upload(write("order"))["already_here"] is True
    uploads.upload(write("pay"), *NO_RULES)
    assert {line.split("/")[1] for line in uploads.values()} == {"originals", "raw", "quarantine"}


def test_the_next_file_keeps_the_rules_and_may_add_some(uploads: Uploads) -> None:
    uploads.upload(csv("order"), *RULES)
    assert uploads.upload(jsonl("pay"))["mapping"]["personal"]["name"] == "drop"
    more = uploads.upload(parquet("ship"), "--personal", "case=pseudonym")
    assert more["mapping"]["personal"] == {
        "name": "drop", "mail": "email", "phone": "pseudonym", "case": "pseudonym",
    }  # fmt: skip
    assert {len(row["_case_id"]) for row in uploads.raw(more["id"])} == {64}
    assert uploads.values() == []
    # Equal values have equal hashes, whichever file they came in.
    assert len({tuple(row["phone"] for row in uploads.raw(a.id)) for a in uploads.landed()}) == 1


def test_corrections_keep_the_rules(uploads: Uploads) -> None:
    made = uploads.upload(csv("order"), *RULES)
    slug = uploads.workspace.slug
    replaced = uploads.run(
        "arrivals", "replace", slug, made["id"], uploads.file(csv("order", "pay")), "--json"
    )
    assert replaced.exit_code == 0, replaced.output
    told = json.loads(replaced.stdout)
    assert (told["landed"], told["mapping"]["personal"]) == (6, made["mapping"]["personal"])
    remapped = uploads.run("connector", "remap", slug, "uploads", "--set", "resource=phone")
    assert remapped.exit_code == 0, remapped.output
    (now,) = uploads.landed()
    assert (now.landed, now.quarantined, now.format) == (6, 3, "csv")
    assert {len(row["_resource_id"]) for row in uploads.raw(now.id)} == {64}
    desk = Desk(
        lambda: database.as_system(uploads.settings.system_dsn, uploads.workspace.id),
        store_of(uploads.settings, uploads.workspace),
        "2024-02",
    )
    assert len(readmit(desk, "another first month")) == 1
    (now,) = uploads.landed()
    assert (now.landed, now.quarantined) == (4, 5)
    assert uploads.values() == []
    mapping = uploads.file(json.dumps(now.mapping | {"personal": {"mail": "drop"}}).encode())
    refused = uploads.run("connector", "remap", slug, "uploads", "--mapping", mapping)
    assert refused.exit_code == 1
    assert "personal cannot be changed any more" in refused.output


def test_a_dropped_file_keeps_the_rules_and_does_not_lie_in_the_inbox(uploads: Uploads) -> None:
    uploads.upload(csv("order"), *RULES)
    store, workspace, dsn = (
        store_of(uploads.settings, uploads.workspace),
        uploads.workspace,
        uploads.settings.system_dsn,
    )
    with database.as_system(dsn, workspace.id) as connection:
        (connector,) = connectors.list_connectors(connection, workspace.id)
    for name, content in (("good.jsonl", jsonl("pay")), ("bad.csv", b"case,activity,time,who\n")):
        key = f"{layout.inbox_prefix(workspace.id, connector.id)}{name}"
        store.put_bytes(key, content)
        found = store.find(key)
        assert found is not None
        with database.as_system(dsn, workspace.id) as connection:
            inbox.record_seen(connection, workspace.id, connector.id, key, found.etag, found.bytes)
    good, bad = take_in_dropped(uploads.settings, workspace.slug)
    assert (good.status, bad.status) == ("landed", "failed")
    assert "personal names mail, name, phone, which the file does not have" in bad.message
    assert [
        entry.key.rsplit("/", 1)[1] for entry in store.list(layout.inbox_prefix(workspace.id, connector.id))
    ] == ["bad.csv"]
    assert len(uploads.landed()) == 2
    assert uploads.values() == []


def test_what_has_landed_as_it_was_is_told_and_comes_in_once_it_is_retracted(uploads: Uploads) -> None:
    made = uploads.upload(csv("order"))
    assert f"has landed with its personal values, as the arrival {made['id']}" in uploads.refused(
        csv("order"), *RULES
    )
    mapping = uploads.file(json.dumps(made["mapping"] | {"personal": {"mail": "drop"}}).encode())
    refused = uploads.run("connector", "remap", uploads.workspace.slug, "uploads", "--mapping", mapping)
    assert "what has landed stays as it was" in refused.output
    uploads.run("arrivals", "retract", uploads.workspace.slug, made["id"], "--reason", "personal")
    again = uploads.upload(csv("order"), *RULES)
    assert told_of({"raw": str(uploads.raw(again["id"]))}) == []


@pytest.mark.parametrize(
    ("rule", "problem"),
    [
        ("mail=hash", "mail=hash: give COLUMN=RULE, where RULE is one of keep, drop, pseudonym, email."),
        ("mail", "mail: give COLUMN=RULE"),
        (
            "e_mail=email",
            "personal names e_mail, which the file does not have. Was it renamed? Its columns: case,",
        ),
        ("case=drop", "Personal says drop of the column case, which events need as their case_id"),
        ("activity=drop", "Personal says drop of the column activity, which events need as their activity"),
        (
            "time=pseudonym",
            "Personal says pseudonym of the column time, which events need as their timestamp",
        ),
    ],
)
def test_a_rule_that_cannot_be_meant_is_refused(rule: str, problem: str, uploads: Uploads) -> None:
    columns = ("--case-id", "case", "--activity", "activity", "--timestamp", "time")
    told = uploads.refused(csv("order"), "--personal", rule, *columns)
    assert problem in told.replace("│ ", "").replace(" │", "")
    assert uploads.landed() == []
    assert objects(uploads.settings, uploads.workspace) == {}
