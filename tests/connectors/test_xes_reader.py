"""XES: names, values, structure, and the attacks that XML invites."""

import gzip
import json
from datetime import datetime

import pytest

from orchestration.connectors import Limits, UnreadableFile
from tests.connectors.landed import LandBytes

MAPPING = {
    "case_id": "case:concept:name",
    "activity": "concept:name",
    "timestamp": "time:timestamp",
    "timezone": None,
}


def event(name: str, time: str, more: str = "") -> str:
    """An event element."""
    times = f'<date key="time:timestamp" value="{time}"/>'
    return f'<event><string key="concept:name" value="{name}"/>{times}{more}</event>'


def log(*traces: str, root: str = "<log>") -> bytes:
    """A log with its traces' content."""
    body = "".join(f"<trace>{trace}</trace>" for trace in traces)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{root}{body}</log>'.encode()


NAME = '<string key="concept:name" value="{}"/>'


def test_attributes_become_columns(land_bytes: LandBytes) -> None:
    landed = land_bytes(
        log(
            NAME.format("c1")
            + '<float key="amount" value="1.50"/>'
            + event("a &amp; b", "2024-01-01T01:00:00.123+02:00", '<string key="org:resource" value="ann"/>')
            + event("b", "2024-01-02T00:00:00Z"),
            # attributes after the events, and an event's own attribute called as a trace's
            event("a", "2024-02-01T00:00:00Z", '<string key="case:concept:name" value="mine"/>')
            + NAME.format("c2"),
        ),
        **MAPPING,
        resource="org:resource",
    )
    assert [name for name, _ in landed.landing.columns] == [
        "concept:name",
        "time:timestamp",
        "org:resource",
        "case:concept:name",
        "case:amount",
        "event:case:concept:name",
    ]
    assert dict(landed.landing.columns)["case:amount"] == "double"
    rows = landed.rows()
    assert [row["_case_id"] for row in rows] == ["c1", "c1", "c2"]
    assert [row["case:amount"] for row in rows] == ["1.50", "1.50", None]
    assert [row["_resource_id"] for row in rows] == ["ann", None, None]
    assert rows[0]["_activity"] == "a & b"
    assert rows[0]["time:timestamp"] == "2024-01-01T01:00:00.123+02:00"
    assert rows[0]["_timestamp"] == datetime(2023, 12, 31, 23, 0, 0, 123000)
    assert rows[2]["event:case:concept:name"] == "mine"


def test_namespaces_comments_lists_and_repeated_keys(land_bytes: LandBytes) -> None:
    nested = (
        '<list key="items"><values><string key="item" value="x"/></values></list>'
        '<int key="n" value="1"><string key="unit" value="kg"/></int><string key="n" value="2"/>'
        "<!-- no --><?pi no?>"
    )
    landed = land_bytes(
        log(
            NAME.format("c") + event("a", "2024-01-01T00:00:00Z", nested),
            root='<log xes.version="1.0" xmlns="http://www.xes-standard.org/">',
        ),
        **MAPPING,
    )
    row = landed.rows()[0]
    assert (row["n"], row["n__2"]) == ("1", "2")
    assert json.loads(row["n:nested"]) == [{"key": "unit", "value": "kg"}]
    assert json.loads(row["items"])[0]["nested"] == [{"key": "item", "value": "x"}]


def test_traces_without_events_and_events_without_a_case(land_bytes: LandBytes) -> None:
    landed = land_bytes(
        log(NAME.format("empty"), event("a", "2024-01-01T00:00:00Z"), NAME.format("c") + event("", "")),
        **MAPPING,
    )
    assert landed.landing.records == 3
    assert landed.landing.non_event == 1
    assert landed.reasons() == [(2, None, "missing_case_id"), (3, None, "missing_activity")]


def test_many_traces_cross_chunks(land_bytes: LandBytes) -> None:
    traces = [
        NAME.format(f"c{n}") + event("a", f"2024-{n % 12 + 1:02}-01T00:00:00Z") * 6 for n in range(10_000)
    ]
    landed = land_bytes(gzip.compress(log(*traces)), **MAPPING)
    assert landed.landing.landed == 60_000
    assert landed.column("_row_number") == list(range(1, 60_001))
    assert landed.column("_case_id") == [f"c{n}" for n in range(10_000) for _ in range(6)]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'<!DOCTYPE log [<!ENTITY a "x">]>' + log("").split(b"\n")[1], "DOCTYPE"),
        (b'<!DOCTYPE log SYSTEM "http://127.0.0.1/x.dtd"><log/>', "DOCTYPE"),
        ('<!DOCTYPE log [<!ENTITY a "x">]><log/>'.encode("utf-16"), "DOCTYPE"),
        (log(NAME.format("c") + event("a", "2024-01-01T00:00:00Z"))[:-20], "not well-formed"),
        (b"<html><body/></html>", "no XES"),
        (b"<html><log/></html>", "no XES"),
        (log(), "holds no events"),
        (log('<string key="concept:name" value="c"/>'), "holds no events"),
        (log('<string value="x"/>'), "has no key"),
        (log("<list key='a'>" * 100 + "</list>" * 100), "nested too deeply"),
        (log("<list key='a'>" * 400 + "</list>" * 400), "not well-formed"),
        (log(NAME.format("c") + event("a", "t") * 11), "more than 10 events"),
        (
            log("".join(f'<string key="k{n}" value="v"/>' for n in range(50)) + event("a", "t")),
            "more than 40",
        ),
    ],
)
def test_hostile_and_broken_files_are_refused(land_bytes: LandBytes, content: bytes, message: str) -> None:
    with pytest.raises(UnreadableFile, match=message):
        land_bytes(content, **MAPPING, limits=Limits(trace_events=10, columns=40))
