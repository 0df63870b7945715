"""What is kept of a file with personal columns lands as the file itself would have, but for their values."""

import io
import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from orchestration.connectors import InvalidMapping, Mapping, hide, land
from orchestration.connectors.hidden import WITHHELD
from orchestration.connectors.personal import Personal
from tests.connectors import test_ocel, test_xes_reader
from tests.connectors.landed import NOW, SIMPLE, Landed, ProbeBytes
from tests.connectors.workbooks import workbook

NAMES = ("Ada Lovelace", "Charles Babbage", "Grace Hopper")
MAILS = ("ada@acme.com", "info@acme.com", "grace@navy.mil")
RULES: dict[str, Personal] = {"name": "drop", "mail": "email", "who": "pseudonym"}

CSV = """case,activity,time,name,mail,who
a,order,2024-01-01,Ada Lovelace,ada@acme.com,Ada Lovelace
a,pay,2024-02-01,Charles Babbage,info@acme.com,Charles Babbage
b,"say
yes",2024-02-01,Grace Hopper,,NA
,order,2024-01-01,Grace Hopper,grace@navy.mil,Grace Hopper
b,order,2024-01-01,Ada Lovelace
b,order,soon,Ada Lovelace,ada@acme.com,Ada Lovelace
"""
ROWS = [
    dict(zip(("case", "activity", "time", "name", "mail", "who"), values, strict=True))
    for values in (
        ("a", "order", "2024-01-01", NAMES[0], MAILS[0], NAMES[0]),
        ("a", "pay", "2024-02-01", NAMES[1], MAILS[1], NAMES[1]),
        ("b", None, "2024-01-01", NAMES[2], MAILS[2], NAMES[2]),
    )
]
Kept = Callable[..., Path]


def hashing(values: pa.Array, rule: Personal) -> tuple[pa.Array, Counter[str]]:
    """What is left shows the rule; addresses of roles link nobody."""
    roles = [rule == "email" and (value or "").startswith("info@") for value in values.to_pylist()]
    told = [f"{rule}-{len(value)}" if value else value for value in values.to_pylist()]
    told = [None if role else text for text, role in zip(told, roles, strict=True)]
    return pa.array(told, pa.string()), Counter({"role": sum(roles)}) + Counter()


@pytest.fixture
def kept(tmp_path: Path) -> Kept:
    """Hides content; keywords change the mapping."""

    def run(content: bytes, personal: dict[str, Personal] = RULES, **mapping: Any) -> Path:
        path, into = tmp_path / f"log{len(list(tmp_path.iterdir()))}", tmp_path / "kept.parquet"
        path.write_bytes(content)
        hide(path, Mapping.model_validate(SIMPLE | mapping | {"personal": personal}), hashing, into)
        return into

    return run


def landing(path: Path, folder: str, personal: dict[str, Personal] = RULES, **mapping: Any) -> Landed:
    made = Mapping.model_validate(SIMPLE | mapping | {"personal": personal})
    return Landed(land(path, made, first_month="2000-01", now=NOW, into=path.parent / folder))


def parquet(rows: list[dict[str, Any]]) -> bytes:
    buffer = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows), buffer)
    return buffer.getvalue()


def jsonl(rows: list[dict[str, Any]]) -> bytes:
    return b"\n\n".join([*(json.dumps(row).encode() for row in rows), b'["Ada Lovelace"]'])


def xlsx(rows: list[dict[str, Any]]) -> bytes:
    return workbook(("log", [list(rows[0]), *(list(row.values()) for row in rows)]))


def xes(rows: list[dict[str, Any]]) -> bytes:
    events = "".join(
        test_xes_reader.event(
            row["activity"] or "",
            row["time"] + "T00:00:00",
            "".join(f'<string key="{key}" value="{row[key]}"/>' for key in RULES),
        )
        for row in rows
    )
    return test_xes_reader.log(
        test_xes_reader.NAME.format("a") + events, test_xes_reader.NAME.format("empty")
    )


def ocel(rows: list[dict[str, Any]]) -> bytes:
    of = (("o1", "o2"), (), ("o2",))
    events = [
        test_ocel.event(f"e{n}", row["activity"] or "", n, *oids, **{key: row[key] for key in RULES})
        for n, (row, oids) in enumerate(zip(rows, of, strict=True), start=1)
    ]
    return test_ocel.ocel_json(events, [test_ocel.thing("o1", "order"), test_ocel.thing("o2", "order")])


FORMATS: dict[str, tuple[bytes, dict[str, Any]]] = {
    "csv": (CSV.encode(), {"null": ("NA",)}),
    "parquet": (parquet(ROWS), {}),
    "jsonl": (jsonl(ROWS), {}),
    "xlsx": (xlsx(ROWS), {}),
    "xes": (xes(ROWS), test_xes_reader.MAPPING | {"timezone": "UTC"}),
    "ocel-json": (ocel(ROWS), test_ocel.MAPPING),
}


