"""A small event log in memory, its build, and the same tables worked out by plain Python."""

import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any
from uuid import UUID

import duckdb
import pyarrow as pa

from orchestration.mining.conformance import HappyPath
from orchestration.mining.dbt_build import build_process_models
from orchestration.mining.packing import Packing
from orchestration.mining.working_calendar import WorkingCalendar
from orchestration.mining.working_time import create_working_time
from tests.mining.working_reference import worked_us

EPOCH = datetime(1970, 1, 1)  # TIMESTAMP columns are naive UTC.
Row = dict[str, Any]


@dataclass(frozen=True)
class Event:
    case: int
    time_us: int
    tie_order: int
    activity: str


@dataclass(frozen=True)
class Parameters:
    end_activities: tuple[str, ...] = ()
    silence_us: int | None = None
    as_of_us: int = 0
    left_edge_us: int | None = None
    slug: str = "acme"
    happy_path: tuple[str, ...] | None = None
    calendar: WorkingCalendar | None = None

    def duration_us(self, start_us: int, end_us: int) -> int:
        return worked_us(self.calendar, start_us, end_us) if self.calendar else end_us - start_us


WORKSPACE, ANALYSIS = UUID(int=1), UUID(int=2)


def preparation(
    events: Sequence[Event], parameters: Parameters
) -> Callable[[duckdb.DuckDBPyConnection], None]:
    def prepare(connection: duckdb.DuckDBPyConnection) -> None:
        table = pa.table(
            {
                "case": pa.array([str(UUID(int=event.case)) for event in events], pa.string()),
                "time_us": pa.array([event.time_us for event in events], pa.int64()),
                "tie_order": pa.array([event.tie_order for event in events], pa.int32()),
                "activity": pa.array([event.activity for event in events], pa.string()),
            }
        )
        connection.register("given", table)
        connection.execute("create schema input")
        connection.execute(
            'create table input.events as select "case"::uuid as global_case_id, '
            'make_timestamp(time_us) as "timestamp", tie_order, activity from given'
        )
        connection.execute(
            "create table input.parameters as select ?::uuid as workspace_id, ?::uuid as analysis_id, "
            "? as workspace_slug, ?::varchar[] as end_activities, ?::bigint as silence_us, "
            "make_timestamp(?::bigint) as as_of, make_timestamp(?::bigint) as left_edge, ?::varchar[] as happy_path",
            [
                WORKSPACE,
                ANALYSIS,
                parameters.slug,
                list(parameters.end_activities),
                parameters.silence_us,
                parameters.as_of_us,
                parameters.left_edge_us,
                None if parameters.happy_path is None else list(parameters.happy_path),
            ],
        )
        if parameters.calendar is not None:
            moments = [EPOCH + timedelta(microseconds=event.time_us) for event in events]
            create_working_time(connection, parameters.calendar, min(moments).date(), max(moments).date())
        connection.execute("set global lock_configuration = true")

    return prepare


def built(
    events: Sequence[Event], parameters: Parameters, packing: Packing | None = None
) -> dict[str, list[Row]]:
    with build_process_models(preparation(events, parameters), packing=packing) as build:
        return {
            "cases": rows(build.connection, "from main.cases order by global_case_id"),
            "variants": [
                {**row, "metadata": json.loads(row["metadata"])}
                for row in rows(build.connection, "from main.variants order by home_month, variant_hash")
            ],
            "process_map": rows(
                build.connection,
                "from main.process_map order by home_month, source_activity, target_activity",
            ),
        }


def rows(connection: duckdb.DuckDBPyConnection, sql: str) -> list[Row]:
    cursor = connection.execute(sql)
    names = [column[0] for column in cursor.description or []]
    return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]


def expected(events: Sequence[Event], parameters: Parameters) -> dict[str, list[Row]]:
    traces: dict[int, list[Event]] = defaultdict(list)
    for event in sorted(events, key=lambda e: (e.time_us, e.tie_order)):
        traces[event.case].append(event)
    cases = [_case(case, trace, parameters) for case, trace in sorted(traces.items())]
    variants = _variants(cases, traces, parameters)
    fitness = {(row["home_month"], row["variant_hash"]): _fitness(row) for row in variants}
    for case in cases:
        case["feature_vector"].append(fitness[case["home_month"], case["variant_hash"]])
        if parameters.calendar is not None:
            case["feature_vector"].append((case["end_ts"] - case["start_ts"]).total_seconds())
    return {
        "cases": cases,
        "variants": variants,
        "process_map": _process_map(cases, traces, parameters),
    }


def variant_hash(activities: Sequence[str]) -> str:
    digest = hashlib.sha256(b"casetrail-variant-1")
    for label in activities:
        encoded = label.encode()
        digest.update(str(len(encoded)).encode() + b":" + encoded)
    return digest.hexdigest()


