"""A thousand workspaces at rest in one installation: ticks, definitions, the UI's partition status, memory.

    python -m benchmarks.many_workspaces [--workspaces 1000] [--months 36] [--json FILE]

Starts its own PostgreSQL, S3 and Dagster in a temporary folder. One workspace goes through the real stages; its rows in
the control plane are copied to the others under ids of their own, and its materialisations to all partitions. Ticks are
measured in this process, on the instance that webserver and daemon use meanwhile.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import psutil
import psycopg

from orchestration.services.dagster_processes import dagster_environment
from orchestration.services.postgres import Postgres
from orchestration.services.stack import Stack
from orchestration.settings import Installation, Settings, load_settings
from orchestration.stages.staleness import add_months, months_between

PROJECT = Path(__file__).resolve().parents[1]
TEMPLATE = "w0000"
ASSETS = ("raw_records", "events", "cases", "variants", "process_map", "explainability", "provenance")
CHANGED = 10

_PARTITION_STATUS = """
query ($path: [String!]!) { assetNodeOrError(assetKey: {path: $path}) { ... on AssetNode {
  partitionKeysByDimension { name partitionKeys }
  assetPartitionStatuses { ... on MultiPartitionStatuses { primaryDimensionName ranges {
    primaryDimStartKey primaryDimEndKey
    secondaryDim { ... on DefaultPartitionStatuses {
      materializedPartitions failedPartitions materializingPartitions unmaterializedPartitions
    } }
  } } }
} } }
"""


@dataclass(frozen=True)
class Figure:
    """One measured thing; ``unit`` is ``s`` or ``MB``."""

    name: str
    value: float
    unit: str = "s"


def main() -> None:
    """Print one table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--workspaces", type=int, default=1000)
    parser.add_argument("--months", type=int, default=36)
    parser.add_argument("--json", type=Path, metavar="FILE", help="Write the figures here too.")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="casetrail-benchmark-") as folder:
        # PostgreSQL runs as another user when we are root, and must be able to reach its folder.
        Path(folder).chmod(0o711)
        home = Path(folder) / "home"
        first_month = add_months(f"{datetime.now(UTC):%Y-%m}", -arguments.months)
        os.environ |= {"CASETRAIL_HOME": str(home), "CASETRAIL_FIRST_MONTH": first_month}
        figures = measure(
            home,
            arguments.workspaces,
            months_between(first_month, add_months(first_month, arguments.months - 1)),
        )
    load = os.getloadavg()[0]
    print(
        f"\n{arguments.workspaces} workspaces x {arguments.months} months, load of the machine {load:.1f}\n"
    )
    for figure in figures:
        print(f"{figure.name:64}{figure.value:10.3f} {figure.unit}")
    if arguments.json:
        told = {"workspaces": arguments.workspaces, "months": arguments.months, "load": load}
        arguments.json.write_text(json.dumps(told | {"figures": [asdict(f) for f in figures]}, indent=1))


def measure(home: Path, count: int, months: list[str]) -> list[Figure]:
    """Fill an installation and measure it."""
    casetrail("up", "--storage-only")
    try:
        settings = load_settings(home)
        log = home / "log.csv"
        log.write_text("case,activity,time\n" + "".join(_lines(months)))
        casetrail("workspace", "create", TEMPLATE, "--slug", TEMPLATE, "--owner", "bench@casetrail.local")
        casetrail("upload", TEMPLATE, str(log))
        with told("stages of the template"):
            _release(settings)
        with told("first start of Dagster"):
            casetrail("up")
        os.environ |= dagster_environment(settings)
        with told("rows of the other workspaces"):
            copy_workspaces(settings, count)
        with told("materialisations"):
            copy_materialisations(settings, count, months)
        return [
            *loads(),
            *ticks(settings),
            *partition_status(settings),
            *memory(home),
        ]
    finally:
        casetrail("down")


def _lines(months: list[str]) -> Iterator[str]:
    for month in months:
        for case in range(3):
            yield f"{month}-{case},ask,{month}-{2 + case:02}T10:00:00Z\n"
            yield f"{month}-{case},pay,{month}-{12 + case:02}T10:00:00Z\n"


def _release(settings: Settings) -> None:
    from orchestration.automation.looks import look_at_due
    from orchestration.automation.planner import plan_run
    from orchestration.stages.opening import open_workspace
    from orchestration.stages.publish import release_workspace
    from orchestration.stages.refresh import run_stages

    with open_workspace(settings, TEMPLATE, "benchmark") as opened:
        run_stages(opened.bench)
    with open_workspace(settings, TEMPLATE, "benchmark") as opened:
        release_workspace(settings, opened, [], "benchmark")
    assert [look.plan for look in look_at_due(settings, plan_run, datetime.now(UTC))] == [None]


