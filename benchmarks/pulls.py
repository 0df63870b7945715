"""A connector's first sync, from a test server of its vendor into raw: wall, CPU, peak memory, and the server's share.

    python -m benchmarks.pulls marketo|salesforce [--records 1000000]

Starts its own PostgreSQL and S3 in a temporary folder. Server and sync are processes of their own, so that each one's
CPU and memory are its own; the server answers from the same machine.
"""

import argparse
import json
import multiprocessing
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from benchmarks.pipeline import PROJECT, casetrail_command
from casetrail_testkit import MarketoServer, SalesforceServer
from casetrail_testkit.salesforce.ids import record_id
from orchestration.control_plane import connectors, database, workspaces
from orchestration.settings import Settings, load_settings
from orchestration.stages.pulls import sync
from orchestration.stages.source_access import add_source, check_source

SLUG = "pulled"
SPAN = timedelta(days=30)
"""The records lie in one month, some months ago."""

Served = tuple[dict[str, Any], dict[str, str]]
"""Configuration and secrets of a connector to a server."""


@dataclass(frozen=True)
class Measured:
    """Seconds and MB; ``server_cpu`` is what the test server worked while it was pulled from."""

    records: int
    landed: int
    pulls: int
    wall: float
    cpu: float
    peak_mb: float
    server_cpu: float


