"""The canary test can fail: its search finds what a sync leaves behind where redaction, or hashing, does nothing.

``tests/e2e/test_canaries.py`` searches for planted values in all that a whole installation leaves behind. Here syncs
run in this process, from the same sources, once as they are and once with that part of them switched off.
"""

import base64
import hashlib
import json
import logging
from collections.abc import Iterator
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_plus

import pytest
from pydantic import SecretStr

from orchestration.control_plane import connectors, database
from orchestration.control_plane.workspaces import Workspace
from orchestration.settings import Settings
from orchestration.sources import types
from orchestration.sources.errors import SourceError
from orchestration.sources.personal import PersonalFields
from orchestration.sources.redaction import Redactor
from orchestration.stages.pulls import sync
from orchestration.stages.source_access import add_source
from tests.e2e import canaries
from tests.e2e.canaries import Canary, found_in
from tests.e2e.canary_channels import objects, tables
from tests.e2e.canary_vendors import Org, PlantedVendor, Subscription
from tests.sources.conftest import state_of

STORED = ("originals", "raw", "quarantine", "pulls")


@dataclass
class Desk:
    """Makes connectors in a workspace and syncs them.

    Attributes:
        told: What was told while they synced, and why they failed, by connector.
        fails: By connector, whether its sync failed.
    """

    settings: Settings
    workspace: Workspace
    log: pytest.LogCaptureFixture
    told: list[tuple[str, str]] = field(default_factory=list)
    fails: dict[str, bool] = field(default_factory=dict)

    def sync(self, name: str, type: str, config: dict[str, Any], secrets: dict[str, str]) -> None:
        """Sync a new connector."""
        with database.as_user(self.settings.app_dsn, self.settings.operator) as connection:
            sealed = {secret: SecretStr(value) for secret, value in secrets.items()}
            made = add_source(connection, self.settings, self.workspace.id, type, name, config, sealed)
            connectors.set_status(connection, made.workspace_id, made.id, "connected")

        def tell(line: str) -> None:
            self.told.append((name, line))

        self.fails[name] = False
        try:
            with self.log.at_level(logging.DEBUG):
                connector = state_of(self.settings, made)
                sync(self.settings, self.workspace, connector, progress=tell, sleep=lambda _: None)
        except SourceError as error:
            self.fails[name] = True
            tell(str(error))

    def found(self, planted: list[Canary]) -> dict[str, list[str]]:
        """What the search finds in all that is there now, by channel."""
        of_tables = tables(self.settings, self.settings.owner_dsn, "connectors", "connector_pulls")
        channels = {
            "told": self.told,
            "log": [("log", self.log.text)],
            "tables": [row for row in of_tables if self.workspace.id in row[1]],
            **{kind: list(objects(self.settings, self.workspace, kind)) for kind in STORED},
        }
        every = {name: found_in(texts, planted) for name, texts in channels.items()}
        return {name: found for name, found in every.items() if found}


@pytest.fixture
def desk(settings: Settings, workspace: Workspace, caplog: pytest.LogCaptureFixture) -> Desk:
    return Desk(settings, workspace, caplog)


@pytest.fixture(params=[Org, Subscription])
def vendor(request: pytest.FixtureRequest) -> Iterator[PlantedVendor]:
    with request.param() as server:
        server.go_wrong()
        yield server
        assert server.failures == []


def sync_vendor(desk: Desk, vendor: PlantedVendor) -> None:
    for name, planned in vendor.connectors().items():
        desk.sync(name, planned.type, planned.config, planned.secrets)


@pytest.fixture
def talkative(monkeypatch: pytest.MonkeyPatch) -> None:
    """There is a type that tells its token wherever it can."""
    folder = Path(canaries.__file__).with_name("canary_types")
    monkeypatch.setattr(types, "__path__", [*types.__path__, str(folder)])