def copy_workspaces(settings: Settings, count: int) -> None:
    """The template's rows of every table for ``count - 1`` more workspaces; every other id is derived from its own."""
    name = psycopg.conninfo.conninfo_to_dict(settings.owner_dsn.get_secret_value())["dbname"]
    with psycopg.connect(Postgres(settings.home).admin_dsn(str(name)).get_secret_value()) as connection:
        connection.execute("set local session_replication_role = replica")
        connection.execute(
            """
            create temp table copies as
            select md5(number::text)::uuid as id, 'w' || lpad(number::text, 4, '0') as slug
            from generate_series(1, %s) as number
            """,
            (count - 1,),
        )
        connection.execute(
            """
            insert into workspaces (id, slug, name, owner_user_id, region, plan)
            select copies.id, copies.slug, copies.slug, owner_user_id, region, plan
            from copies cross join workspaces where workspaces.slug = %s
            """,
            (TEMPLATE,),
        )
        tables = connection.execute(
            """
            select attrelid::regclass::text, array_agg(attname::text), array_agg(
                case when attname = 'workspace_id' then 'copies.id'
                     when atttypid = 'uuid'::regtype and attname not in ('user_id', 'created_by', 'owner_user_id')
                          then format('md5(source.%I::text || copies.id)::uuid', attname)
                     else format('source.%I', attname) end
            )
            from pg_attribute join pg_class on pg_class.oid = attrelid
            where relkind = 'r' and relnamespace = 'public'::regnamespace and attnum > 0 and not attisdropped
                and attgenerated = ''
            group by attrelid having 'workspace_id' = any(array_agg(attname::text))
            """
        ).fetchall()
        for table, names, values in tables:
            connection.execute(
                f"insert into {table} ({', '.join(names)}) select {', '.join(values)}"
                f" from {table} as source cross join copies"
                " where source.workspace_id = (select id from workspaces where slug = %s)",
                (TEMPLATE,),
            )
    with psycopg.connect(settings.owner_dsn.get_secret_value(), autocommit=True) as connection:
        connection.execute("analyze")


def copy_materialisations(settings: Settings, count: int, months: list[str]) -> None:
    """Each asset materialised in every partition: one event each through Dagster, the others copied from it."""
    import dagster as dg

    from orchestration.partitions import WORKSPACE_PARTITIONS_NAME, partition_key

    slugs = [f"w{number:04}" for number in range(count)]
    first = str(partition_key(TEMPLATE, months[0]))
    with dg.DagsterInstance.get() as instance:
        instance.add_dynamic_partitions(WORKSPACE_PARTITIONS_NAME, slugs)
        for asset in ASSETS:
            instance.report_runless_asset_event(dg.AssetMaterialization(asset, partition=first))
    with psycopg.connect(settings.dagster_dsn.get_secret_value()) as connection:
        connection.execute(
            """
            insert into event_logs (run_id, event, dagster_event_type, timestamp, step_key, asset_key, partition)
            select run_id, replace(event, %(first)s, key), dagster_event_type, timestamp, step_key, asset_key, key
            from event_logs, unnest(%(months)s::text[]) as month, unnest(%(slugs)s::text[]) as slug,
                 lateral (select month || '|' || slug as key) as keys
            where partition = %(first)s and key <> %(first)s
            """,
            {"first": first, "months": months, "slugs": slugs},
        )
        connection.commit()
        connection.autocommit = True
        connection.execute("vacuum analyze event_logs")


def loads() -> list[Figure]:
    """Seconds that a fresh process needs for the code location, and Dagster for a restart."""
    code = "from orchestration.definitions import defs; defs.get_repository_def()"
    fresh = timed(lambda: subprocess.run([sys.executable, "-c", code], cwd=PROJECT, check=True), 3)
    casetrail("down")
    casetrail("up", "--storage-only")
    return [
        Figure("code location loads in a fresh process", fresh),
        Figure("`casetrail up` of Dagster over running storage", timed(lambda: casetrail("up"), 1)),
    ]