@pytest.mark.parametrize("format", FORMATS)
def test_it_lands_as_the_file_would_have_but_for_the_values(format: str, kept: Kept, tmp_path: Path) -> None:
    content, mapping = FORMATS[format]
    hidden = landing(kept(content, **mapping), "hidden", **mapping)
    (tmp_path / "file").write_bytes(content)
    clear = landing(tmp_path / "file", "clear", {}, **mapping)
    assert hidden.landing.quarantined
    assert {name for name, _ in clear.landing.columns} - {name for name, _ in hidden.landing.columns} == {
        "name"
    }
    same = {
        field: getattr(clear.landing, field)
        for field in (
            "format", "records", "landed", "non_event", "quarantined", "reasons", "nul_characters",
            "timestamp_reading", "encoding", "delimiter", "flattening",
        )
    }  # fmt: skip
    assert {field: getattr(hidden.landing, field) for field in same} == same
    assert hidden.reasons() == clear.reasons()
    for before, after in zip(clear.rows(), hidden.rows(), strict=True):
        assert {k: v for k, v in before.items() if k not in RULES} == {
            k: v for k, v in after.items() if k not in RULES
        }
        assert after["mail"] in (None, "email-12")
        assert after["who"] in (None, f"pseudonym-{len(before['who'])}")
    left = str([hidden.rows(), hidden.quarantine, pq.read_table(tmp_path / "kept.parquet").to_pylist()])
    assert [value for value in (*NAMES, *MAILS) if value in left] == []
    assert [value for value in NAMES if value in str([clear.rows(), clear.quarantine])] != []


def test_of_a_record_without_columns_only_the_message_is_kept(kept: Kept) -> None:
    rejected = landing(kept(CSV.encode()), "hidden").quarantine
    ragged = next(row for row in rejected if row["reason"] == "ragged_row")
    assert (ragged["raw"], ragged["line_number"]) == (WITHHELD, 7)
    assert ragged["message"] == "The record has 4 fields, the header has 6."


def test_what_means_nothing_is_not_hashed(kept: Kept) -> None:
    path = kept(
        b"case,activity,time,who\na,x,2024-01-01,NA\nb,x,2024-01-01,  \n", {"who": "pseudonym"}, null=("NA",)
    )
    assert pq.read_table(path)["who"].to_pylist() == [None, None]


def test_addresses_that_link_nobody_are_told(kept: Kept) -> None:
    assert landing(kept(CSV.encode()), "hidden").landing.warnings == ("mail: 1 role link nobody.",)


def test_the_same_file_gives_the_same_bytes(kept: Kept) -> None:
    assert kept(CSV.encode()).read_bytes() == kept(CSV.encode()).read_bytes()


@pytest.mark.parametrize(
    ("changed", "problem"),
    [
        ({"personal": {"mail": "email"}}, "personal cannot be changed any more"),
        ({"delimiter": ";"}, "delimiter cannot be changed any more"),
        ({"object_type": "order"}, "object_type cannot be changed any more"),
        ({"resource": "name"}, "which the file does not have"),
        ({"case_id": "mail"}, "Personal says email of the column mail, which events need as their case_id"),
    ],
)
def test_another_mapping_may_not_need_what_is_gone(changed: dict[str, Any], problem: str, kept: Kept) -> None:
    path = kept(CSV.encode())
    assert (
        landing(path, "other", resource="who", timezone="Europe/Berlin").rows()[0]["_resource_id"]
        == "pseudonym-12"
    )
    with pytest.raises(InvalidMapping, match=problem):
        landing(path, "hidden", **changed)


@pytest.mark.parametrize("format", ["csv", "parquet"])
def test_a_file_as_it_came_does_not_land_under_a_mapping_with_personal_columns(
    format: str, tmp_path: Path
) -> None:
    (tmp_path / "file").write_bytes(FORMATS[format][0])
    with pytest.raises(InvalidMapping, match="what has landed stays as it was"):
        landing(tmp_path / "file", "clear")
    assert not list((tmp_path / "clear").rglob("*.parquet"))


@pytest.mark.parametrize(
    ("rules", "problem"),
    [
        ({"e_mail": "email"}, r"personal names e_mail.* Was it renamed\? Its columns: case, .*, mail, who\."),
        ({"case": "drop"}, r"Personal says drop of the column case, .* case_id: .* pseudonym or keep"),
        ({"activity": "email"}, None),
        ({"activity": "drop"}, "Personal says drop of the column activity"),
        (
            {"time": "pseudonym"},
            r"Personal says pseudonym of the column time, .* timestamp: .* to keep there",
        ),
    ],
)
def test_a_rule_that_cannot_be_meant_is_told_by_a_look_and_at_the_door(
    rules: dict[str, Personal], problem: str | None, kept: Kept, probe_bytes: ProbeBytes
) -> None:
    if problem is None:
        kept(CSV.encode(), rules)
        return
    with pytest.raises(InvalidMapping, match=problem):
        kept(CSV.encode(), rules)
    with pytest.raises(InvalidMapping, match=problem):
        probe_bytes(CSV.encode(), **SIMPLE, personal=rules)


def test_a_look_proposes_no_column_that_is_dropped(probe_bytes: ProbeBytes) -> None:
    content = b"case,activity,time,resource\na,x,2024-01-01T00:00:00Z,Ada\na,y,2024-01-02T00:00:00Z,Ada\n"
    assert probe_bytes(content).mapping.resource == "resource"
    looked = probe_bytes(content, personal={"resource": "drop"})
    assert looked.mapping.resource is None
    assert looked.mapping.model_dump(mode="json")["personal"] == {"resource": "drop"}
    assert "resource" not in dict(looked.columns)


def test_what_is_kept_is_no_rule() -> None:
    mapping = Mapping.model_validate(SIMPLE | {"personal": {"name": "keep"}})
    assert mapping == Mapping.model_validate(SIMPLE)
    assert "personal" not in mapping.model_dump(mode="json")