def sync_talkative(desk: Desk, folder: Path) -> list[Canary]:
    """A sync that comes through, and one that meets a defect; what was planted."""
    token, people = canaries.secret("token"), (canaries.person("one"), canaries.person("two"))
    rows = [
        [str(number), "case-1", "new", at, *(canary.value for canary in person.canaries())]
        for number, (person, at) in enumerate(zip(people, ("2024-02-01T10:00:00Z", None), strict=True))
    ]
    file = folder / "people.json"
    file.write_text(json.dumps(rows))
    for ending in ("well", "defect"):
        config = {"host": f"{ending}.example.com", "ending": ending, "people_file": str(file)}
        desk.sync(ending, "talkative", config, {"token": token.value})
    return [token, *(canary for person in people for canary in person.canaries())]


@pytest.fixture
def without_redaction(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Redactor, "redact", lambda _self, text: text)


@pytest.fixture
def without_hashing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(PersonalFields, "hidden", lambda _self, page: page)


def test_a_vendor_that_repeats_secrets_leaves_none(desk: Desk, vendor: PlantedVendor) -> None:
    sync_vendor(desk, vendor)
    assert desk.found(vendor.planted()) == {}
    assert desk.fails == {name: not planned.comes_through for name, planned in vendor.connectors().items()}
    # It did repeat them, and cut its answers.
    assert [fault for fault, hits in vendor.faults.fired() if not hits] == []
    told = " ".join(line for _name, line in desk.told)
    assert told.count("[secret]") >= 4
    assert "what is no JSON: " in told


@pytest.mark.usefixtures("without_redaction", "without_hashing")
def test_without_redaction_and_hashing_a_vendors_secrets_and_people_are_found(
    desk: Desk, vendor: PlantedVendor
) -> None:
    sync_vendor(desk, vendor)
    found = desk.found(vendor.planted())
    assert set(found) >= {"told", "tables", "originals"}
    assert any(vendor.wrong.name in line for line in found["tables"])
    assert any("access token" in line for line in found["told"])
    for person in vendor.people:
        for canary in (person.name, person.address):
            assert any(canary.name in line for line in found["originals"]), canary.name


@pytest.mark.usefixtures("talkative")
def test_a_talkative_type_leaves_nothing(desk: Desk, tmp_path: Path) -> None:
    assert desk.found(sync_talkative(desk, tmp_path)) == {}
    assert desk.fails == {"well": False, "defect": True}


@pytest.mark.usefixtures("talkative", "without_redaction")
def test_without_redaction_a_token_is_found_wherever_it_was_told(desk: Desk, tmp_path: Path) -> None:
    assert set(desk.found(sync_talkative(desk, tmp_path))) == {"told", "log", "tables", "pulls"}


@pytest.mark.usefixtures("talkative", "without_hashing")
def test_without_hashing_people_are_found_in_all_that_is_stored(desk: Desk, tmp_path: Path) -> None:
    assert set(desk.found(sync_talkative(desk, tmp_path))) == {"originals", "raw", "quarantine"}


VALUES = [canaries.secret("a secret"), *canaries.person("somebody").canaries()]


@pytest.mark.parametrize("canary", VALUES, ids=lambda canary: canary.name)
def test_the_search_finds_every_form(canary: Canary) -> None:
    value = canary.value
    forms = [
        value, value.upper(), quote(value), quote(value, safe=""), quote_plus(value), json.dumps(value), repr(value),
        escape(value), value.encode().hex(), value.encode().hex().upper(), canary.part[:14], canary.part[-14:],
        hashlib.sha256(value.encode()).hexdigest(), hashlib.md5(value.lower().encode()).hexdigest(),
        *(base64.b64encode(f"{user}:{value}".encode()).decode() for user in ("", "u", "us", "use")),
        *(base64.urlsafe_b64encode(f"{user}{value}x".encode()).decode() for user in ("", "u", "us")),
    ]  # fmt: skip
    for form in forms:
        assert found_in([("here", f"before {form} behind")], [canary]), form
    assert found_in([("here", "nothing")], [canary]) == []
