"""What keeps tenants apart: a region's bucket, members' roles, a run's credentials, and no secret in what is kept."""

import re
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import psycopg
import pytest
from botocore.exceptions import ClientError
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict

from orchestration.control_plane import database, workspaces
from orchestration.lake.credentials import CredentialBroker
from orchestration.lake.objects import OutsideWorkspace, WorkspaceStore
from orchestration.settings import Settings
from tests.e2e.conftest import Casetrail

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]

REGIONS = {"bonn": "EU", "leeds": "UK"}
LOG = """case,activity,time
a,order,2024-02-01T10:00:00Z
a,pay,2024-02-05T10:00:00Z
b,order,2024-02-02T00:00:00Z
"""


@pytest.fixture(scope="module")
def tenants(
    casetrail: Casetrail, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, workspaces.Workspace]:
    """Two released workspaces in different regions by slug; each has its owner, and ``bonn`` a viewer."""
    log = tmp_path_factory.mktemp("isolation") / "log.csv"
    log.write_text(LOG)
    for slug, region in REGIONS.items():
        owner = f"ada@{slug}.example"
        casetrail.json("workspace", "create", slug, "--slug", slug, "--region", region, "--owner", owner)
        casetrail.json("upload", slug, str(log), "--wait")
    casetrail.json("member", "add", "bonn", "vera@bonn.example", "--role", "viewer")
    settings = casetrail.settings()
    with database.as_user(settings.app_dsn, settings.operator) as connection:
        return {slug: workspaces.find_workspace(connection, slug) for slug in REGIONS}


def test_data_lies_in_the_bucket_of_its_region_only(
    casetrail: Casetrail, tenants: dict[str, workspaces.Workspace]
) -> None:
    settings = casetrail.settings()
    everything = s3(
        settings,
        aws_access_key_id=settings.s3_access_key.get_secret_value(),
        aws_secret_access_key=settings.s3_secret_key.get_secret_value(),
    )
    for workspace in tenants.values():
        found = {
            region: sum(1 for _key in keys(everything, bucket, f"{workspace.id}/"))
            for region, bucket in settings.s3_buckets.items()
        }
        assert found.pop(workspace.region) >= 10, "original, raw files and months of a release"
        assert set(found.values()) == {0}, f"{workspace.slug} has objects in another region: {found}"


def test_a_viewer_reads_and_changes_nothing(
    casetrail: Casetrail, tenants: dict[str, workspaces.Workspace], tmp_path: Path
) -> None:
    viewer = ("--as", "vera@bonn.example")
    (events,) = casetrail.json("query", "bonn", "select count(*) as n from events", *viewer)
    assert events["n"] == 3
    log = tmp_path / "more.csv"
    log.write_text(LOG.replace("a,", "c,"))
    before = casetrail.json("workspace", "show", "bonn")
    for refused in (
        casetrail.run("upload", "bonn", str(log), *viewer),
        casetrail.run("member", "add", "bonn", "eve@bonn.example", "--role", "admin", *viewer),
        casetrail.run("analysis", "configure", "bonn", "--silence-days", "3", *viewer),
        casetrail.run("workspace", "create", "another", "--owner", "vera@bonn.example", *viewer),
    ):
        assert refused.returncode == 1, f"{refused.args}: {refused.stdout}"
        assert refused.stderr.startswith("Error: ")
        assert "Traceback" not in refused.stderr
    assert casetrail.json("workspace", "show", "bonn") == before


def test_to_others_a_workspace_does_not_exist(
    casetrail: Casetrail, tenants: dict[str, workspaces.Workspace]
) -> None:
    stranger = ("--as", "ada@leeds.example")
    assert [w["slug"] for w in casetrail.json("workspace", "list", *stranger)] == ["leeds"]
    query = "select count(*) as n from events"
    for name in ("bonn", tenants["bonn"].id):
        for command in (
            ("query", name, query),
            ("workspace", "show", name),
            ("provenance", "verify", name),
            ("member", "list", name),
        ):
            refused, unknown = (
                casetrail.run(*command, *stranger),
                casetrail.run(*(part if part != name else "nowhere" for part in command), *stranger),
            )
            assert refused.returncode == unknown.returncode == 1
            assert refused.stderr == unknown.stderr.replace("nowhere", name), (
                "the answer tells that it exists"
            )
    unknown_user = casetrail.run("query", "bonn", query, "--as", "nobody@nowhere.example")
    assert unknown_user.returncode == 1


