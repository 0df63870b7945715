"""docs/data-model.md against the specification, the migrated database and the contracts of the files."""

import re
from typing import get_args

import psycopg
import pytest
import yaml

from orchestration.mining.explain.records import Scope
from orchestration.settings import Settings
from orchestration.stages.event_contract import EVENT
from tests.house.repository import PROJECT

PAGE = (PROJECT / "docs/data-model.md").read_text()

# The specification's entities and columns, by the names of our tables.
SPECIFICATION = {
    "users": "id email name role created_at",
    "workspaces": "id name owner_user_id region plan created_at",
    "workspace_members": "user_id workspace_id role",
    "connectors": "id workspace_id type status config last_sync_at",
    "analysis_jobs": "id workspace_id status created_at started_at finished_at parameters"
    " error_message provenance_id",
    "events": "workspace_id analysis_id global_case_id system native_case_id activity timestamp"
    " resource_id role org_unit schema_version partition_id attributes",
    "cases": "workspace_id analysis_id global_case_id start_ts end_ts cycle_time_seconds variant_id"
    " variant_hash feature_vector",
    "variants": "workspace_id analysis_id variant_id variant_hash frequency avg_cycle_time_seconds"
    " is_happy_path metadata",
    "provenance": "id analysis_id workspace_id etl_steps schemas mining_config"
    " explainability_config created_at",
    "explainability": "id analysis_id workspace_id scope target features summary",
}
MIGRATION_LEDGER = "schema_migrations"


def documented(part: str) -> dict[str, dict[str, str]]:
    """Column -> type of each table documented in a part of the page ("1." or "2.")."""
    text = re.split(r"^## ", PAGE, flags=re.MULTILINE)[int(part[0])]
    tables = {}
    for section in re.split(r"^### ", text, flags=re.MULTILINE)[1:]:
        rows = re.findall(r"^\| `(\w+)`(?: ●)? \| ([^|]+) \|", section, re.MULTILINE)
        tables[section.split("\n", 1)[0]] = {column: kind.strip() for column, kind in rows}
    return tables


def marked_as_specified(table: str) -> set[str]:
    section = re.search(rf"^### {table}\n(.*?)(?=^##|\Z)", PAGE, re.DOTALL | re.MULTILINE)
    assert section
    return set(re.findall(r"^\| `(\w+)` ● \|", section[1], re.MULTILINE))


@pytest.mark.parametrize("table", SPECIFICATION)
def test_every_column_of_the_specification_is_there_and_marked(table: str) -> None:
    assert marked_as_specified(table) == set(SPECIFICATION[table].split())


def test_the_control_plane_is_the_migrated_database(installation: Settings) -> None:
    with psycopg.connect(installation.owner_dsn.get_secret_value()) as connection:
        rows = connection.execute(
            """
            select c.relname, a.attname, format_type(coalesce(nullif(t.typbasetype, 0), t.oid), null)
            from pg_attribute as a
            join pg_class as c on c.oid = a.attrelid
            join pg_type as t on t.oid = a.atttypid
            where
                c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'p')
                and a.attnum > 0 and not a.attisdropped and c.relname <> %s
            """,
            [MIGRATION_LEDGER],
        ).fetchall()
    tables: dict[str, dict[str, str]] = {}
    for table, column, kind in rows:
        tables.setdefault(table, {})[column] = kind.replace("timestamp with time zone", "timestamptz")
    assert documented("1.") == tables


def test_the_scopes_of_explanations_are_those_of_the_code(installation: Settings) -> None:
    with psycopg.connect(installation.owner_dsn.get_secret_value()) as connection:
        (rule,) = connection.execute(
            "select pg_get_constraintdef(oid) from pg_constraint where conname = 'explainability_scope_check'"
        ).fetchone() or ("",)
    assert set(re.findall(r"'(\w+)'", rule)) == set(get_args(Scope))


def test_events_are_those_of_the_contract() -> None:
    identities = {"workspace_id", "analysis_id", "global_case_id", "arrival_id"}
    assert set(documented("2.")["events"]) - identities == set(EVENT.columns)


@pytest.mark.parametrize("mart", ["cases", "variants", "process_map"])
def test_marts_are_those_of_the_dbt_contracts(mart: str) -> None:
    (model,) = yaml.safe_load((PROJECT / f"dbt_project/models/marts/{mart}.yml").read_text())["models"]
    # The home month names the file, and is not repeated in it.
    columns = {column["name"] for column in model["columns"]} - {"home_month"}
    assert set(documented("2.")[mart]) == columns
