"""Object-centric logs, in both forms: flattened by a chosen type, with nothing doubled or left out in silence."""

import gzip
import json
import sqlite3
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from orchestration.connectors import (
    AmbiguousMapping,
    Flattening,
    Hints,
    InvalidMapping,
    Limits,
    Mapping,
    UnreadableFile,
    land,
    probe,
)
from tests.connectors.landed import NOW, LandBytes, Landed, ProbeBytes

MAPPING = {"case_id": "ocel:oid", "activity": "ocel:activity", "timestamp": "ocel:timestamp"}
RUNNING_EXAMPLE = "ocel2_order_management/running-example.sqlite"
TYPES = ("customers", "employees", "items", "orders", "packages")


def thing(oid: str, kind: str, *values: tuple[str, Any, str]) -> dict[str, Any]:
    attributes = [{"name": name, "value": value, "time": time} for name, value, time in values]
    return {"id": oid, "type": kind, "attributes": attributes}


def event(eid: str, kind: str, day: int, *oids: str, **attributes: Any) -> dict[str, Any]:
    return {
        "id": eid,
        "type": kind,
        "time": f"2024-01-{day:02}T08:00:00Z",
        "attributes": [{"name": name, "value": value} for name, value in attributes.items()],
        "relationships": [{"objectId": oid, "qualifier": "of"} for oid in oids],
    }


OBJECTS = [
    thing("o1", "order", ("price", 10.50, "1970-01-01T00:00:00Z"), ("price", 9, "2024-01-03T00:00:00Z")),
    thing("o2", "order"),
    thing("i1", "item"),
    thing("i2", "item", ("weight", "1 kg", "2024-01-02T00:00:00Z")),
]
EVENTS = [
    event("e1", "place", 1, "o1", "i1", "i2", channel="web"),
    event("e2", "pick", 2, "i2", "o1"),
    event("e3", "merge", 4, "o1", "o2"),
    event("e4", "close shop", 5),
]


def ocel_json(
    events: list[dict[str, Any]], objects: list[dict[str, Any]], indent: int | None = None
) -> bytes:
    log = {"objectTypes": [], "eventTypes": [], "objects": objects, "events": events}
    return json.dumps(log, indent=indent).encode()


def ocel_sqlite(path: Path, events: list[dict[str, Any]], objects: list[dict[str, Any]]) -> bytes:
    """The same log as SQLite, as the standard writes it."""
    with closing(sqlite3.connect(path)) as database:
        for kind, rows in (("event", events), ("object", objects)):
            database.execute(f"create table {kind} (ocel_id text primary key, ocel_type text)")
            database.executemany(
                f"insert into {kind} values (?, ?)", [(row["id"], row["type"]) for row in rows]
            )
            database.execute(f"create table {kind}_map_type (ocel_type text, ocel_type_map text)")
            for number, name in enumerate(dict.fromkeys(row["type"] for row in rows)):
                database.execute(f"insert into {kind}_map_type values (?, ?)", (name, f"T{number}"))
                mine = [row for row in rows if row["type"] == name]
                fields = list(dict.fromkeys(a["name"] for row in mine for a in row["attributes"]))
                names = [
                    "ocel_id",
                    "ocel_time",
                    *(["ocel_changed_field"] if kind == "object" else []),
                    *fields,
                ]
                database.execute(f"create table {kind}_T{number} ({', '.join(names)})")
                for row in mine:
                    for values in _type_rows(kind, row):
                        columns, marks = ", ".join(values), ", ".join("?" * len(values))
                        database.execute(
                            f"insert into {kind}_T{number} ({columns}) values ({marks})",
                            list(values.values()),
                        )
        database.execute("create table event_object (ocel_event_id, ocel_object_id, ocel_qualifier)")
        links = [(row["id"], link["objectId"], "of") for row in events for link in row["relationships"]]
        database.executemany("insert into event_object values (?, ?, ?)", links)
        database.commit()
    return path.read_bytes()


def _type_rows(kind: str, row: dict[str, Any]) -> list[dict[str, Any]]:
    if kind == "event":
        values = {attribute["name"]: attribute["value"] for attribute in row["attributes"]}
        return [{"ocel_id": row["id"], "ocel_time": row["time"], **values}]
    rows = [{"ocel_id": row["id"], "ocel_time": "1970-01-01T00:00:00Z"}]
    for attribute in row["attributes"]:
        changed = {"ocel_changed_field": attribute["name"], attribute["name"]: attribute["value"]}
        rows.append({"ocel_id": row["id"], "ocel_time": attribute["time"], **changed})
    return rows