def test_credentials_of_a_run_reach_its_own_workspace_alone(
    casetrail: Casetrail, tenants: dict[str, workspaces.Workspace]
) -> None:
    settings = casetrail.settings()
    casetrail.json("workspace", "create", "kiel", "--slug", "kiel", "--owner", "ada@kiel.example")
    with database.as_user(settings.app_dsn, settings.operator) as connection:
        kiel = workspaces.find_workspace(connection, "kiel")
    broker = CredentialBroker(settings)
    mine = broker.for_workspace(kiel.id, kiel.region)
    store = WorkspaceStore(mine)
    store.put_bytes(f"{kiel.id}/inbox/mine.csv", b"mine")
    assert store.get(f"{kiel.id}/inbox/mine.csv") == b"mine"
    scoped = s3(
        settings,
        aws_access_key_id=mine.access_key_id,
        aws_secret_access_key=mine.secret_access_key,
        aws_session_token=mine.session_token,
    )
    for other in tenants.values():
        theirs = WorkspaceStore(broker.for_workspace(other.id, other.region))
        entry = next(iter(theirs.list()))
        bucket = theirs.credentials.bucket
        with pytest.raises(OutsideWorkspace):
            store.get(entry.key)
        place = {"Bucket": bucket, "Key": entry.key}
        for attempt in (
            lambda place=place: scoped.get_object(**place),
            lambda place=place: scoped.put_object(**place, Body=b"mine now"),
            lambda place=place: scoped.delete_object(**place),
            lambda place=place: scoped.copy_object(
                CopySource=place, Bucket=mine.bucket, Key=f"{kiel.id}/stolen"
            ),
            lambda bucket=bucket, other=other: scoped.list_objects_v2(Bucket=bucket, Prefix=f"{other.id}/"),
            lambda bucket=bucket: scoped.list_objects_v2(Bucket=bucket),
        ):
            with pytest.raises(ClientError) as refused:
                attempt()
            assert refused.value.response["Error"]["Code"] == "AccessDenied"
        assert theirs.exists(entry.key)


def test_no_secret_is_in_what_dagster_keeps_or_in_a_log(
    casetrail: Casetrail, tenants: dict[str, workspaces.Workspace]
) -> None:
    settings = casetrail.settings()
    kept = [*dagster_texts(settings), *file_texts(casetrail.home)]
    places_of = {place.split("/")[0] for place, text in kept if tenants["bonn"].slug in text}
    # The search must see what is there for certain: the workspace's name in tables of Dagster and in files.
    assert {"event_logs", "runs", "run_tags", "dagster"} <= places_of
    for name, secret in secrets(settings).items():
        assert not [place for place, text in kept if secret in text], f"{name} is kept in clear"
    # Session tokens of runs are made up anew each time: look for the forms in which one would show.
    token = re.compile(r"session_token['\"]?\s*[:= ]\s*['\"]?[A-Za-z0-9+/=._-]{40,}|X-Amz-Signature=", re.I)
    assert not [place for place, text in kept if token.search(text)]


def s3(settings: Settings, **keys: str) -> Any:
    """A plain S3 client, without the guards of our own store."""
    return boto3.client("s3", endpoint_url=settings.s3_endpoint, region_name="us-east-1", **keys)


def keys(client: Any, bucket: str, prefix: str) -> Iterator[str]:
    """The keys below a prefix."""
    for page in client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
        yield from (entry["Key"] for entry in page.get("Contents", ()))


def secrets(settings: Settings) -> dict[str, str]:
    """Every secret of the installation."""
    passwords = {
        name: str(conninfo_to_dict(getattr(settings, name).get_secret_value())["password"])
        for name in ("owner_dsn", "app_dsn", "system_dsn", "dagster_dsn")
    }
    return passwords | {"s3_secret_key": settings.s3_secret_key.get_secret_value()}


def dagster_texts(settings: Settings) -> Iterator[tuple[str, str]]:
    """(table/row number, text) of everything in Dagster's database; packed columns are unpacked."""
    with psycopg.connect(settings.dagster_dsn.get_secret_value()) as connection:
        tables = connection.execute(
            "select table_name from information_schema.tables where table_schema = 'public' order by 1"
        ).fetchall()
        for (table,) in tables:
            rows = connection.execute(sql.SQL("select * from {}").format(sql.Identifier(table)))
            for number, row in enumerate(rows):
                yield f"{table}/{number}", " ".join(_text(value) for value in row if value is not None)


def _text(value: Any) -> str:
    return zlib.decompress(value).decode() if isinstance(value, bytes) else str(value)


def file_texts(home: Path) -> Iterator[tuple[str, str]]:
    """(path, text) of every log, and of what Dagster keeps in files: the output of runs."""
    for folder in ("logs", "dagster"):
        for path in sorted((home / folder).rglob("*")):
            if path.is_file():
                yield str(path.relative_to(home)), path.read_text(errors="replace")