def ticks(settings: Settings) -> list[Figure]:
    """Seconds of the sensor's tick at rest, with changes, and after a new code version; of the schedule's tick."""
    import dagster as dg

    from orchestration.automation.arrivals import arrival_sensor
    from orchestration.automation.intake import inbox_requests
    from orchestration.automation.looks import look_at_due
    from orchestration.automation.planner import plan_run
    from orchestration.automation.refresh import daily_refresh

    with dg.DagsterInstance.get() as instance:

        def sensor() -> Any:
            return arrival_sensor(
                dg.build_sensor_context(instance=instance, cursor=datetime.now(UTC).isoformat())
            )

        def schedule() -> Any:
            found: Any = daily_refresh(dg.build_schedule_context(instance=instance))
            return list(found)

        def dropped() -> Any:
            return list(inbox_requests(instance, set(), datetime.now(UTC)))

        def look() -> Any:
            return look_at_due(settings, plan_run, datetime.now(UTC))

        assert not sensor().run_requests, "the copies are to be at rest"
        figures = [
            Figure("sensor tick, all at rest", timed(sensor, 5)),
            Figure("  of it, marks and plans", timed(look, 5)),
            Figure("  of it, dropped files", timed(dropped, 5)),
            Figure("schedule tick, all at rest", timed(schedule, 5)),
        ]
        _stop_sensor(settings)
        _deliver(settings, CHANGED)
        seconds, found = once(sensor)
        assert len(found.run_requests) == CHANGED, found.run_requests
        figures.append(Figure(f"sensor tick, {CHANGED} workspaces changed", seconds))
        with psycopg.connect(settings.owner_dsn.get_secret_value()) as connection:
            connection.execute("update planner_marks set code_version = 'older'")
        seconds, looks = once(look)
        figures.append(
            Figure(f"  marks and plans after a new code version, {len(looks)} workspaces", seconds)
        )
        return figures


def _stop_sensor(settings: Settings) -> None:
    """The daemon's own ticks must not take the changes away."""
    selector = {
        "repositoryName": "__repository__",
        "repositoryLocationName": "orchestration.definitions",
        "sensorName": "arrival_sensor",
    }
    state = "query ($s: SensorSelector!) { sensorOrError(sensorSelector: $s) { ... on Sensor { sensorState { id } } } }"
    found = ask(settings, state, s=selector)["sensorOrError"]["sensorState"]["id"]
    ask(settings, "mutation ($id: String!) { stopSensor(id: $id) { __typename } }", id=found)
    time.sleep(5)


def _deliver(settings: Settings, count: int) -> None:
    """A late file for an old month of some workspaces, as far as planners see it."""
    name = psycopg.conninfo.conninfo_to_dict(settings.owner_dsn.get_secret_value())["dbname"]
    with psycopg.connect(Postgres(settings.home).admin_dsn(str(name)).get_secret_value()) as connection:
        chosen = "workspace_id in (select id from workspaces order by slug limit %s)"
        connection.execute(
            f"""
            update arrival_files set content_sha256 = repeat('f', 64)
            where {chosen} and kind = 'raw' and month = (select min(month) from arrival_files)
            """,
            (count,),
        )
        connection.execute(f"update arrivals set message = 'late' where {chosen}", (count,))


def partition_status(settings: Settings) -> list[Figure]:
    """Seconds of what an asset's page asks for: the first time, and again."""
    figures = []
    for asset in ("cases", "events"):
        seconds, found = once(lambda asset=asset: ask(settings, _PARTITION_STATUS, path=[asset]))  # type: ignore[misc]
        ranges = found["assetNodeOrError"]["assetPartitionStatuses"]["ranges"]
        assert ranges, found
        again = timed(lambda asset=asset: ask(settings, _PARTITION_STATUS, path=[asset]), 3)  # type: ignore[misc]
        figures += [
            Figure(f"partition status of {asset} in the UI, first", seconds),
            Figure(f"partition status of {asset} in the UI, again", again),
        ]
    return figures


def ask(settings: Settings, query: str, **variables: Any) -> Any:
    """The data of an answer of the webserver."""
    url = f"http://{settings.webserver_host}:{settings.webserver_port}/graphql"
    body = json.dumps({"query": query, "variables": variables}).encode()
    with urlopen(Request(url, body, {"Content-Type": "application/json"}), timeout=300) as answer:
        found = json.load(answer)
    assert "errors" not in found, found["errors"]
    return found["data"]


def memory(home: Path) -> list[Figure]:
    """Resident memory of each service with its children."""
    figures = []
    for service in Stack(Installation(home=home)).status():
        if service.pid is not None:
            process = psutil.Process(service.pid)
            family = [process, *process.children(recursive=True)]
            resident = sum(member.memory_info().rss for member in family) / 1e6
            figures.append(Figure(f"memory of {service.name}, {len(family)} process(es)", resident, "MB"))
    return figures


def timed(work: Callable[[], Any], times: int) -> float:
    """The median of so many calls, in seconds."""
    return statistics.median(once(work)[0] for _ in range(times))


def once(work: Callable[[], Any]) -> tuple[float, Any]:
    """The seconds of a call, and what it gave."""
    began = time.perf_counter()
    found = work()
    return time.perf_counter() - began, found


@contextmanager
def told(what: str) -> Iterator[None]:
    """Say what was prepared and how long it took."""
    began = time.perf_counter()
    yield
    print(f"{what}: {time.perf_counter() - began:.1f} s", flush=True)


def casetrail(*arguments: str) -> None:
    """Run the command on the installation of this process' environment."""
    program = str(Path(sys.executable).parent / "casetrail")
    subprocess.run([program, *arguments], cwd=PROJECT, check=True, stdout=subprocess.DEVNULL)


if __name__ == "__main__":
    main()