def main() -> None:
    """Print what one sync took, and one after it that finds nothing new."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("type", choices=sorted(SERVERS))
    parser.add_argument("--records", type=int, default=1_000_000)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--sync-of", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.sync_of:
        print(json.dumps(synced(arguments.sync_of)))
        return
    with tempfile.TemporaryDirectory(prefix="casetrail-benchmark-") as folder:
        # PostgreSQL runs as another user when we are root, and must be able to reach its folder.
        Path(folder).chmod(0o711)
        measured = measure(Path(folder), arguments.type, arguments.records)
    if arguments.json:
        print(json.dumps([asdict(one) for one in measured], indent=2))
        return
    for one in measured:
        print("  ".join(f"{name} {value:,.1f}" for name, value in asdict(one).items()))


def measure(folder: Path, type_: str, records: int) -> list[Measured]:
    """An installation and a server of its own, and two syncs."""
    os.environ["CASETRAIL_SECRET_KEY"] = "k" * 32
    os.environ["CASETRAIL_CONNECTOR_INTERNAL_HOSTS"] = '["127.0.0.1"]'
    casetrail = casetrail_command(folder / "home")
    processes = multiprocessing.get_context("spawn")
    ours, theirs = processes.Pipe()
    server = processes.Process(target=serve, args=(type_, records, theirs))
    casetrail("up", "--storage-only")
    server.start()
    try:
        casetrail("workspace", "create", SLUG, "--owner", "bench@casetrail.local")
        settings = load_settings(folder / "home")
        connector_id = add(settings, type_, *ours.recv())
        made = list[Measured]()
        for _ in range(2):
            before = told(ours)
            done = subprocess.run(
                [sys.executable, "-m", "benchmarks.pulls", type_, "--sync-of", connector_id],
                env={**os.environ, "CASETRAIL_HOME": str(folder / "home")}, cwd=PROJECT, check=True,
                stdout=subprocess.PIPE, text=True,
            )  # fmt: skip
            made.append(Measured(**json.loads(done.stdout), server_cpu=told(ours) - before))
        return made
    finally:
        ours.send(None)
        server.join()
        casetrail("down")


def told(server: Connection) -> float:
    """The CPU seconds of the server so far."""
    server.send("cpu")
    return float(server.recv())


def serve(type_: str, records: int, pipe: Connection) -> None:
    """Serve so many records until told to end."""
    server, configure = SERVERS[type_](records)
    with server:
        pipe.send(configure(server))
        while pipe.recv() is not None:
            pipe.send(server.cpu_seconds)


def add(settings: Settings, type_: str, config: Mapping[str, Any], secrets: Mapping[str, str]) -> str:
    """A connector that was checked; its id."""
    with database.as_user(settings.app_dsn, settings.operator) as connection:
        workspace = workspaces.find_workspace(connection, SLUG)
        sealed = {name: SecretStr(value) for name, value in secrets.items()}
        made = add_source(connection, settings, workspace.id, type_, "benchmark", config, sealed)
    check_source(settings, workspace, made, enable=True)
    return made.id


def synced(connector_id: str) -> dict[str, Any]:
    """One sync in this process, which has done nothing else."""
    settings = load_settings()
    with database.as_user(settings.app_dsn, settings.operator) as connection:
        workspace = workspaces.find_workspace(connection, SLUG)
        connector = connectors.get_connector(connection, workspace.id, connector_id)
    wall, cpu = time.perf_counter(), time.process_time()
    done = sync(settings, workspace, connector)
    return {
        "records": done.total("records"),
        "landed": done.total("landed"),
        "pulls": len(done.pulls),
        "wall": time.perf_counter() - wall,
        "cpu": time.process_time() - cpu,
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


def marketo(records: int) -> tuple[MarketoServer, Callable[[MarketoServer], Served]]:
    """A subscription with so many activities, all of one month."""
    server = MarketoServer()
    begin = (datetime.now(UTC) - timedelta(days=120)).replace(microsecond=0)
    leads = max(records // 20, 1)
    kinds = [
        server.store.types[name].id for name in ("Click Email", "Open Email", "Visit Webpage", "New Lead")
    ]

    def activities() -> Iterator[tuple[Any, ...]]:
        for number in range(records):
            at = begin + SPAN * number / records
            attributes = {
                "Campaign Run ID": number % 977,
                "Link": f"https://acme.example/offers/{number % 4_999}",
                "Is Mobile Device": number % 3 == 0,
                "Platform": "Windows",
            }
            yield (
                *(number + 1, number % leads + 1, at.strftime("%Y-%m-%dT%H:%M:%SZ"), kinds[number % 4]),
                *(1_001, number % 350, f"Mailing {number % 350}", json.dumps(attributes), "succeeded"),
            )

    server.store.load_activities(activities())
    stamp = begin.strftime("%Y-%m-%dT%H:%M:%SZ")
    rows = ([number + 1, stamp, stamp, f"p{number}@acme{number % 99}.com"] for number in range(leads))
    server.store.load_leads(["id", "createdAt", "updatedAt", "email"], rows)

    def configure(server: MarketoServer) -> Served:
        config = {
            "url": server.url,
            "client_id": server.identity.client_id,
            "start": stamp,
            "poll_seconds": 1,
        }
        return config, {"client_secret": server.identity.client_secret}

    return server, configure


def salesforce(records: int) -> tuple[SalesforceServer, Callable[[SalesforceServer], Served]]:
    """An org with so many records in all: leads, opportunities and their histories, all of one month."""
    server = SalesforceServer()
    begin = (datetime.now(UTC) - timedelta(days=120)).replace(microsecond=0)
    leads, deals = records // 5, records // 10

    def load(name: str, columns: str, count: int, made: Callable[[int], list[Any]]) -> None:
        """So many records in order of time; ``made`` gives the values of each for its number."""
        stamps = [
            stamp for stamp in ("CreatedDate", "SystemModstamp") if server.store.object(name).has(stamp)
        ]
        server.store.load(name, [*stamps, "CreatedById", *columns.split()], rows(len(stamps), count, made))

    def rows(stamps: int, count: int, made: Callable[[int], list[Any]]) -> Iterator[list[Any]]:
        for number in range(count):
            at = (begin + SPAN * number / count).strftime("%Y-%m-%dT%H:%M:%S.000Z")
            yield [*[at] * stamps, record_id("005", number % 400), *made(number)]

    load(
        "Lead", "Company Status LeadSource Email", leads,
        lambda n: [f"Customer {n % 9_973}", "Qualified", "web", f"p{n}@acme{n % 99}.com"],
    )  # fmt: skip
    load(
        "LeadHistory", "LeadId Field OldValue NewValue", 2 * leads,
        lambda n: [record_id("00Q", n % leads + 1), "Status", "Open", ("Working", "Qualified")[n // leads]],
    )  # fmt: skip
    load(
        "Opportunity", "Name StageName Amount CloseDate IsClosed", deals,
        lambda n: [f"Deal {n}", "Won", n % 9_999 + 0.5, f"{begin:%Y-%m-%d}", n % 2 == 0],
    )  # fmt: skip
    load(
        "OpportunityHistory", "OpportunityId StageName Amount", 3 * deals,
        lambda n: [record_id("006", n % deals), ("Quote", "Quote", "Won")[n // deals], n % 9_999 + 0.5],
    )  # fmt: skip

    def configure(server: SalesforceServer) -> Served:
        config = {"url": server.url, "client_id": server.sessions.consumer_key}
        return config, {"client_secret": server.sessions.consumer_secret}

    return server, configure


SERVERS: dict[str, Callable[[int], tuple[Any, Callable[[Any], Served]]]] = {
    "marketo": marketo,
    "salesforce": salesforce,
}
"""By connector type, a server with so many records, and what a connector to it is told."""


if __name__ == "__main__":
    main()
