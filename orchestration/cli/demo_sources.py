"""The sample company's systems as sources of a workspace: made-up Salesforce and Marketo, and the export of an ERP."""

import csv
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from orchestration.cli.progress import ProgressLine
from orchestration.cli.upload import upload
from orchestration.cli.workspace import acting
from orchestration.control_plane import connectors, workspaces
from orchestration.control_plane.connectors import Connector
from orchestration.control_plane.workspaces import Workspace
from orchestration.demo.vendor_records import ERP_COLUMNS, erp_rows
from orchestration.services.demo_servers import DEMO_CALLS, DemoServer
from orchestration.settings import Settings, load_settings
from orchestration.stages.pulls import sync
from orchestration.stages.source_access import add_source, change_source, check_source

ERP = "erp"
_BEFORE_THE_FIRST_EVENT = "2023-12-01T00:00:00Z"


def pull_all(slug: str, servers: list[DemoServer]) -> None:
    """Connect the workspace to the made-up systems, and pull what they have."""
    settings = load_settings()
    with acting(None) as connection:
        workspace = workspaces.find_workspace(connection, slug)
    for server in servers:
        _pull(settings, workspace, server)


def _pull(settings: Settings, workspace: Workspace, server: DemoServer) -> None:
    line = ProgressLine()
    values, secrets = _configuration(server.system, server.access())
    connector = _connected(settings, workspace, server.system, values, secrets)
    made = sync(settings, workspace, connector, progress=lambda told: line.tell(f"{server.system}: {told}"))
    line.done(f"{server.system}: {made.total('records'):,} records, {made.total('landed'):,} of them events")


def upload_erp(slug: str, log: Path) -> None:
    """Upload what the ERP knows of a log, as a CSV."""
    export = log.with_name("erp_export.csv")
    with log.open(encoding="utf-8", newline="") as file:
        rows = erp_rows(list(csv.DictReader(file)))
    with export.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, ERP_COLUMNS)
        writer.writeheader()
        writer.writerows(rows)
    upload(slug, export, system=ERP)


def _configuration(system: str, access: Mapping[str, str]) -> tuple[dict[str, Any], dict[str, SecretStr]]:
    values: dict[str, Any]
    if system == "marketo":
        values = {"url": access["url"], "client_id": access["client id"], "start": _BEFORE_THE_FIRST_EVENT}
        # The vendor asks for a minute's patience with an export, and for few calls; the test server does not mind.
        return values | {"poll_seconds": 0.05, "calls_in_20_seconds": DEMO_CALLS}, {
            "client_secret": SecretStr(access["client secret"])
        }
    values = {
        "url": access["url"],
        "client_id": access["consumer key"],
        "user_names": True,
        "links": {"Opportunity.Case_Key__c": ERP},
    }
    return values, {"client_secret": SecretStr(access["consumer secret"])}


def _connected(
    settings: Settings,
    workspace: Workspace,
    type: str,
    values: Mapping[str, Any],
    secrets: Mapping[str, SecretStr],
) -> Connector:
    """The connector, made or told the server's new address, and checked."""
    with acting(None) as connection:
        known = [c for c in connectors.list_connectors(connection, workspace.id) if c.type == type]
        if known:
            change_source(connection, settings, known[0], values, secrets)
        else:
            known = [add_source(connection, settings, workspace.id, type, type, values, secrets)]
    check_source(settings, workspace, known[0], enable=True)
    with acting(None) as connection:
        return connectors.get_connector(connection, workspace.id, known[0].id)
