"""The services as a whole: repaired when killed, side by side, external, and as another user."""

import json
import os
import pwd
import secrets
import shutil
import socket
import sys
import tempfile
import traceback
from collections.abc import Iterator
from pathlib import Path

import boto3
import psutil
import psycopg
import pytest
from botocore.client import BaseClient
from pydantic import SecretStr

from orchestration.services.postgres import Postgres
from orchestration.services.stack import ServiceStatus, Stack, describe_dsn
from orchestration.settings import Installation, Settings, SettingsError, load_settings

BUCKET = "casetrail-eu"


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that every user may enter, for installations of a test's own."""
    folder = Path(tempfile.mkdtemp(prefix="casetrail-tests-"))
    folder.chmod(0o711)
    yield folder
    for home in folder.iterdir():
        Stack(Installation(home=home)).down()
    shutil.rmtree(folder)


def storage_up(home: Path) -> dict[str, ServiceStatus]:
    return {service.name: service for service in Stack(Installation(home=home)).up(storage_only=True)}


def s3(settings: Settings) -> BaseClient:
    return boto3.client(
        "s3",
        endpoint_url=settings.s3_endpoint,
        region_name="us-east-1",
        aws_access_key_id=settings.s3_access_key.get_secret_value(),
        aws_secret_access_key=settings.s3_secret_key.get_secret_value(),
    )


def remember(settings: Settings, word: str) -> None:
    with psycopg.connect(settings.owner_dsn.get_secret_value()) as connection:
        connection.execute("create table memory as select %s::text as word", [word])
    s3(settings).put_object(Bucket=BUCKET, Key="memory", Body=word.encode())


def recall(settings: Settings) -> tuple[str, str]:
    with psycopg.connect(settings.owner_dsn.get_secret_value()) as connection:
        row = connection.execute("select word from memory").fetchone()
    assert row is not None
    return row[0], s3(settings).get_object(Bucket=BUCKET, Key="memory")["Body"].read().decode()


def kill(pid: int | None) -> None:
    assert pid is not None
    process = psutil.Process(pid)
    process.kill()
    process.wait(10)


@pytest.mark.slow
def test_up_repairs_what_was_killed_and_no_data_is_lost(folder: Path) -> None:
    home = folder / "home"
    first = storage_up(home)
    settings = load_settings(home)
    remember(settings, "kept")
    kill(first["postgres"].pid)
    kill(first["s3"].pid)
    states = {service.name: service.state for service in Stack(Installation(home=home)).status()}
    assert (states["postgres"], states["s3"]) == ("stopped", "stopped")
    second = storage_up(home)
    assert second["postgres"].pid != first["postgres"].pid
    assert load_settings(home) == settings, "ports and passwords are those of before"
    assert recall(settings) == ("kept", "kept")
    assert storage_up(home) == second, "a second `up` changes nothing"


@pytest.mark.slow
def test_up_survives_a_lock_file_that_names_another_program(folder: Path) -> None:
    home = folder / "home"
    kill(storage_up(home)["postgres"].pid)
    lock = home / "postgres" / "data" / "postmaster.pid"
    lines = lock.read_text().splitlines()
    # The id of this very process: alive, and no PostgreSQL.
    lock.write_text("\n".join([str(os.getpid()), *lines[1:]]))
    assert storage_up(home)["postgres"].state == "running"


@pytest.mark.slow
def test_two_installations_side_by_side_and_a_port_that_got_lost(folder: Path) -> None:
    one, two = folder / "one", folder / "two"
    storage_up(one)
    storage_up(two)
    settings = [load_settings(home) for home in (one, two)]
    for number, setting in enumerate(settings):
        remember(setting, str(number))
    assert [recall(setting) for setting in settings] == [("0", "0"), ("1", "1")]
    stack = Stack(Installation(home=one))
    stack.down()
    assert recall(settings[1]) == ("1", "1"), "stopping one leaves the other alone"
    ports = [int(settings[0].s3_endpoint.rsplit(":", 1)[1]), Postgres(one).port]
    with socket.create_server(("127.0.0.1", ports[0])), socket.create_server(("127.0.0.1", ports[1])):
        storage_up(one)
        moved = load_settings(one)
        assert moved.s3_endpoint != settings[0].s3_endpoint
        assert moved.owner_dsn != settings[0].owner_dsn
        assert recall(moved) == ("0", "0")


