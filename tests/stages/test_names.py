"""A question that names what the log does not have is refused, with the place and the names that were meant."""

from collections.abc import Iterator
from contextlib import AbstractContextManager
from datetime import datetime, timedelta
from typing import Any

import duckdb
import pytest

from orchestration.connectors.mapping import Mapping
from orchestration.stages.names import Upload, check_names
from orchestration.stages.question import UnusableQuestion, parameters_of
from orchestration.stages.workbench import AnalysisParameters, Workbench
from tests.stages.local_bench import base_of_bench, land_parts, local_bench, refreshed, rows

MAPPING = Mapping(case_id="case", activity="activity", timestamp="time", resource="who", role="role")
STANDING = AnalysisParameters.model_validate({"completion": {"end_activities": ["archive"]}})
ALONE = "call"
"""An activity that only a case with one event has."""


def lines() -> Iterator[str]:
    yield "case,activity,time,who,role,region,plan"
    for number in range(20):
        time = datetime(2024, 1, 25) + timedelta(days=number)
        for step, activity in enumerate(["order", "check stock", "pay"]):
            who, role = f"agent {number:02}", "clerk" if step else ""
            yield f"c{number},{activity},{time + timedelta(days=step)}Z,{who},{role},north,"
    yield f"alone,{ALONE},2024-02-01 00:00:00Z,agent 99,clerk,south,"


@pytest.fixture(scope="module")
def released(tmp_path_factory: pytest.TempPathFactory) -> Workbench:
    folder = tmp_path_factory.mktemp("released")
    (folder / "log.csv").write_text("\n".join(lines()) + "\n")
    parts = land_parts(folder / "log.csv", MAPPING, folder, 1)
    return refreshed(local_bench(folder, parts, parameters=STANDING))


def check(released: Workbench, **asked: Any) -> None:
    uploads = [Upload(part.columns, part.mapping) for part in released.raw_parts]
    check_names(parameters_of(asked), base_of_bench(released), uploads, released.session)


def refused(released: Workbench, **asked: Any) -> list[str]:
    with pytest.raises(UnusableQuestion) as error:
        check(released, **asked)
    return str(error.value).splitlines()


def test_what_the_log_has_can_be_asked_for(released: Workbench) -> None:
    check(
        released,
        filters=[
            {"kind": "activities", "mode": "without", "activities": ["order", ALONE]},
            {"kind": "attribute", "level": "event", "name": "region", "in": ["a value that nobody has"]},
            {"kind": "resource", "in": ["agent 07", "agent 99"]},
            {"kind": "resource", "column": "system", "in": ["csv_upload"]},
        ],
        completion={"end_activities": ["pay", "archive"]},
        happy_path=["order", "check stock", "pay"],
    )


def test_an_unknown_activity_is_told_with_its_place_and_what_there_is(released: Workbench) -> None:
    follows = {"kind": "follows", "mode": "directly", "from": "ordr", "to": "pay"}
    told = refused(
        released,
        filters=[
            {"kind": "case_size", "min": 1},
            {"kind": "any", "of": [{"kind": "not", "of": follows}]},
        ],
        completion={"end_activities": ["paid"]},
        happy_path=["order", "Pay"],
    )
    there = "'order', 'check stock', 'pay', 'call', 'archive'"
    known = set(there.split(", "))
    assert [line.split("; ")[0] for line in told] == [
        "filters[1].of[0].of.from: there is no activity 'ordr'",
        "completion.end_activities: there is no activity 'paid'",
        "happy_path: there is no activity 'Pay'",
    ]
    assert all(set(line.split("; there are ")[1].split(", ")) == known for line in told)


def test_an_unknown_name_on_a_side_of_a_comparison_is_told_with_its_place(released: Workbench) -> None:
    paid = {"kind": "activities", "mode": "with", "activities": ["payed"]}
    sides = {
        "reference": {"name": "unpaid", "filters": [{"kind": "not", "of": paid}]},
        "compared": {
            "name": "northern",
            "from": "2024-02",
            "filters": [
                {"kind": "attribute", "name": "regoin", "in": ["north"]},
                {"kind": "resource", "in": ["agent 07"]},
            ],
        },
    }
    assert [line.split(";")[0] for line in refused(released, comparison=sides)] == [
        "comparison.reference.filters[0].of.activities: there is no activity 'payed'",
        "comparison.compared.filters[0].name: there is no attribute 'regoin'",
    ]


def test_of_many_names_those_are_told_that_are_like_the_unknown_one(released: Workbench) -> None:
    (near,) = refused(released, filters=[{"kind": "resource", "in": ["AGENT 7"]}])
    assert near.startswith("filters[0].in: there is no resource 'AGENT 7'; closest: 'agent ")
    (far,) = refused(released, filters=[{"kind": "resource", "in": ["xyz"]}])
    assert "of 21 the most frequent are 'agent 00'," in far


def test_an_unknown_attribute_is_refused_and_a_mapped_column_is_none(released: Workbench) -> None:
    told = refused(
        released,
        filters=[
            {"kind": "attribute", "name": "reigon", "null": False},
            {"kind": "attribute", "level": "event", "name": "who", "null": False},
        ],
    )
    assert told == [
        "filters[0].name: there is no attribute 'reigon'; there are 'plan', 'region'",
        "filters[1].name: there is no attribute 'who'; there are 'plan', 'region'",
    ]
    keys = {key for row in rows(released, "events") for key in duckdb_keys(row["attributes"])}
    assert keys <= {"plan", "region"}, "the names that are told are those of the events"


def duckdb_keys(attributes: object) -> list[str]:
    keys: list[str] = duckdb.execute("select json_keys(?::json)", [attributes]).fetchall()[0][0]
    return keys


def test_a_performer_column_without_values_is_told(released: Workbench) -> None:
    (told,) = refused(released, filters=[{"kind": "resource", "column": "org_unit", "in": ["sales"]}])
    assert told == "filters[0].in: the log has no organisational units"


def test_a_classifier_of_a_column_that_no_upload_has_is_refused(released: Workbench) -> None:
    (told,) = refused(released, classifier=["activity", "lifecycle"])
    assert told.startswith(
        "classifier[1]: no upload has a column for lifecycle; accepted: activity, resource_id, "
    )


def test_with_a_classifier_activities_are_those_that_it_makes(released: Workbench) -> None:
    classifier = ["activity", "role"]
    check(
        released,
        classifier=classifier,
        filters=[{"kind": "start_activity", "activities": ["order / (missing)", "call / clerk"]}],
    )
    (told,) = refused(
        released, classifier=classifier, filters=[{"kind": "end_activity", "activities": "pay"}]
    )
    assert told.startswith("filters[0].activities: there is no activity 'pay'; there are ")
    assert "'pay / clerk'" in told


def test_many_unknown_names_are_not_all_told(released: Workbench) -> None:
    told = refused(released, filters=[{"kind": "resource", "in": [f"nobody {n}" for n in range(30)]}])
    assert len(told) == 11
    assert told[-1] == "and 20 more unknown names"


def test_no_session_is_opened_for_what_the_ledger_knows(released: Workbench) -> None:
    def unwanted() -> AbstractContextManager[duckdb.DuckDBPyConnection]:
        raise AssertionError("no file need be read")

    uploads = [Upload(part.columns, part.mapping) for part in released.raw_parts]
    asked = parameters_of({"filters": [{"kind": "attribute", "name": "region", "null": True}]})
    check_names(asked, base_of_bench(released), uploads, unwanted)
