import json
from pathlib import Path

import pytest

from orchestration.settings import (
    Installation,
    ServicesNotRunning,
    SettingsError,
    load_installation,
    load_settings,
)

ENDPOINTS = {
    "owner_dsn": "postgresql://casetrail_owner:file-secret@127.0.0.1:1/casetrail",
    "app_dsn": "postgresql://casetrail_app:file-secret@127.0.0.1:1/casetrail",
    "system_dsn": "postgresql://casetrail_system:file-secret@127.0.0.1:1/casetrail",
    "dagster_dsn": "postgresql://dagster:file-secret@127.0.0.1:1/dagster",
    "s3_endpoint": "http://127.0.0.1:2",
    "s3_access_key": "file-key",
    "s3_secret_key": "file-secret",
    "s3_role_arn": "arn:aws:iam::000000000000:role/workspace",
}


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CASETRAIL_HOME", str(tmp_path))
    return tmp_path


@pytest.fixture
def running(home: Path) -> Path:
    (home / "endpoints.json").write_text(json.dumps(ENDPOINTS | {"webserver_port": 4321}))
    return home


def test_home_is_in_the_working_folder_and_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert load_installation().home == tmp_path / ".casetrail"
    monkeypatch.setenv("CASETRAIL_HOME", "elsewhere")
    assert load_installation().home == tmp_path / "elsewhere"


def test_without_endpoints_the_error_says_what_to_do(home: Path) -> None:
    with pytest.raises(ServicesNotRunning, match=r"casetrail up.*CASETRAIL_OWNER_DSN.*CASETRAIL_S3_ROLE_ARN"):
        load_settings()


def test_endpoints_file_fills_what_the_environment_leaves_open(running: Path) -> None:
    settings = load_settings()
    assert settings.owner_dsn.get_secret_value() == ENDPOINTS["owner_dsn"]
    assert settings.webserver_port == 4321
    assert settings.s3_sts_endpoint == ENDPOINTS["s3_endpoint"]


def test_environment_wins_over_the_endpoints_file(running: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CASETRAIL_S3_ENDPOINT", "https://s3.example.com")
    monkeypatch.setenv("CASETRAIL_S3_STS_ENDPOINT", "https://sts.example.com")
    monkeypatch.setenv("CASETRAIL_S3_BUCKETS", '{"EU": "one"}')
    settings = load_settings()
    assert settings.s3_endpoint == "https://s3.example.com"
    assert settings.s3_sts_endpoint == "https://sts.example.com"
    assert settings.s3_buckets == {"EU": "one"}
    assert settings.app_dsn.get_secret_value() == ENDPOINTS["app_dsn"]


def test_a_home_given_by_the_caller_wins(running: Path, tmp_path: Path) -> None:
    with pytest.raises(ServicesNotRunning):
        load_settings(tmp_path / "other")


def test_an_unusable_value_is_named_but_not_shown(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CASETRAIL_FIRST_MONTH", "private-2020-13")
    with pytest.raises(SettingsError, match="CASETRAIL_FIRST_MONTH") as caught:
        load_installation()
    assert "private" not in str(caught.value)


def test_representations_hide_every_secret(running: Path) -> None:
    settings = load_settings()
    assert (
        "file-secret" not in f"{settings!r} {settings} {settings.model_dump()} {settings.model_dump_json()}"
    )


def test_operator_address_is_stored_in_lower_case() -> None:
    assert Installation(operator="Ada@Example.COM").operator == "ada@example.com"