@pytest.mark.slow
@pytest.mark.skipif(os.geteuid() != 0, reason="these tests already run as an ordinary user")
def test_everything_works_for_an_ordinary_user(installation: Settings, folder: Path) -> None:
    """In a fork, since the interpreter itself may lie where other users cannot read it."""
    nobody = pwd.getpwnam("nobody")
    folder.chmod(0o777)
    child = os.fork()
    if child == 0:
        try:
            os.setgroups([])
            os.setgid(nobody.pw_gid)
            os.setuid(nobody.pw_uid)
            stack = Stack(Installation(home=folder / "home"))
            stack.up(storage_only=True)
            remember(load_settings(folder / "home"), "by nobody")
            assert recall(load_settings(folder / "home")) == ("by nobody", "by nobody")
            services = stack.status()
            owners = {psutil.Process(service.pid).username() for service in services if service.pid}
            assert owners == {"nobody"}
            stack.down()
            os._exit(0)
        except BaseException:
            traceback.print_exc(file=sys.__stderr__)
            os._exit(1)
    assert os.waitpid(child, 0)[1] == 0


def test_the_endpoints_file_is_private(installation: Settings) -> None:
    assert installation.endpoints_file.stat().st_mode & 0o777 == 0o600


def test_status_names_every_endpoint_and_no_secret(installation: Settings) -> None:
    services = Stack(Installation(home=installation.home)).status()
    assert [service.name for service in services] == [
        "postgres",
        "s3",
        "feed",
        "code-server",
        "webserver",
        "daemon",
    ]
    assert [service.state for service in services] == ["running"] * 2 + ["stopped"] * 4
    assert services[1].endpoint == installation.s3_endpoint
    known = json.loads(installation.endpoints_file.read_text())
    secret = [known["s3_secret_key"], known["owner_dsn"].split(":")[2].split("@")[0]]
    assert not any(word in repr(services) for word in secret)


def test_external_services_are_used_and_never_touched(
    installation: Settings, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fields = ("owner_dsn", "app_dsn", "system_dsn", "dagster_dsn", "s3_access_key", "s3_secret_key")
    for field in fields:
        monkeypatch.setenv(f"CASETRAIL_{field.upper()}", getattr(installation, field).get_secret_value())
    monkeypatch.setenv("CASETRAIL_S3_ENDPOINT", installation.s3_endpoint)
    monkeypatch.setenv("CASETRAIL_S3_ROLE_ARN", installation.s3_role_arn)
    prepared: list[Settings] = []
    stack = Stack(Installation(home=folder / "home"))
    services = stack.up(storage_only=True, prepare=prepared.append)
    assert [service.state for service in services[:2]] == ["external", "external"]
    assert services[1].endpoint == installation.s3_endpoint
    assert prepared[0].owner_dsn == installation.owner_dsn
    assert not (folder / "home" / "postgres").exists()
    stack.down()
    with psycopg.connect(installation.owner_dsn.get_secret_value()) as connection:
        assert connection.execute("select 1").fetchone() == (1,)


def test_half_an_external_service_is_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CASETRAIL_OWNER_DSN", f"postgresql://o:{secrets.token_hex(4)}@db/casetrail")
    with pytest.raises(
        SettingsError, match=r"set CASETRAIL_APP_DSN, CASETRAIL_SYSTEM_DSN, CASETRAIL_DAGSTER_DSN"
    ):
        Stack(Installation(home=folder / "home"))


def test_a_database_is_described_without_user_and_password() -> None:
    described = describe_dsn(SecretStr("host=db.example.com user=o password=hush dbname=casetrail"))
    assert described == "postgresql://db.example.com:5432/casetrail"
    assert describe_dsn(SecretStr("postgresql://o:hush@h:77/d")) == "postgresql://h:77/d"