Form = Callable[[list[dict[str, Any]], list[dict[str, Any]]], bytes]


@pytest.fixture(params=["json", "indented json", "sqlite"])
def form(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Form:
    """A log in each form that the standard has for it."""
    if request.param == "sqlite":
        return lambda events, objects: ocel_sqlite(tmp_path_factory.mktemp("ocel") / "log", events, objects)
    return lambda events, objects: ocel_json(events, objects, 2 if "indented" in request.param else None)


def test_a_record_is_an_event_of_an_object_and_the_rest_is_counted(form: Form, land_bytes: LandBytes) -> None:
    landed = land_bytes(form(EVENTS, OBJECTS), **MAPPING, object_type="order")
    found = [(row["_case_id"], row["_activity"], row["ocel:eid"]) for row in landed.rows()]
    assert found == [
        ("o1", "place", "e1"),
        ("o1", "pick", "e2"),
        ("o1", "merge", "e3"),
        ("o2", "merge", "e3"),
    ]
    assert landed.landing.flattening == Flattening("order", 4, duplicated=1, duplicates=1, unrelated=1)
    counts = landed.landing.records, landed.landing.landed, landed.landing.non_event
    assert counts == (5, 4, 1)
    assert [warning.split(" have")[0] for warning in landed.landing.warnings] == ["1 of 4 events", "1 events"]


def test_other_objects_and_attributes_are_columns_with_the_value_of_their_time(
    form: Form, land_bytes: LandBytes
) -> None:
    landed = land_bytes(form(EVENTS, OBJECTS), **MAPPING, object_type="order")
    assert landed.column("ocel:type:item") == ['["i1","i2"]', '["i2"]', None, None]
    assert landed.column("case:price") == ["10.5", "10.5", "9", None]
    assert landed.column("channel") == ["web", None, None, None]
    items = land_bytes(form(EVENTS, OBJECTS), **MAPPING, object_type="item")
    assert items.column("case:weight") == [None, None, "1 kg"]


def test_without_a_type_it_is_asked_for_and_a_wrong_one_is_refused(form: Form, land_bytes: LandBytes) -> None:
    content = form(EVENTS, OBJECTS)
    with pytest.raises(
        AmbiguousMapping, match=r"objects of 2 types.*--object-type order or --object-type item"
    ):
        land_bytes(content, **MAPPING)
    with pytest.raises(InvalidMapping, match=r"no objects of the type 'cart'. Its types: item, order"):
        land_bytes(content, **MAPPING, object_type="cart")


def test_a_log_of_one_type_needs_no_word(form: Form, probe_bytes: ProbeBytes) -> None:
    looked = probe_bytes(form([event("e1", "place", 1, "o1")], [thing("o1", "order")]))
    assert (looked.questions, looked.mapping.case_id) == ((), "ocel:oid")


def test_a_probe_of_the_first_records_says_that_there_are_more(form: Form, probe_bytes: ProbeBytes) -> None:
    looked = probe_bytes(form(EVENTS, OBJECTS), object_type="order", max_records=2)
    assert (looked.complete, len(looked.first_rows)) == (False, 2)


def test_several_qualifiers_are_one_relation(form: Form, land_bytes: LandBytes) -> None:
    landed = land_bytes(form([event("e1", "a", 1, "o1", "o1")], OBJECTS), **MAPPING, object_type="order")
    assert landed.landing.records == 1


def test_relations_to_what_is_not_there_are_told(form: Form, land_bytes: LandBytes) -> None:
    landed = land_bytes(form([event("e1", "a", 1, "o1", "ghost")], OBJECTS), **MAPPING, object_type="order")
    assert "1 relations name" in landed.landing.warnings[-1]


def test_an_event_without_a_time_is_quarantined(form: Form, land_bytes: LandBytes) -> None:
    events = [event("e1", "a", 1, "o1"), {**event("e2", "b", 1, "o1"), "time": None}]
    landed = land_bytes(form(events, OBJECTS), **MAPPING, object_type="order")
    assert landed.reasons() == [(2, None, "missing_timestamp")]


def test_an_attribute_is_not_taken_for_what_the_log_says(land_bytes: LandBytes) -> None:
    events = [event("e1", "a", 1, "o1", **{"ocel:activity": "x", "ocel:oid": "y"})]
    landed = land_bytes(
        ocel_json(events, OBJECTS), **{**MAPPING, "case_id": "ocel:oid__2"}, object_type="order"
    )
    (row,) = landed.rows()
    assert (row["_activity"], row["event:ocel:activity"], row["ocel:oid"]) == ("a", "x", "y")
    assert row["_case_id"] == "o1"


@pytest.mark.parametrize("what", ["event", "object"])
def test_an_id_that_is_there_twice_is_refused(land_bytes: LandBytes, what: str) -> None:
    events, objects = [event("e1", "a", 1, "o1")], [thing("o1", "order")]
    content = ocel_json(events * 2, objects) if what == "event" else ocel_json(events, objects * 2)
    with pytest.raises(UnreadableFile, match=rf"the {what} '[eo]1' twice"):
        land_bytes(content, **MAPPING)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (ocel_json(EVENTS, OBJECTS)[:-40], "no well-formed JSON"),
        (ocel_json(EVENTS, OBJECTS) + b"{}", "follows the end"),
        (ocel_json([], OBJECTS), "no events"),
        (ocel_json(EVENTS, []), "no objects"),
        (b'{"events": [1]}', "is no object"),
        (b'{"events": [{"id": "e", "relationships": {"a": 1}}]}', "no list of objects"),
        (b'{"events": [{"id": "e", "id": "f"}]}', "'id' twice"),
        (b'{"events": [{"id": ' + b"[" * 100_000, "cannot be read|no well-formed"),
        (b'{"events": [{"id": "' + b"x" * 3000, "longer than 2,000 bytes"),
        (b'{"ocel:global-log": {}}', r"OCEL 1\.0"),
    ],
)
def test_broken_and_hostile_json_is_refused(land_bytes: LandBytes, content: bytes, message: str) -> None:
    with pytest.raises(UnreadableFile, match=message):
        land_bytes(content, **MAPPING, limits=Limits(record_bytes=2000))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("drop table event_object", "no table 'event_object'"),
        ("drop table event_T0", "no table 'event_T0'"),
        ("delete from event_map_type", "event type 'close shop'"),
        ("drop table event; create view event as select 1 as ocel_id, 2 as ocel_type", "no table 'event'"),
        (
            "drop table event; create virtual table event using fts5 (ocel_id, ocel_type)",
            "no table 'event'",
        ),
    ],
)
def test_a_database_that_is_no_log_is_refused(
    land_bytes: LandBytes, tmp_path: Path, change: str, message: str
) -> None:
    path = tmp_path / "changed"
    ocel_sqlite(path, EVENTS, OBJECTS)
    with closing(sqlite3.connect(path)) as database:
        database.executescript(change)
    with pytest.raises(UnreadableFile, match=message):
        land_bytes(path.read_bytes(), **MAPPING, object_type="order")


