"""Connectors and their configs, which hold no secrets."""

from typing import Any

import pytest

from orchestration.control_plane import connectors, database, members
from orchestration.control_plane.connectors import SecretInConfig, UnknownConnector
from orchestration.control_plane.database import Connection
from orchestration.control_plane.errors import NotAllowed
from orchestration.control_plane.workspaces import Workspace
from orchestration.settings import Settings


def test_a_connector_is_made_once(operator: Connection, acme: Workspace) -> None:
    made = connectors.ensure_connector(operator, acme.id, "csv_upload", "default", {"case_id": "id"})
    assert (made.status, made.config, made.last_sync_at) == ("connected", {"case_id": "id"}, None)
    # What is there stays as it is.
    assert connectors.ensure_connector(operator, acme.id, "csv_upload", "default", {"case_id": "no"}) == made
    assert connectors.get_connector(operator, acme.id, made.id) == made
    assert connectors.list_connectors(operator, acme.id) == [made]


def test_config_status_and_sync_change(operator: Connection, acme: Workspace) -> None:
    made = connectors.ensure_connector(operator, acme.id, "csv_upload", "default")
    connectors.set_config(operator, acme.id, made.id, {"case_id": "other"})
    connectors.set_status(operator, acme.id, made.id, "error")
    changed = connectors.get_connector(operator, acme.id, made.id)
    assert (changed.status, changed.config) == ("error", {"case_id": "other"})
    connectors.record_sync(operator, acme.id, made.id)
    synced = connectors.get_connector(operator, acme.id, made.id)
    assert synced.status == "connected"
    assert synced.last_sync_at is not None


def test_an_unknown_connector_error_lists_what_there_is(operator: Connection, acme: Workspace) -> None:
    connectors.ensure_connector(operator, acme.id, "csv_upload", "default")
    with pytest.raises(UnknownConnector, match=r"no csv_upload connector x\. There are: csv_upload default"):
        connectors.find_connector(operator, acme.id, "csv_upload", "x")


def test_another_workspaces_connector_is_unknown(
    operator: Connection, acme: Workspace, rival: Workspace
) -> None:
    made = connectors.ensure_connector(operator, acme.id, "csv_upload", "default")
    with pytest.raises(UnknownConnector):
        connectors.get_connector(operator, rival.id, made.id)
    with pytest.raises(NotAllowed):
        connectors.set_config(operator, rival.id, made.id, {})


def test_analysts_set_up_uploads_and_admins_the_rest(
    control_plane: Settings, operator: Connection, acme: Workspace
) -> None:
    members.set_member(operator, acme.id, "lea@acme.test", "analyst")
    operator.commit()
    with database.as_user(control_plane.app_dsn, "ann@acme.test") as connection:
        crm = connectors.ensure_connector(connection, acme.id, "salesforce", "crm")
    with database.as_user(control_plane.app_dsn, "lea@acme.test") as connection:
        upload = connectors.ensure_connector(connection, acme.id, "csv_upload", "mine")
        connectors.set_config(connection, acme.id, upload.id, {"case_id": "id"})
        assert connectors.ensure_connector(connection, acme.id, "csv_upload", "mine").config == {
            "case_id": "id"
        }
        with pytest.raises(NotAllowed, match="only an admin"):
            connectors.set_config(connection, acme.id, crm.id, {"instance": "x"})
    with (
        pytest.raises(NotAllowed, match=r"lea@acme\.test may not"),
        database.as_user(control_plane.app_dsn, "lea@acme.test") as connection,
    ):
        connectors.ensure_connector(connection, acme.id, "salesforce", "other")


@pytest.mark.parametrize(
    ("config", "place"),
    [
        ({"password": "hunter2"}, "config.password"),
        ({"clientSecret": "hunter2"}, "config.clientSecret"),
        ({"auth": {"api-key": "hunter2"}}, "config.auth.api-key"),
        ({"auth": [{"access_token": "hunter2"}]}, "config.auth.access_token"),
        ({"private_key": ["hunter2"]}, "config.private_key"),
        ({"url": "https://bob:hunter2@crm.test/"}, "config.url"),
        ({"hosts": ["https://bob:hunter2@crm.test/"]}, "config.hosts"),
    ],
)
def test_a_secret_in_clear_is_refused_and_not_repeated(
    operator: Connection, acme: Workspace, config: dict[str, Any], place: str
) -> None:
    with pytest.raises(SecretInConfig, match=place) as caught:
        connectors.ensure_connector(operator, acme.id, "salesforce", "crm", config)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    "config",
    [
        {"password": {"$ref": "env:CRM_PASSWORD"}},
        {"token": {"$secret": "token", "set": True}},
        {"password": None, "secret": ""},
        {"case_id": "id", "record_key": ["id", "line"], "url": "https://crm.test/a@b:c"},
    ],
)
def test_references_and_mappings_pass(operator: Connection, acme: Workspace, config: dict[str, Any]) -> None:
    assert connectors.ensure_connector(operator, acme.id, "salesforce", "new", config).config == config
