"""``casetrail demo serve``: a test server of a vendor's system, to try connectors without an account there."""

import csv
import json
import signal
import tempfile
import threading
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from casetrail_testkit import MarketoServer, SalesforceServer
from casetrail_testkit.fivetran import load_marketo, load_salesforce
from casetrail_testkit.salesforce.catalog import Field
from casetrail_testkit.salesforce.ids import record_id
from orchestration.demo import vendor_records
from orchestration.demo.lead_to_cash import write_lead_to_cash
from orchestration.services.files import write_private


class System(StrEnum):
    """What can be served."""

    salesforce = "salesforce"
    marketo = "marketo"


DEFAULT_PORTS = {System.salesforce: 8701, System.marketo: 8702}


def serve(
    system: Annotated[System, typer.Argument(help="Whose protocol to speak.")],
    port: Annotated[
        int | None,
        typer.Option(
            help="If not given, 8701 for salesforce and 8702 for marketo; 0: any free one.", min=0, max=65_535
        ),
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(help="Folder of CSV tables in Fivetran's shape to serve.", exists=True, file_okay=False),
    ] = None,
    cases: Annotated[int, typer.Option(help="Cases of the sample company, without --data.", min=1)] = 2_000,
    calls: Annotated[
        int | None, typer.Option(help="Calls that Marketo lets pass in 20 seconds, if not 100.", min=1)
    ] = None,
    access_file: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Write address and credentials there as JSON once the data are loaded."
        ),
    ] = None,
) -> None:
    """Serve a made-up Salesforce or Marketo on this machine until Ctrl-C: real HTTP, made-up records."""
    number = DEFAULT_PORTS[system] if port is None else port
    try:
        server = SalesforceServer(port=number) if system == System.salesforce else MarketoServer(port=number)
    except OSError as error:
        typer.echo(
            f"Error: port {number} cannot be used ({error.strerror}): name another with --port.", err=True
        )
        raise typer.Exit(2) from None
    if calls is not None and isinstance(server, MarketoServer):
        server.limits.calls_in_window = calls
    with server:
        try:
            loaded = _load(server, data, cases)
        except ValueError as error:
            typer.echo(f"Error: {error}.", err=True)
            raise typer.Exit(2) from None
        if access_file is not None:
            write_private(access_file, json.dumps({"url": server.url, **_credentials(server)}))
        typer.echo(f"A made-up {system.capitalize()} at {server.url}, for tests only.")
        for name, value in _credentials(server).items():
            typer.echo(f"  {name:<16} {value}")
        typer.echo("Records: " + ", ".join(f"{name} {count:,}" for name, count in loaded.items()))
        typer.echo(f"Steer it at {server.url}/_testkit/... (docs/test-servers.md). Ctrl-C ends it.")
        _wait_for_the_end()
    typer.echo("Stopped.")


def _load(server: SalesforceServer | MarketoServer, data: Path | None, cases: int) -> dict[str, int]:
    """Fill a server; how many records of each kind.

    Raises:
        ValueError: If the folder has no table of this system.
    """
    if data is not None:
        if isinstance(server, SalesforceServer):
            return load_salesforce(server.store, data)
        return load_marketo(server.store, data)
    with tempfile.TemporaryDirectory(prefix="casetrail-demo-") as folder:
        path = Path(folder) / "lead_to_cash.csv"
        write_lead_to_cash(path, cases=cases, cut_at_end=True)
        with path.open(encoding="utf-8", newline="") as file:
            log = list(csv.DictReader(file))
    return fill_salesforce(server, log) if isinstance(server, SalesforceServer) else fill_marketo(server, log)


def fill_salesforce(server: SalesforceServer, log: list[dict[str, str]]) -> dict[str, int]:
    """Hand the sample company's records to an org; how many each object got."""
    loaded = {}
    for name, records in vendor_records.salesforce_records(log, record_id).items():
        fields = list(records[0]) if records else []
        for field in fields:
            if not server.store.object(name).has(field):
                server.store.add_field(name, Field(field))
        loaded[name] = server.store.load(name, fields, ([*record.values()] for record in records))
    return loaded


def fill_marketo(server: MarketoServer, log: list[dict[str, str]]) -> dict[str, int]:
    """Hand the sample company's records to a subscription; how many of each kind."""
    store = server.store
    leads = vendor_records.marketo_leads(log, record_id)
    types = {name: kind.id for name, kind in store.types.items()}
    activities = (
        (number, one["leadId"], one["activityDate"], types[one["type"]], None, None, None, "{}", None)
        for number, one in enumerate(vendor_records.marketo_activities(log), 1)
    )
    return {
        "lead": store.load_leads(list(leads[0]), ([*lead.values()] for lead in leads)),
        "activity": store.load_activities(activities),
    }


def _credentials(server: SalesforceServer | MarketoServer) -> dict[str, str]:
    if isinstance(server, MarketoServer):
        return {"client id": server.identity.client_id, "client secret": server.identity.client_secret}
    sessions = server.sessions
    key = server.tables.folder / "jwt-key.pem"
    key.touch(mode=0o600)
    key.write_text(sessions.private_key)
    return {
        "consumer key": sessions.consumer_key,
        "consumer secret": sessions.consumer_secret,
        "user name": sessions.username,
        "private key": str(key),
    }


def _wait_for_the_end() -> None:
    """Return at Ctrl-C, or when asked to terminate."""
    ended = threading.Event()
    for name in (signal.SIGINT, signal.SIGTERM):
        signal.signal(name, lambda *_: ended.set())
    ended.wait()