def _case(case: int, trace: Sequence[Event], parameters: Parameters) -> Row:
    labels = [event.activity for event in trace]
    first, last = trace[0].time_us, trace[-1].time_us
    start = EPOCH + timedelta(microseconds=first)
    home_month = start.isoformat()[:7]  # strftime does not pad the year
    return {
        "workspace_id": WORKSPACE,
        "analysis_id": ANALYSIS,
        "global_case_id": UUID(int=case),
        "start_ts": start,
        "end_ts": EPOCH + timedelta(microseconds=last),
        "cycle_time_seconds": parameters.duration_us(first, last) / 1e6,
        "variant_id": variant_hash(labels)[:16],
        "variant_hash": variant_hash(labels),
        "feature_vector": [
            len(labels),
            len(set(labels)),
            len(labels) - len(set(labels)),
            _self_loops(labels),
            start.hour,
            start.isoweekday(),
        ],
        "home_month": home_month,
        "partition_id": f"{home_month}|{parameters.slug}",
        "state": _state(first, last, labels[-1], parameters),
        "cycle_time_us": parameters.duration_us(first, last),
        "event_count": len(labels),
        "start_activity": labels[0],
        "end_activity": labels[-1],
        "order_is_tied": len({event.time_us for event in trace}) < len(trace),
    }


def _self_loops(labels: Sequence[str]) -> int:
    return sum(before == after for before, after in pairwise(labels))


def _state(first: int, last: int, end: str, parameters: Parameters) -> str:
    if not parameters.end_activities and parameters.silence_us is None:
        return "completed"
    if parameters.left_edge_us is not None and first <= parameters.left_edge_us:
        return "left_cut"
    silent = parameters.silence_us is not None and parameters.as_of_us - last >= parameters.silence_us
    return "completed" if end in parameters.end_activities or silent else "open"


def _fitness(variant: Row) -> float | None:
    conformance = variant["metadata"]["conformance"]
    return None if conformance is None else conformance["fitness"]


def _conformance(happy: Sequence[str] | None, labels: Sequence[str], declared: bool) -> Row | None:
    if happy is None:
        return None
    found = HappyPath(happy).align(labels)
    return {
        "happy_path": "declared" if declared else "of the month",
        "fitness": found.fitness,
        "inserted": list(found.inserted),
        "skipped": list(found.skipped),
    }


def _variants(cases: Sequence[Row], traces: dict[int, list[Event]], parameters: Parameters) -> list[Row]:
    members: dict[tuple[str, str], list[Row]] = defaultdict(list)
    for case in cases:
        members[case["home_month"], case["variant_hash"]].append(case)
    completed = {
        key: [case["cycle_time_us"] for case in group if case["state"] == "completed"]
        for key, group in members.items()
    }
    happy: dict[str, tuple[str, str]] = {}
    for key in sorted(members):  # in order of the hash, so that the first of equals stays
        best = happy.setdefault(key[0], key)
        if len(completed[key]) > len(completed[best]):
            happy[key[0]] = key
    found = []
    paths = {
        key: [event.activity for event in traces[group[0]["global_case_id"].int]]
        for key, group in members.items()
    }
    for key, group in sorted(members.items()):
        labels = paths[key]
        best = happy[key[0]]
        happy_path = parameters.happy_path or (paths[best] if completed[best] else None)
        total, count = sum(completed[key]), len(completed[key])
        metadata = {
            "length": len(labels),
            "distinct_activities": len(set(labels)),
            "rework_events": len(labels) - len(set(labels)),
            "self_loops": _self_loops(labels),
            "conformance": _conformance(happy_path, labels, parameters.happy_path is not None),
            **({"clock": "working"} if parameters.calendar else {}),
        }
        found.append(
            {
                "workspace_id": WORKSPACE,
                "analysis_id": ANALYSIS,
                "variant_id": key[1][:16],
                "variant_hash": key[1],
                "frequency": len(group),
                "avg_cycle_time_seconds": total / count / 1e6 if count else None,
                "is_happy_path": happy_path is not None and list(happy_path) == labels,
                "metadata": metadata,
                "home_month": key[0],
                "partition_id": group[0]["partition_id"],
                "activities": labels,
                "completed_count": count,
                "total_cycle_time_us": total,
            }
        )
    return found


def _process_map(cases: Sequence[Row], traces: dict[int, list[Event]], parameters: Parameters) -> list[Row]:
    frequency: Counter[tuple[str, str, str]] = Counter()
    total_us: Counter[tuple[str, str, str]] = Counter()
    partitions = {case["home_month"]: case["partition_id"] for case in cases}
    for case in cases:
        trace = traces[case["global_case_id"].int]
        for before, after in pairwise(trace):
            edge = (case["home_month"], before.activity, after.activity)
            frequency[edge] += 1
            total_us[edge] += parameters.duration_us(before.time_us, after.time_us)
    return [
        {
            "workspace_id": WORKSPACE,
            "analysis_id": ANALYSIS,
            "source_activity": edge[1],
            "target_activity": edge[2],
            "frequency": frequency[edge],
            "total_us": total_us[edge],
            "home_month": edge[0],
            "partition_id": partitions[edge[0]],
        }
        for edge in sorted(frequency, key=lambda e: (e[0], e[1].encode(), e[2].encode()))
    ]


def microseconds(text: str) -> int:
    """Microseconds since 1970 of an ISO time, UTC."""
    moment = datetime.fromisoformat(text).replace(tzinfo=UTC)
    return (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