def test_a_damaged_database_is_refused(land_bytes: LandBytes, tmp_path: Path) -> None:
    content = ocel_sqlite(tmp_path / "whole", EVENTS, OBJECTS)
    with pytest.raises(UnreadableFile, match="cannot be read"):
        land_bytes(content[: len(content) // 2], **MAPPING, object_type="order")


def test_a_database_in_an_archive(land_bytes: LandBytes, tmp_path: Path) -> None:
    content = gzip.compress(ocel_sqlite(tmp_path / "whole", EVENTS, OBJECTS))
    assert land_bytes(content, **MAPPING, object_type="order").landing.landed == 4


def test_a_mapping_without_an_object_type_is_written_as_before_there_was_one() -> None:
    plain = Mapping(case_id="c", activity="a", timestamp="t")
    assert "object_type" not in plain.model_dump(mode="json")
    assert Mapping(**{**plain.model_dump(), "object_type": "order"}).model_dump()["object_type"] == "order"


def flattened(path: Path, object_type: str, into: Path) -> Landed:
    looked = probe(path, Hints(object_type=object_type, timezone="UTC"), first_month="2000-01", now=NOW)
    return Landed(land(path, looked.mapping, first_month="2000-01", now=NOW, into=into))


def traces(landed: Landed) -> dict[str, list[dict[str, Any]]]:
    """The events of each case by time, ties in the file's order."""
    cases: dict[str, list[dict[str, Any]]] = {}
    for row in sorted(landed.rows(), key=lambda row: (row["_timestamp"], row["_row_number"])):
        cases.setdefault(row["_case_id"], []).append(row)
    return cases


@pytest.mark.parametrize("object_type", TYPES)
def test_a_public_log_flattened_by_each_type_is_its_truth(
    shared_data: Path, tmp_path: Path, object_type: str
) -> None:
    path = shared_data / RUNNING_EXAMPLE
    truth = json.loads((path.parent / "truth.json").read_text())
    expected = next(log for log in truth["logs"] if log["label"].endswith(f" {object_type}"))
    landed = flattened(path, object_type, tmp_path / "in")
    cases = traces(landed)
    variants = Counter(tuple(row["_activity"] for row in trace) for trace in cases.values())
    pairs = Counter(pair for trace in variants.elements() for pair in pairwise(trace))
    cycles = [(trace[-1]["_timestamp"] - trace[0]["_timestamp"]).total_seconds() for trace in cases.values()]
    rows = landed.rows()
    times = [row["_timestamp"].replace(tzinfo=UTC) for row in rows]
    assert (len(rows), len(cases)) == (expected["n_events"], expected["n_cases"])
    assert Counter(row["_activity"] for row in rows) == expected["activity_counts"]
    assert len(variants) == expected["n_variants"]
    for variant in expected["top5_variants"]:
        assert variants[tuple(variant["variant"])] == variant["count"]
    assert len(pairs) == expected["n_dfg_edges"]
    assert all(pairs[source, target] == count for source, target, count in expected["top10_dfg"])
    assert round(sum(cycles) / len(cycles), 3) == expected["cycle_time_s"]["mean"]
    assert max(cycles) == expected["cycle_time_s"]["max"]
    assert min(times) == datetime.fromisoformat(expected["first_timestamp"])
    assert max(times) == datetime.fromisoformat(expected["last_timestamp"])
    with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro&immutable=1", uri=True)) as database:
        objects = database.execute(
            # One package can have one employee as packer and as forwarder.
            "select count(distinct ocel_object_id) from event_object join object on ocel_id = ocel_object_id"
            " where ocel_type = ? group by ocel_event_id",
            (object_type,),
        ).fetchall()
    counts = [count for (count,) in objects]
    assert landed.landing.flattening == Flattening(
        object_type,
        events=truth["ocel"]["n_events"],
        duplicated=sum(count > 1 for count in counts),
        duplicates=sum(counts) - len(counts),
        unrelated=truth["ocel"]["n_events"] - len(counts),
    )
    assert landed.landing.records == len(rows) + landed.landing.non_event


def test_a_public_log_is_the_same_in_both_forms(shared_data: Path, tmp_path: Path) -> None:
    path = shared_data / RUNNING_EXAMPLE
    with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro&immutable=1", uri=True)) as database:
        written = as_json(database)
    copy = tmp_path / "log.json"
    copy.write_text(json.dumps(written))
    from_sqlite = flattened(path, "packages", tmp_path / "sqlite").rows()
    from_json = flattened(copy, "packages", tmp_path / "json").rows()
    assert [sorted(row.items()) for row in from_json] == [sorted(row.items()) for row in from_sqlite]


def as_json(database: sqlite3.Connection) -> dict[str, Any]:
    """The events and objects of an OCEL database in the JSON form."""
    links: dict[str, list[dict[str, str]]] = {}
    for eid, oid, qualifier in database.execute("select * from event_object"):
        links.setdefault(eid, []).append({"objectId": oid, "qualifier": qualifier})
    weights = dict(database.execute("select cast(ocel_id as text), weight from object_Packages"))
    events = [
        {"id": eid, "type": kind, "time": time, "relationships": links.get(eid, [])}
        for kind, suffix in database.execute("select * from event_map_type").fetchall()
        for eid, time in database.execute(f'select ocel_id, ocel_time from "event_{suffix}"').fetchall()
    ]
    objects = [
        thing(oid, kind, *([("weight", weights[oid], "1970-01-01 01:00:00")] if oid in weights else []))
        for oid, kind in database.execute("select * from object")
    ]
    return {"events": events, "objects": objects}
